"""Model folders that are damaged or crafted: each is refused by an error that names it, before it answers."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import write_bert, write_xlm_roberta
from own_folders import write_whole
from safetensors.torch import load_file, save_file

from shortlist import Router
from shortlist.router.checkpoints.native import read_folder
from shortlist.router.checkpoints.pretrained_tokenizer import load_tokenizer
from shortlist.schemas.errors import ModelError

Damage = Callable[[Path], None]
QKV = "layers.0.qkv.weight"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole(tmp_path_factory.mktemp("own") / "model").folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("foreign")
    write_xlm_roberta(folder / "roberta")
    write_bert(folder / "bert")
    return {"roberta": folder / "roberta", "bert": folder / "bert"}


def described(file: str = "shortlist.json", **changes: object) -> Damage:
    """Changes a description; a name with two underscores is one within another."""

    def damage(folder: Path) -> None:
        whole = json.loads((folder / file).read_text(encoding="utf-8"))
        for name, value in changes.items():
            *outer, last = name.split("__")
            inner = whole
            for part in outer:
                inner = inner[part]
            inner[last] = value
        (folder / file).write_text(json.dumps(whole), encoding="utf-8")

    return damage


def configured(**changes: object) -> Damage:
    return described("config.json", **changes)


def changed(file: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> Damage:
    """Changes the tensors of a file."""

    def damage(folder: Path) -> None:
        tensors = {name: tensor.clone() for name, tensor in load_file(folder / file).items()}
        change(tensors)
        save_file(tensors, folder / file)

    return damage


def written(file: str, content: bytes) -> Damage:
    return lambda folder: (folder / file).write_bytes(content) and None


OWN: dict[str, Damage] = {
    "half a tokenizer": written("tokenizer.json", b'{"version": "1.0", "added'),
    "a table of no numbers": changed("words-1.safetensors", lambda t: t["scales"].fill_(float("nan"))),
    "one factor of no number": changed("words-2.safetensors", lambda t: t["scales"][3].fill_(float("inf"))),
    "fewer factors than rows": changed("words-1.safetensors", lambda t: t.update(scales=t["scales"][:5].clone())),
    "a table of another type": changed("words-1.safetensors", lambda t: t.update(codes=t["codes"].view(torch.int8))),
    "a table half as wide": changed("words-1.safetensors", lambda t: t.update(codes=t["codes"][:, :8].clone())),
    "a table without factors": changed("words-1.safetensors", lambda t: t.pop("scales")),
    "a matrix without factors": changed("layers.safetensors", lambda t: t.pop(QKV + ".scale")),
    "one factor for all rows": changed(
        "layers.safetensors", lambda t: t.update({QKV + ".scale": t[QKV + ".scale"][:1].clone()})
    ),
    "whole numbers as weights": changed(
        "layers.safetensors", lambda t: t.update({"embedding_norm.weight": torch.ones(32, dtype=torch.int32)})
    ),
    "no heads": described(shape__num_heads=0),
    "heads that do not divide": described(shape__num_heads=5),
    "layers without end": described(shape__num_layers=10**9),
    "layers as text": described(shape__num_layers="2"),
    "a variant of layers without end": described(variants__fast__num_layers=10**9),
    "an epsilon of no number": described(shape__layer_norm_eps=float("nan")),
    "a weight of no number": described(score_weights={"tools": {"bias": float("nan"), "logit": 1.0}}),
    "a weight beyond all numbers": lambda folder: (
        (folder / "shortlist.json").write_text(
            (folder / "shortlist.json").read_text().replace('"lexical_weight": 0.5', '"lexical_weight": 1e999')
        )
        and None
    ),
    "weights that are none": described(score_weights=[1]),
    "a weight nobody knows": described(column_weights={"logit": 1.0, "is_key": 0}),
    "retrieval as text": described(retrieval="x"),
    "a token width below nothing": described(retrieval__token_width=-4),
    "a special token out of range": described(tokenizer__bos_id=10**6),
    "separators without end": described(tokenizer__num_separators=10**9),
    "longer pairs than it takes": described(defaults__default_pair_tokens=10**6),
    "documents of nothing": described(defaults__document_tokens=0),
    "a name that is none": described(name=5),
    "nesting without end": written("shortlist.json", b"[" * 100_000),
}
FOREIGN: dict[str, Damage] = {
    "token types that are none": configured(type_vocab_size="z"),
    "layers beyond all numbers": lambda folder: (
        (folder / "config.json").write_text(
            (folder / "config.json").read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 1e999')
        )
        and None
    ),
    "layers without end": configured(num_hidden_layers=10**9),
    "an epsilon of no number": configured(layer_norm_eps=float("nan")),
    "architectures that are none": configured(architectures=5),
    "nesting without end": written("config.json", b"[" * 100_000),
    "weights in 8 bits": changed(
        "model.safetensors",
        lambda t: t.update({n: (w * 50).to(torch.int8) for n, w in t.items() if n.endswith("query.weight")}),
    ),
    "weights in 8 bits that float": changed(
        "model.safetensors",
        lambda t: t.update({n: w.to(torch.float8_e4m3fn) for n, w in t.items() if n.endswith("query.weight")}),
    ),
    "a head without size": changed(
        "model.safetensors",
        lambda t: t.update(
            {n: torch.tensor(1.0) for n in t if n in ("classifier.weight", "classifier.out_proj.weight")}
        ),
    ),
    "words of no number": changed(
        "model.safetensors", lambda t: [w.fill_(float("nan")) for n, w in t.items() if "word_emb" in n]
    ),
}


def refused(whole: Path, damage: Damage, copy: Path) -> str:
    shutil.copytree(whole, copy)
    damage(copy)
    began = time.process_time()
    with pytest.raises(ModelError) as caught:
        Router.load(copy, device="cpu", dtype="float32")
    assert time.process_time() - began < 10
    return str(caught.value)


@pytest.mark.parametrize("name", [name for name in OWN if "variant" not in name])
def test_a_damaged_folder_of_our_own_is_refused_by_name(own: Path, tmp_path: Path, name: str) -> None:
    assert str(tmp_path / "copy") in refused(own, OWN[name], tmp_path / "copy")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        pytest.param(described(shape__num_heads=0), "shape.num_heads is 0, which should be", id="size"),
        pytest.param(described(shape__num_layers="2"), "shape.num_layers is '2'", id="text for a number"),
        pytest.param(described(retrieval__token_width=-4), "retrieval.token_width is -4", id="negative"),
        pytest.param(described(retrieval__mood=1), "retrieval.mood is not a field", id="unknown"),
        pytest.param(
            described(score_weights={"tools": {"bias": 1}}), "score_weights.tools.logit is missing", id="none"
        ),
        pytest.param(described(score_weights={"rows": {}}), "score_weights.rows", id="unknown kind"),
        pytest.param(described(column_weights={"bias": True}), "column_weights.bias is True", id="no number"),
        pytest.param(described(variants__fast__name=""), "variants.fast.name is ''", id="variant"),
        pytest.param(described(defaults__default_pair_tokens=99), "defaults.default_pair_tokens is 99", id="too long"),
        pytest.param(described(tokeniser={}), "tokeniser is not a field", id="misspelt"),
    ],
)
def test_a_wrong_description_is_refused_with_its_field(own: Path, tmp_path: Path, damage: Damage, told: str) -> None:
    message = refused(own, damage, tmp_path / "copy")
    assert message.startswith(f"{tmp_path / 'copy' / 'shortlist.json'} does not describe")
    assert told in message


def test_a_damaged_variant_is_refused_where_it_is_asked_for(own: Path, tmp_path: Path) -> None:
    shutil.copytree(own, tmp_path / "copy")
    OWN["a variant of layers without end"](tmp_path / "copy")
    with pytest.raises(ModelError, match="num_layers is 1000000000"):
        read_folder(tmp_path / "copy", variant="fast")


@pytest.mark.parametrize("kind", ["roberta", "bert"])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_damaged_checkpoint_is_refused_by_name(
    foreign: dict[str, Path], tmp_path: Path, kind: str, name: str
) -> None:
    assert str(tmp_path / "copy") in refused(foreign[kind], FOREIGN[name], tmp_path / "copy")


@pytest.mark.parametrize("offset", [None, -2, -50])
def test_a_padding_that_is_no_place_is_refused(foreign: dict[str, Path], tmp_path: Path, offset: int | None) -> None:
    assert "config.json" in refused(foreign["roberta"], configured(pad_token_id=offset), tmp_path / "copy")


VOCABULARIES = {
    "an empty sentencepiece": {"sentencepiece.bpe.model": b""},
    "garbage for sentencepiece": {"sentencepiece.bpe.model": b"\x00\xffgarbage"},
    "half a vocab.json": {"vocab.json": b'{"a":', "merges.txt": b""},
    "a vocab.txt of bytes": {"vocab.txt": b"\xff\xfe\x00"},
    "a class that is none": {
        "vocab.txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb",
        "tokenizer_config.json": b'{"tokenizer_class": 5}',
    },
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_damaged_vocabulary_is_refused(foreign: dict[str, Path], tmp_path: Path, name: str) -> None:
    shutil.copytree(foreign["roberta"], tmp_path / "copy")
    (tmp_path / "copy" / "tokenizer.json").unlink()
    for file, content in VOCABULARIES[name].items():
        (tmp_path / "copy" / file).write_bytes(content)
    with pytest.raises(ModelError, match=r"fetch|makes none of it"):
        load_tokenizer(tmp_path / "copy")


def test_a_copy_beside_the_parts_of_a_table_is_no_part(own: Path, tmp_path: Path) -> None:
    shutil.copytree(own, tmp_path / "copy")
    shutil.copy(tmp_path / "copy" / "words-1.safetensors", tmp_path / "copy" / "words-1 copy.safetensors")
    assert Router.load(tmp_path / "copy", device="cpu", dtype="float32").info.name == "tiny-own"
