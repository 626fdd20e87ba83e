"""A model folder may hold an encoder and variants of its cross-encoder, over one embedding table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import random_pairs, random_texts
from own_folders import RETRIEVAL, Written, write_whole

from shortlist import Router
from shortlist.router.checkpoints.loading import make_engines
from shortlist.router.checkpoints.native import read_folder
from shortlist.router.engine.packing import pack
from shortlist.router.first_stage.embedder import RetrievalSettings
from shortlist.router.model.attention.blocks import PaddedAttention
from shortlist.router.model.encoder import CrossEncoder, TextEncoder
from shortlist.router.ranking.score import ScoreWeights
from shortlist.schemas.errors import ModelError, ModelNotFound, UnsupportedModel

LENGTHS = [4, 17, 40]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return write_whole(tmp_path / "whole")


def vectors(encoder: TextEncoder | None) -> torch.Tensor:
    assert encoder is not None
    with torch.inference_mode():
        return encoder(pack(random_texts(LENGTHS)), PaddedAttention())


def logits(model: CrossEncoder) -> torch.Tensor:
    with torch.inference_mode():
        return model(pack(random_pairs(LENGTHS)), PaddedAttention())


def test_an_encoder_embeds_as_the_written_one_did(written: Written) -> None:
    read = vectors(read_folder(written.folder).encoder)

    # Matrices are rounded to 8 bits: a cosine of 0.999 is an angle of 2.6 degrees.
    assert float((read * vectors(written.encoder)).sum(-1).min()) > 0.999


def test_retrieval_settings_are_read_back(written: Written) -> None:
    assert read_folder(written.folder).retrieval == RetrievalSettings(**RETRIEVAL)


def test_a_variant_computes_what_the_written_one_did(written: Written) -> None:
    loaded = read_folder(written.folder, variant="fast")

    assert loaded.model.config.num_layers == 1
    torch.testing.assert_close(logits(loaded.model), logits(written.fast), atol=0.05, rtol=0)


def test_a_variant_has_its_own_name_and_weights_and_the_rest_of_the_folder(written: Written) -> None:
    whole, fast = read_folder(written.folder), read_folder(written.folder, variant="fast")

    assert (whole.name, fast.name) == ("tiny-own", "tiny-fast")
    assert (whole.score_weights, fast.score_weights) == ({}, {"tools": ScoreWeights(bias=0.25, logit=1.5)})
    assert (fast.version, fast.document_tokens, fast.retrieval) == (
        whole.version,
        whole.document_tokens,
        whole.retrieval,
    )
    torch.testing.assert_close(vectors(fast.encoder), vectors(whole.encoder))


@pytest.mark.parametrize("variant", [None, "fast"], ids=["whole", "fast"])
def test_both_models_share_one_table(written: Written, variant: str | None) -> None:
    loaded = read_folder(written.folder, variant=variant)

    assert loaded.encoder is not None
    assert loaded.encoder.words is loaded.model.words


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_engine_keeps_the_table_shared(written: Written, dtype: str) -> None:
    loaded = read_folder(written.folder)

    (engine, *_), _ = make_engines(loaded, device="cpu", dtype=dtype)

    assert engine.encoder is not None
    assert engine.encoder.words is engine.model.words
    assert engine.encoder.embedding_norm.weight.dtype == engine.model.embedding_norm.weight.dtype
    embedded = torch.from_numpy(np.stack([one.vector for one in engine.embed(random_texts(LENGTHS))]))
    cosines = (embedded * vectors(written.encoder)).sum(-1)
    assert float(cosines.min()) > 0.995


def test_an_unknown_variant_is_an_error_that_lists_the_known_ones(written: Written) -> None:
    with pytest.raises(UnsupportedModel, match=r"no variant 'slow'; it has: fast"):
        read_folder(written.folder, variant="slow")


def test_a_folder_without_variants_says_so(written: Written) -> None:
    redescribe(written.folder, variants={})

    with pytest.raises(UnsupportedModel, match="it has: none"):
        read_folder(written.folder, variant="fast")


@pytest.mark.parametrize(
    ("name", "variant"),
    [("encoder.safetensors", None), ("encoder.safetensors", "fast"), ("layers-fast.safetensors", "fast")],
)
def test_a_missing_part_is_named(written: Written, name: str, variant: str | None) -> None:
    (written.folder / name).unlink()

    with pytest.raises(ModelNotFound, match=f"lacks {name}.*fetch it again"):
        read_folder(written.folder, variant=variant)


def test_a_damaged_encoder_is_named(written: Written) -> None:
    (written.folder / "encoder.safetensors").write_bytes(b"not a tensor")

    with pytest.raises(ModelError, match=r"encoder\.safetensors cannot be read"):
        read_folder(written.folder)


def test_layers_of_another_shape_are_an_error(written: Written) -> None:
    (written.folder / "layers-fast.safetensors").rename(written.folder / "encoder.safetensors")

    with pytest.raises(UnsupportedModel, match=r"encoder\.safetensors: the tensors do not fit the description"):
        read_folder(written.folder)


def test_unknown_settings_of_retrieval_are_an_error(written: Written) -> None:
    redescribe(written.folder, retrieval=RETRIEVAL | {"mood": 1})

    with pytest.raises(UnsupportedModel, match="mood"):
        read_folder(written.folder)


def test_an_encoder_that_is_not_described_is_not_read(written: Written) -> None:
    described = json.loads((written.folder / "shortlist.json").read_text())
    del described["retrieval"]
    (written.folder / "shortlist.json").write_text(json.dumps(described))

    loaded = read_folder(written.folder)

    assert (loaded.encoder, loaded.retrieval) == (None, None)


def test_a_router_has_an_embedder_where_its_model_has_an_encoder(written: Written, tiny_model_dir: Path) -> None:
    with_encoder, without = (
        Router.load(folder, device="cpu", dtype="float32") for folder in (written.folder, tiny_model_dir)
    )

    assert with_encoder.embedder is not None
    assert with_encoder.embedder.settings == RetrievalSettings(**RETRIEVAL)
    assert without.embedder is None


def redescribe(folder: Path, **changes: object) -> None:
    path = folder / "shortlist.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
