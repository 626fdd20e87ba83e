from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import Tiny, write_bert, write_jina, write_xlm_roberta
from safetensors.torch import load_file, save_file

from shortlist.router.checkpoints.pretrained import ForeignModel, load_foreign
from shortlist.router.engine.packing import pack
from shortlist.router.model.attention.blocks import BucketedAttention
from shortlist.schemas.errors import ModelError, ModelNotFound, UnsupportedModel

TEXTS = [
    ("send an email", "get_weather_forecast for a city"),
    ("wie viele Bestellungen", "create table orders (id int primary key, customer_id int, total numeric)"),
    ("", "Paris is the capital of France"),
    ("newest first", ""),
]
FORMS = [
    pytest.param(write_xlm_roberta, "XLMRoberta", id="xlm-roberta"),
    pytest.param(lambda folder: write_xlm_roberta(folder, model_type="roberta"), "Roberta", id="roberta"),
    pytest.param(write_bert, "Bert", id="bert"),
    pytest.param(lambda folder: write_jina(folder, dtype=torch.float32), "XLMRoberta", id="jina"),
    pytest.param(write_jina, "XLMRoberta", id="jina in bfloat16"),
]
Edit = Callable[[Path], None]


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return write_xlm_roberta(tmp_path / "tiny")


@pytest.mark.parametrize(("write", "architecture"), FORMS)
def test_a_checkpoint_gives_the_same_logits_as_transformers(
    write: Callable[[Path], Tiny], architecture: str, tmp_path: Path
) -> None:
    written = write(tmp_path / "model")

    logits = _our_logits(load_foreign(written.folder))

    assert logits == pytest.approx(_their_logits(written, architecture), abs=1e-4)
    assert max(logits) - min(logits) > 0.02  # else any model would pass


def test_weights_in_shards_are_the_same_model(tiny: Tiny) -> None:
    whole = _our_logits(load_foreign(tiny.folder))
    _split(tiny.folder)

    assert _our_logits(load_foreign(tiny.folder)) == whole


def test_a_model_comes_with_its_limits_and_its_name(tiny: Tiny) -> None:
    foreign = load_foreign(tiny.folder)

    assert (foreign.name, foreign.license) == ("tiny", "apache-2.0")
    assert foreign.model.config.max_pair_tokens == 128
    assert (foreign.default_query_tokens, foreign.default_pair_tokens) == (64, 128)
    assert load_foreign(tiny.folder).version == foreign.version != load_foreign(_retrained(tiny)).version


