from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from checkpoints import HIDDEN, random_model, random_pairs
from own_folders import random_table, write

from shortlist import Router
from shortlist.router.checkpoints.native import FORMAT, is_own_folder, quantize_rows, read_folder
from shortlist.router.engine.packing import pack
from shortlist.router.model.attention.blocks import PaddedAttention
from shortlist.router.model.encoder import CrossEncoder, QuantizedEmbedding
from shortlist.router.ranking.score import ScoreWeights
from shortlist.schemas.errors import ModelError, ModelNotFound, UnsupportedModel

ROWS = 100
WEIGHTS = {
    "tools": {"bias": -0.5, "logit": 1.0, "lexical_share": 2.0},
    "tables": {"bias": 1.5, "logit": 0.5, "cosine": 3.0, "lexical_match": 0.25},
}


def decoded_row(codes: list[int], scales: list[float]) -> list[float]:
    """Decodes one row as the format is described, value by value."""
    blocks = [codes[start : start + 16] for start in range(0, len(codes), 16)]
    return [
        (value - 8) * scale
        for block, scale in zip(blocks, scales, strict=True)
        for value in [code % 16 for code in block] + [code // 16 for code in block]
    ]


def logits(model: CrossEncoder) -> torch.Tensor:
    with torch.inference_mode():
        return model(pack(random_pairs([4, 17, 40])), PaddedAttention())


def load(folder: Path) -> Router:
    return Router.load(folder, device="cpu", dtype="float32")


def logit_of(score: float) -> float:
    return math.log(score / (1 - score))


def redescribe(folder: Path, **changes: object) -> None:
    path = folder / "shortlist.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "own", random_model())


def test_a_folder_gives_back_what_was_described(folder: Path) -> None:
    loaded = read_folder(folder)

    assert (loaded.name, loaded.version, loaded.license) == ("tiny-own", "1.2.3", "MIT")
    assert (loaded.default_query_tokens, loaded.default_pair_tokens, loaded.document_tokens) == (24, 80, 40)
    assert loaded.score_weights == {}
    assert (loaded.encoder, loaded.retrieval) == (None, None)
    assert loaded.model.config == random_model().config
    assert loaded.tokenizer.num_special_tokens == 4


def test_a_folder_may_carry_score_weights(tmp_path: Path) -> None:
    loaded = read_folder(write(tmp_path / "own", random_model(), score_weights=WEIGHTS))

    assert loaded.score_weights == {
        "tools": ScoreWeights(bias=-0.5, logit=1.0, lexical_share=2.0),
        "tables": ScoreWeights(bias=1.5, logit=0.5, cosine=3.0, lexical_match=0.25),
    }


def test_layers_come_back_within_half_a_step_and_the_rest_exactly(folder: Path) -> None:
    written, read = random_model().state_dict(), read_folder(folder).model.state_dict()

    names = [name for name in written if name != "words.weight"]
    in_8_bits = [name for name in names if name.startswith("layers.") and written[name].dim() == 2]
    steps = {name: written[name].abs().amax(1, keepdim=True) / 127 for name in in_8_bits}
    assert sorted(read) == sorted(names)
    assert len(in_8_bits) == 8
    assert all(bool(((written[n] - read[n]).abs() <= steps[n] / 2 + 1e-7).all()) for n in in_8_bits)
    assert all(torch.equal(written[name], read[name]) for name in names if name not in in_8_bits)


def test_a_read_model_computes_what_the_written_one_did(folder: Path) -> None:
    model = random_model()
    model.words = QuantizedEmbedding(*random_table(ROWS, HIDDEN))

    torch.testing.assert_close(logits(read_folder(folder).model), logits(model), atol=0.05, rtol=0)


def test_a_quantized_table_gives_the_rows_decoded_by_hand() -> None:
    codes, scales = random_table(7, 64)

    rows = QuantizedEmbedding(codes, scales)(torch.tensor([6, 0, 0, 3]))

    expected = [decoded_row(codes[i].tolist(), scales[i].float().tolist()) for i in (6, 0, 0, 3)]
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows, torch.tensor(expected), atol=0, rtol=0)


def test_a_quantized_table_has_the_low_halves_first() -> None:
    codes = torch.full((1, 16), 0x88, dtype=torch.uint8)
    codes[0, 2] = 0x3A  # low nibble 10, high nibble 3

    (row,) = QuantizedEmbedding(codes, torch.tensor([[0.5]], dtype=torch.float16))(torch.tensor([0])).tolist()

    assert (row[2], row[18]) == (1.0, -2.5)
    assert [value for value in row if value] == [1.0, -2.5]


