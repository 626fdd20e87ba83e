"""The retrieval encoder gives unit vectors that do not depend on the other texts in a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from checkpoints import random_encoder, random_texts

from shortlist.router.engine.packing import pack
from shortlist.router.engine.tokenizer import Pair
from shortlist.router.model.attention.backends import AttentionBackend
from shortlist.router.model.attention.blocks import BucketedAttention, PaddedAttention
from shortlist.router.model.encoder import TextEncoder

LENGTHS = [9, 4, 33, 17, 96, 4]
# float32 on the CPU, whatever else is in the batch.
TOLERANCE = 1e-5
BACKENDS = pytest.mark.parametrize("attention", [PaddedAttention(), BucketedAttention()], ids=["padded", "bucketed"])


def embed(encoder: TextEncoder, texts: Sequence[Pair], attention: AttentionBackend) -> torch.Tensor:
    with torch.inference_mode():
        return encoder(pack(texts), attention)


def tokens_of(encoder: TextEncoder, texts: Sequence[Pair], attention: AttentionBackend) -> tuple[torch.Tensor, ...]:
    with torch.inference_mode():
        _, tokens = encoder.encode(pack(texts), attention)
    assert tokens is not None
    return torch.split(tokens, LENGTHS if len(texts) > 1 else [len(tokens)])


def padded_reference(encoder: TextEncoder, texts: Sequence[Pair]) -> torch.Tensor:
    """Computes the expected vectors: every text padded to the longest, masked, and the mean of its own states."""
    weights, config = encoder.state_dict(), encoder.config
    ids = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long)
    is_text = torch.zeros_like(ids, dtype=torch.bool)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.from_numpy(text.input_ids)
        is_text[row, : len(text)] = True

    def linear(states: torch.Tensor, name: str) -> torch.Tensor:
        return states @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(states: torch.Tensor, name: str) -> torch.Tensor:
        centred = states - states.mean(-1, keepdim=True)
        spread = (centred.square().mean(-1, keepdim=True) + config.layer_norm_eps).sqrt()
        return centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def heads(states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (config.num_heads, -1)).transpose(1, 2)

    places = weights["positions.weight"][: ids.shape[1]] + weights["token_types.weight"][0]
    states = norm(weights["words.weight"][ids] + places, "embedding_norm")
    for layer in range(config.num_layers):
        own = f"layers.{layer}."
        query, key, value = (heads(part) for part in linear(states, own + "qkv").chunk(3, -1))
        looks = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        mixed = looks.masked_fill(~is_text[:, None, None], -math.inf).softmax(-1) @ value
        states = norm(states + linear(mixed.transpose(1, 2).flatten(2), own + "attention_out"), own + "attention_norm")
        states = norm(states + linear(F.gelu(linear(states, own + "up")), own + "down"), own + "output_norm")
    means = (states * is_text[..., None]).sum(1) / is_text.sum(1, keepdim=True)
    return means / means.norm(dim=-1, keepdim=True)


@BACKENDS
def test_vectors_match_the_padded_reference(attention: AttentionBackend) -> None:
    encoder, texts = random_encoder(), random_texts(LENGTHS)

    vectors = embed(encoder, texts, attention)

    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors, padded_reference(encoder, texts), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_vectors_have_length_1(dtype: torch.dtype) -> None:
    vectors = embed(random_encoder(dtype), random_texts(LENGTHS), PaddedAttention())

    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(LENGTHS)), atol=TOLERANCE, rtol=0)


@BACKENDS
def test_a_text_has_the_same_vector_alone_as_in_a_batch(attention: AttentionBackend) -> None:
    encoder, texts = random_encoder(), random_texts(LENGTHS)

    together = embed(encoder, texts, attention)

    alone = torch.cat([embed(encoder, [text], attention) for text in texts])
    torch.testing.assert_close(together, alone, atol=TOLERANCE, rtol=0)


@BACKENDS
def test_tokens_have_unit_vectors_and_weights_that_sum_to_1_in_each_text(attention: AttentionBackend) -> None:
    tokens = tokens_of(random_encoder(token_width=8), random_texts(LENGTHS), attention)

    assert [len(part) for part in tokens] == LENGTHS
    for part in tokens:
        torch.testing.assert_close(part[:, :-1].norm(dim=-1), torch.ones(len(part)), atol=TOLERANCE, rtol=0)
        assert float(part[:, -1].sum()) == pytest.approx(1, abs=TOLERANCE)
        assert float(part[:, -1].min()) > 0


@BACKENDS
def test_tokens_are_the_same_alone_as_in_a_batch(attention: AttentionBackend) -> None:
    encoder, texts = random_encoder(token_width=8), random_texts(LENGTHS)

    together = torch.cat(tokens_of(encoder, texts, attention))

    alone = torch.cat([tokens_of(encoder, [text], attention)[0] for text in texts])
    torch.testing.assert_close(together, alone, atol=TOLERANCE, rtol=0)


def test_without_a_token_width_there_are_no_token_vectors() -> None:
    with torch.inference_mode():
        assert random_encoder().encode(pack(random_texts(LENGTHS)), PaddedAttention())[1] is None


def test_different_texts_have_different_vectors() -> None:
    vectors = embed(random_encoder(), random_texts([20, 20]), PaddedAttention())

    assert float(vectors[0] @ vectors[1]) < 0.99


def test_bfloat16_stays_close_to_float32() -> None:
    texts = random_texts(LENGTHS)

    rounded = embed(random_encoder(torch.bfloat16), texts, PaddedAttention())

    assert rounded.dtype == torch.float32
    cosines = (rounded * embed(random_encoder(), texts, PaddedAttention())).sum(-1)
    assert float(cosines.min()) > 0.999