def test_a_snapshot_has_the_name_and_version_of_the_hub(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    written = write_bert(tmp_path / "models--someone--some-ranker" / "snapshots" / commit)

    foreign = load_foreign(written.folder)

    assert (foreign.name, foreign.version) == ("someone/some-ranker", "0123456789ab")


def test_weights_can_be_read_in_half_precision(tiny: Tiny) -> None:
    foreign = load_foreign(tiny.folder, dtype=torch.bfloat16)

    assert {parameter.dtype for parameter in foreign.model.parameters()} == {torch.bfloat16}


def test_pairs_of_an_xlm_roberta_have_two_separators(tiny: Tiny) -> None:
    assert _layout(load_foreign(tiny.folder)) == ([0, -1, 2, 2, -1, 2], 3)


def test_pairs_of_a_bert_have_one_separator_and_it_belongs_to_the_query(tmp_path: Path) -> None:
    foreign = load_foreign(write_bert(tmp_path / "bert").folder)

    assert _layout(foreign) == ([2, -1, 3, -1, 3], 3)
    assert foreign.model.config.num_token_types == 2


def _config(**fields: object) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / "config.json"
        merged = json.loads(path.read_text()) | fields
        path.write_text(json.dumps({name: value for name, value in merged.items() if value is not None}))

    return edit


def _tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Edit:
    def edit(folder: Path) -> None:
        # Copies: the loaded tensors are views of the file that is about to be overwritten.
        tensors = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return edit


def _rename(old: str, new: str) -> Edit:
    return lambda folder: (folder / old).rename(folder / new) and None


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        pytest.param(
            _rename("model.safetensors", "pytorch_model.bin"), UnsupportedModel, "pickle.*save_pretrained", id="pickle"
        ),
        pytest.param(
            _rename("model.safetensors", "other"), ModelNotFound, "holds no model.safetensors", id="no weights"
        ),
        pytest.param(_rename("config.json", "other"), ModelNotFound, "holds no config.json", id="no config"),
        pytest.param(_config(model_type="deberta-v2"), UnsupportedModel, "type 'deberta-v2'", id="other architecture"),
        pytest.param(_config(architectures=["XLMRobertaModel"]), UnsupportedModel, "XLMRobertaModel", id="no head"),
        pytest.param(_config(hidden_act="gelu_new"), UnsupportedModel, "activation 'gelu_new'", id="activation"),
        pytest.param(
            _config(position_embedding_type="relative_key"),
            UnsupportedModel,
            "'relative_key' position embeddings",
            id="relative positions",
        ),
        pytest.param(
            _tensors(lambda t: t.update({"classifier.out_proj.weight": torch.zeros(3, 32)})),
            UnsupportedModel,
            "3 logits",
            id="three logits",
        ),
        pytest.param(
            _tensors(lambda t: t.pop("classifier.out_proj.weight")),
            UnsupportedModel,
            "classification head",
            id="no head tensor",
        ),
        pytest.param(
            _tensors(lambda t: t.pop("roberta.encoder.layer.1.output.dense.bias")),
            ModelError,
            "lacks roberta.encoder.layer.1.output.dense.bias$",
            id="missing tensor",
        ),
        pytest.param(
            _tensors(lambda t: t.update({"adapter.weight": torch.zeros(2)})),
            ModelError,
            "holds unexpected tensors adapter.weight$",
            id="unexpected tensor",
        ),
        pytest.param(
            _config(num_hidden_layers=9), ModelError, "lacks .*, .*, .*, .*, .* and 107 more$", id="many missing"
        ),
        pytest.param(
            _config(intermediate_size=64), ModelError, r"intermediate.dense.bias \(48,\) instead of \(64,\)", id="shape"
        ),
        pytest.param(_config(hidden_size=None), ModelError, "lacks 'hidden_size'", id="config lacks a size"),
        pytest.param(_config(hidden_size="big"), ModelError, "not a number", id="config holds a word"),
        pytest.param(
            _config(num_attention_heads=5), ModelError, "does not describe a valid model", id="heads do not divide"
        ),
        pytest.param(
            lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x02}q\x00."),
            ModelError,
            "cannot be read as safetensors",
            id="damaged weights",
        ),
        pytest.param(
            lambda folder: (folder / "tokenizer.json").write_text("{}"),
            ModelError,
            "as a tokenizer",
            id="damaged tokenizer",
        ),
        pytest.param(
            lambda folder: (folder / "config.json").write_text("[1]"),
            ModelError,
            "is not a JSON object",
            id="config is a list",
        ),
    ],
)
def test_a_checkpoint_that_cannot_run_says_why(edit: Edit, error: type[ModelError], message: str, tiny: Tiny) -> None:
    edit(tiny.folder)

    with pytest.raises(error, match=message):
        load_foreign(tiny.folder)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no folder"):
        load_foreign(tmp_path / "missing")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/model.safetensors", "model.bin"])
def test_an_index_may_only_name_safetensors_beside_it(name: str, tiny: Tiny) -> None:
    (tiny.folder / "model.safetensors").rename(tiny.folder.parent / "model.safetensors")
    (tiny.folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))

    with pytest.raises(ModelError, match="not a safetensors file beside it"):
        load_foreign(tiny.folder)


def test_a_missing_shard_is_named(tiny: Tiny) -> None:
    _split(tiny.folder)
    (tiny.folder / "model-2.safetensors").unlink()

    with pytest.raises(ModelNotFound, match=r"lacks model-2\.safetensors"):
        load_foreign(tiny.folder)


