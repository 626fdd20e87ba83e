from __future__ import annotations

import pytest
import torch
from checkpoints import random_model, random_pairs

from shortlist.router.engine.engine import Engine
from shortlist.router.engine.packing import pack
from shortlist.router.model.attention.backends import AttentionBackend
from shortlist.router.model.attention.blocks import BucketedAttention, PaddedAttention, SdpaAttention
from shortlist.router.model.attention.training import TrainableAttention

BACKENDS = [
    pytest.param(BucketedAttention(), id="bucketed"),
    pytest.param(TrainableAttention(), id="trainable"),
    pytest.param(BucketedAttention(max_waste=0.5), id="bucketed, wide buckets"),
    pytest.param(SdpaAttention(), id="sdpa"),
]
SHAPES = [
    pytest.param([17], id="one pair"),
    pytest.param([12, 12, 12], id="equal lengths"),
    pytest.param([60, 59, 58, 31, 30, 9, 8, 4], id="sorted"),
    pytest.param([5, 64, 7, 40, 40, 6], id="unsorted"),
]
# Logits of these models lie within about ±3.
TOLERANCES = [
    pytest.param(torch.float32, 1e-4, id="float32"),
    pytest.param(torch.bfloat16, 8e-2, id="bfloat16"),
]


@pytest.mark.parametrize("lengths", SHAPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_matches_the_padded_reference(backend: AttentionBackend, lengths: list[int]) -> None:
    batch = pack(random_pairs(lengths))
    qkv = torch.randn(sum(lengths), 3, 4, 8, generator=torch.Generator().manual_seed(1))

    mixed = backend.plan(batch, torch.float32)(qkv)

    torch.testing.assert_close(mixed, PaddedAttention().plan(batch, torch.float32)(qkv), atol=1e-5, rtol=0)


@pytest.mark.parametrize("lengths", SHAPES)
@pytest.mark.parametrize("backend", [*BACKENDS, pytest.param(PaddedAttention(), id="padded")])
def test_first_tokens_get_the_same_attention_alone_as_among_all(backend: AttentionBackend, lengths: list[int]) -> None:
    batch = pack(random_pairs(lengths))
    qkv = torch.randn(sum(lengths), 3, 4, 8, generator=torch.Generator().manual_seed(9))
    attend = backend.plan(batch, torch.float32)

    mixed = attend(qkv, first_only=True)

    torch.testing.assert_close(mixed, attend(qkv)[batch.cu_seqlens[:-1]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("lengths", SHAPES)
def test_the_padded_reference_attends_within_each_pair(lengths: list[int]) -> None:
    batch = pack(random_pairs(lengths))
    qkv = torch.randn(sum(lengths), 3, 2, 8, generator=torch.Generator().manual_seed(2))

    mixed = PaddedAttention().plan(batch, torch.float32)(qkv)

    alone = [_attention_by_definition(part) for part in qkv.split(lengths)]
    torch.testing.assert_close(mixed, torch.cat(alone), atol=1e-5, rtol=0)


def test_attention_does_not_change_its_input() -> None:
    batch = pack(random_pairs([9, 5]))
    qkv = torch.randn(14, 3, 2, 8)
    before = qkv.clone()

    BucketedAttention(max_waste=1).plan(batch, torch.float32)(qkv)

    assert torch.equal(qkv, before)


@pytest.mark.parametrize("lengths", [*SHAPES, pytest.param([1100, 30, 29], id="longer than a part")])
def test_trainable_attention_has_the_gradients_of_the_padded_reference(lengths: list[int]) -> None:
    batch = pack(random_pairs(lengths))
    generator = torch.Generator().manual_seed(3)
    qkv = torch.randn(sum(lengths), 3, 4, 8, generator=generator)
    weight = torch.randn(sum(lengths), 32, generator=generator)

    def gradient(backend: AttentionBackend) -> torch.Tensor:
        leaf = qkv.clone().requires_grad_(True)
        (backend.plan(batch, torch.float32)(leaf) * weight).sum().backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        return leaf.grad

    torch.testing.assert_close(gradient(TrainableAttention()), gradient(PaddedAttention()), atol=2e-5, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pair_scores_the_same_whatever_its_neighbours(
    backend: AttentionBackend, dtype: torch.dtype, tolerance: float
) -> None:
    pairs = random_pairs([5, 64, 7, 40, 41, 6, 96])
    engine = Engine(random_model(dtype), backend, torch.device("cpu"), max_batch_tokens=1_000)

    together = engine.run(pairs)

    alone = [engine.run([pair])[0] for pair in pairs]
    assert together == pytest.approx(alone, abs=tolerance)
    assert max(alone) - min(alone) > 0.2  # else the tolerance would prove nothing


def _attention_by_definition(qkv: torch.Tensor) -> torch.Tensor:
    query, key, value = qkv.permute(1, 2, 0, 3)
    weights = torch.softmax(query @ key.transpose(1, 2) / query.shape[-1] ** 0.5, -1)
    return (weights @ value).transpose(0, 1).flatten(1)


@pytest.mark.parametrize("size", [1.0, 60.0, 3_000.0], ids=["ordinary", "large", "beyond the range of a weight"])
@pytest.mark.parametrize("lengths", SHAPES)
def test_bucketed_attention_is_correct_for_scores_of_any_size(lengths: list[int], size: float) -> None:
    batch = pack(random_pairs(lengths))
    qkv = torch.randn(sum(lengths), 3, 4, 8, generator=torch.Generator().manual_seed(4))
    qkv[:, :2] *= size**0.5

    mixed = BucketedAttention(max_waste=0.5).plan(batch, torch.float32)(qkv)

    torch.testing.assert_close(mixed, PaddedAttention().plan(batch, torch.float32)(qkv), atol=2e-4 * size**0.5, rtol=0)


def test_a_nan_spreads_only_within_its_own_pair() -> None:
    batch = pack(random_pairs([9, 9]))
    qkv = torch.randn(18, 3, 2, 8, generator=torch.Generator().manual_seed(5))
    qkv[4, 1] = torch.nan

    mixed = BucketedAttention().plan(batch, torch.float32)(qkv)

    assert mixed[:9].isnan().all()
    assert mixed[9:].isfinite().all()


def test_bucketed_attention_reuses_buffers_without_mixing_batches() -> None:
    backend, generator = BucketedAttention(max_waste=0.5), torch.Generator().manual_seed(6)
    batches = [pack(random_pairs(lengths)) for lengths in ([60, 59], [5, 4, 3], [60, 31, 30])]
    inputs = [torch.randn(sum(batch.lengths), 3, 4, 8, generator=generator) for batch in batches]

    mixed = [backend.plan(batch, torch.float32)(qkv) for batch, qkv in zip(batches, inputs, strict=True)]

    expected = [PaddedAttention().plan(batch, torch.float32)(qkv) for batch, qkv in zip(batches, inputs, strict=True)]
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=0)