@pytest.mark.parametrize("num_word_files", [1, 3, 12])
def test_a_table_in_any_number_of_files_is_read_in_order(tmp_path: Path, num_word_files: int) -> None:
    codes, scales = random_table(ROWS, HIDDEN)

    folder = write(tmp_path / "own", random_model(), num_word_files=num_word_files)

    words = read_folder(folder).model.words
    assert len(list(folder.glob("words-*.safetensors"))) == num_word_files
    assert isinstance(words, QuantizedEmbedding)
    assert torch.equal(words.codes, codes)
    assert torch.equal(words.scales, scales)


@pytest.mark.parametrize("seed", range(3))
def test_8_bits_are_off_by_at_most_half_a_step(seed: int) -> None:
    matrix = torch.randn(20, 33, generator=torch.Generator().manual_seed(seed)) * 10.0 ** (seed - 1)

    rounded, factors = quantize_rows(matrix)

    assert rounded.dtype == torch.int8
    assert int(rounded.abs().max()) == 127
    assert bool(((rounded.float() * factors[:, None] - matrix).abs() <= factors[:, None] * 0.5001).all())


def test_a_row_of_zeros_stays_zero() -> None:
    rounded, factors = quantize_rows(torch.zeros(2, 4))

    assert not rounded.any()
    assert torch.isfinite(factors).all()


@pytest.mark.parametrize(
    "name", ["shortlist.json", "layers.safetensors", "words-1.safetensors", "words-2.safetensors", "tokenizer.json"]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(ModelNotFound, match=f"{name[:6]}.*fetch .* again"):
        read_folder(folder)


def test_a_folder_without_its_table_says_so(folder: Path) -> None:
    (folder / "words-1.safetensors").unlink()
    (folder / "words-2.safetensors").unlink()

    with pytest.raises(ModelNotFound, match=r"lacks words-1\.safetensors"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["layers.safetensors", "words-2.safetensors"])
def test_a_damaged_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"not a tensor")

    with pytest.raises(ModelError, match=f"{name} cannot be read"):
        read_folder(folder)


def test_a_later_format_is_refused(folder: Path) -> None:
    redescribe(folder, format=FORMAT + 1)

    with pytest.raises(UnsupportedModel, match=f"is in format {FORMAT + 1}, this version reads format {FORMAT}"):
        read_folder(folder)


def test_layers_that_do_not_fit_the_description_are_refused(folder: Path) -> None:
    shape = json.loads((folder / "shortlist.json").read_text())["shape"]
    redescribe(folder, shape=shape | {"num_layers": 3})

    with pytest.raises(UnsupportedModel, match="do not fit the description"):
        read_folder(folder)


def test_a_folder_of_our_format_is_recognised_by_its_description(folder: Path, tiny_model_dir: Path) -> None:
    assert (is_own_folder(folder), is_own_folder(tiny_model_dir)) == (True, False)


def test_a_router_runs_a_folder_with_its_score_weights(tmp_path: Path) -> None:
    plain = load(write(tmp_path / "plain", random_model()))
    weighted = load(write(tmp_path / "weighted", random_model(), score_weights=WEIGHTS))
    tools = ['{"name": "email"}', '{"name": "invoice"}']

    logit = {item.name: logit_of(item.score) for item in plain.select_tools("email", tools).items}
    weighted_logit = {item.name: logit_of(item.score) for item in weighted.select_tools("email", tools).items}

    assert weighted_logit["email"] == pytest.approx(logit["email"] - 0.5 + 2.0, abs=1e-4)
    assert weighted_logit["invoice"] == pytest.approx(logit["invoice"] - 0.5, abs=1e-4)


def test_a_router_reports_the_limits_of_its_folder(folder: Path) -> None:
    info = load(folder).info

    assert (info.name, info.version, info.license) == ("tiny-own", "1.2.3", "MIT")
    assert (info.default_query_tokens, info.default_pair_tokens) == (24, 80)
    assert (info.max_query_tokens, info.max_pair_tokens) == (48, 96)
    assert (info.vocabulary_size, info.dtype) == (ROWS, "float32")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        pytest.param("{", ModelError, "damaged", id="not JSON"),
        pytest.param("[]", ModelError, "no JSON object", id="not an object"),
        pytest.param(f'{{"format": {FORMAT}}}', UnsupportedModel, "name is missing", id="fields missing"),
    ],
)
def test_a_broken_description_is_an_error_that_names_the_file(
    tmp_path: Path, text: str, error: type[ModelError], message: str
) -> None:
    (tmp_path / "shortlist.json").write_text(text)

    with pytest.raises(error, match=message) as caught:
        read_folder(tmp_path)

    assert "shortlist.json" in str(caught.value)