def test_tensors_left_by_old_releases_of_transformers_are_ignored(tiny: Tiny) -> None:
    _tensors(lambda t: t.update({"roberta.embeddings.position_ids": torch.arange(130)}))(tiny.folder)

    assert load_foreign(tiny.folder).model.config.num_layers == 2


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        pytest.param("---\ntags: [x]\nlicense: cc-by-nc-4.0\n---\n# M\n", "cc-by-nc-4.0", id="stated"),
        pytest.param("# M\nlicense: mit\n", "unknown", id="no front matter"),
        pytest.param("---\ntags: x\n---\nlicense: mit\n", "unknown", id="outside the front matter"),
        pytest.param("", "unknown", id="empty"),
    ],
)
def test_the_license_is_read_from_the_model_card(card: str, expected: str, tiny: Tiny) -> None:
    (tiny.folder / "README.md").write_text(card)

    assert load_foreign(tiny.folder).license == expected


@pytest.mark.download
@pytest.mark.skipif("SHORTLIST_JINA_DIR" not in os.environ, reason="SHORTLIST_JINA_DIR names no copy of the checkpoint")
def test_the_published_jina_reranker_gives_its_known_logits() -> None:
    """The logits are those of qdrant/fastembed's tests, from its ONNX export."""
    foreign = load_foreign(Path(os.environ["SHORTLIST_JINA_DIR"]))
    documents = ("Paris is the capital of France.", "Berlin is the capital of Germany.")

    logits = _our_logits(foreign, [("What is the capital of France?", document) for document in documents])

    assert logits == pytest.approx([1.6533, -1.6455], abs=2e-2)
    assert sum(parameter.numel() for parameter in foreign.model.parameters()) == 278_437_633 - 2 * 768


def _our_logits(foreign: ForeignModel, texts: list[tuple[str, str]] = TEXTS) -> list[float]:
    queries = foreign.tokenizer.encode([query for query, _ in texts])
    documents = foreign.tokenizer.encode([document for _, document in texts])
    pairs = [foreign.tokenizer.make_pair(*ids) for ids in zip(queries, documents, strict=True)]
    with torch.inference_mode():
        logits: list[float] = foreign.model(pack(pairs), BucketedAttention()).tolist()
    return logits


def _their_logits(written: Tiny, architecture: str) -> list[float]:
    """Runs the padded model of transformers, with its own tokenizer's pairs, on the same weights in standard names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers warns of its own future
        import transformers

        fields = json.loads((written.folder / "config.json").read_text())
        left_out = ("model_type", "auto_map", "architectures", "id2label", "label2id", "position_embedding_type")
        sizes = {name: value for name, value in fields.items() if name not in left_out}
        config = getattr(transformers, f"{architecture}Config")(**sizes | {"num_labels": 1})
        model = getattr(transformers, f"{architecture}ForSequenceClassification")(config)
        model.load_state_dict(written.weights)
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(written.folder / "tokenizer.json"))
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(config.pad_token_id)
        inputs = tokenizer(
            [query for query, _ in TEXTS],
            [document for _, document in TEXTS],
            padding=True,
            return_tensors="pt",
            return_token_type_ids=architecture == "Bert",
        )
        with torch.inference_mode():
            logits: list[float] = model.eval()(**inputs).logits.squeeze(-1).tolist()
    return logits


def _layout(foreign: ForeignModel) -> tuple[list[int], int]:
    """Returns the ids of a pair with -1 for the single token of each text, and where its second segment begins."""
    one = foreign.tokenizer.encode(["email"])[0][:1] * 0 - 1
    pair = foreign.tokenizer.make_pair(one, one)
    return pair.input_ids.tolist(), pair.second_start


def _split(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in shards.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "model.safetensors").unlink()


def _retrained(tiny: Tiny) -> Path:
    return write_xlm_roberta(tiny.folder.parent / "retrained", seed=1).folder
