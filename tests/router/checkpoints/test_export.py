"""An exported model gives the same scores in other programs as here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import Tiny, random_model, write_bert, write_jina, write_xlm_roberta
from own_folders import write, write_whole

from shortlist.router.checkpoints.export import FORMATS, export
from shortlist.router.checkpoints.loading import load_model
from shortlist.router.checkpoints.native import LoadedModel
from shortlist.router.engine.packing import pack
from shortlist.router.model.attention.blocks import PaddedAttention
from shortlist.router.model.encoder import CrossEncoder
from shortlist.schemas.errors import InvalidInput
from shortlist.server.cli.export import _FORMS
from shortlist.server.cli.main import main

TEXTS = [("open orders", "list the open orders of a customer by date"), ("capital", "Paris"), ("send", "send an email")]
KINDS = [
    pytest.param(write_xlm_roberta, id="xlm-roberta"),
    pytest.param(write_bert, id="bert"),
    pytest.param(write_jina, id="jina"),
]


@pytest.fixture
def own(tmp_path: Path) -> LoadedModel:
    torch.manual_seed(0)
    model = CrossEncoder(replace(random_model().config, num_token_types=1))
    return load_model(write(tmp_path / "own", model))


def logits_of(loaded: LoadedModel) -> torch.Tensor:
    tokenizer = loaded.tokenizer
    pairs = [tokenizer.make_pair(*tokenizer.encode(texts)) for texts in TEXTS]
    with torch.inference_mode():
        return loaded.model(pack(pairs), PaddedAttention())


@pytest.mark.parametrize("publish", KINDS)
def test_an_exported_model_is_read_again_and_scores_the_same(publish: Callable[[Path], Tiny], tmp_path: Path) -> None:
    loaded = load_model(publish(tmp_path / "published").folder)

    export(loaded, "hf", tmp_path / "out")

    again = load_model(tmp_path / "out")
    torch.testing.assert_close(logits_of(again), logits_of(loaded), atol=1e-6, rtol=0)
    assert again.default_pair_tokens == loaded.default_pair_tokens


def test_weights_have_the_permissions_of_the_files_beside_them(own: LoadedModel, tmp_path: Path) -> None:
    export(own, "hf", tmp_path / "out")

    for folder in (tmp_path / "own", tmp_path / "out"):
        modes = {path.name: oct(path.stat().st_mode) for path in folder.iterdir()}
        assert len(modes) > 2
        assert len(set(modes.values())) == 1, modes


def test_a_table_in_4_bits_is_exported_decoded(own: LoadedModel, tmp_path: Path) -> None:
    export(own, "hf", tmp_path / "out")

    torch.testing.assert_close(logits_of(load_model(tmp_path / "out")), logits_of(own), atol=1e-6, rtol=0)


@pytest.mark.parametrize("publish", KINDS)
def test_transformers_reads_an_exported_model(publish: Callable[[Path], Tiny], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    loaded = load_model(publish(tmp_path / "published").folder)
    export(loaded, "hf", tmp_path / "out")

    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    with torch.inference_mode():
        logits = model(**tokenizer(*map(list, zip(*TEXTS, strict=True)), padding=True, return_tensors="pt")).logits

    torch.testing.assert_close(logits.squeeze(-1), logits_of(loaded), atol=1e-5, rtol=0)


@pytest.mark.parametrize("publish", KINDS)
def test_onnx_scores_padded_pairs_the_same(publish: Callable[[Path], Tiny], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    loaded = load_model(publish(tmp_path / "published").folder)

    export(loaded, "onnx", tmp_path / "out")

    session = runtime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], padded(loaded))
    np.testing.assert_allclose(logits[:, 0], logits_of(loaded).numpy(), atol=1e-4)


@pytest.mark.parametrize("publish", KINDS)
def test_openvino_scores_padded_pairs_the_same(publish: Callable[[Path], Tiny], tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    loaded = load_model(publish(tmp_path / "published").folder)

    export(loaded, "openvino", tmp_path / "out")

    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(tmp_path / "out" / "model.xml", "CPU", hints)
    logits = compiled(padded(loaded))["logits"]
    np.testing.assert_allclose(logits[:, 0], logits_of(loaded).numpy(), atol=1e-4)


def padded(loaded: LoadedModel) -> dict[str, np.ndarray]:
    tokenizer = loaded.tokenizer
    pairs = [tokenizer.make_pair(*tokenizer.encode(texts)) for texts in TEXTS]
    width = max(map(len, pairs))
    shape = {"input_ids": [pair.input_ids.tolist() for pair in pairs]}
    shape["attention_mask"] = [[1] * len(pair) for pair in pairs]
    if loaded.model.config.num_token_types > 1:
        starts = [pair.second_start for pair in pairs]
        shape["token_type_ids"] = [[int(i >= start) for i in range(width)] for start in starts]
    return {name: np.array([[*row, *[0] * (width - len(row))] for row in rows]) for name, rows in shape.items()}


def test_a_folder_that_is_not_empty_is_left_alone(own: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")

    with pytest.raises(InvalidInput, match="not an empty folder; name a new one"):
        export(own, "hf", tmp_path)

    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["note.txt"]


def test_an_unknown_format_is_refused(own: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="unknown format 'gguf'; use one of hf, onnx, openvino"):
        export(own, "gguf", tmp_path / "out")


def test_a_missing_package_is_named_before_anything_is_written(
    own: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shortlist.router.checkpoints.export.find_spec", lambda name: None)

    with pytest.raises(InvalidInput, match=r"needs transformers and openvino; install the extra \[export\]"):
        export(own, "openvino", tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_the_command_offers_every_format() -> None:
    assert tuple(FORMATS) == _FORMS


def test_the_command_lists_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(write_whole(tmp_path / "own").folder)

    assert main(["export", str(tmp_path / "out"), "--model", model]) == 0

    names = [line.split()[-1] for line in capsys.readouterr().out.splitlines()]
    assert [Path(name).name for name in names] == [
        "config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
