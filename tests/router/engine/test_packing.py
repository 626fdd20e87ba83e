from __future__ import annotations

import numpy as np
import torch
from checkpoints import random_pairs
from hypothesis import given
from hypothesis import strategies as st

from shortlist.router.engine.packing import filler, pack, round_up
from shortlist.router.engine.tokenizer import Pair


def test_pairs_are_concatenated_each_with_its_own_positions_and_types() -> None:
    batch = pack([Pair(np.array([0, 7, 2, 8, 2], np.int32), 3), Pair(np.array([0, 2, 9], np.int32), 2)])

    assert batch.input_ids.tolist() == [0, 7, 2, 8, 2, 0, 2, 9]
    assert batch.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert batch.token_types.tolist() == [0, 0, 0, 1, 1, 0, 0, 1]
    assert batch.cu_seqlens.tolist() == [0, 5, 8]
    assert batch.cu_seqlens.dtype is torch.int32
    assert (batch.lengths, batch.max_seqlen, batch.num_pairs) == ((5, 3), 5, 2)


@given(st.lists(st.integers(4, 30), min_size=1, max_size=12))
def test_unpacking_a_batch_gives_its_pairs_back(lengths: list[int]) -> None:
    pairs = random_pairs(lengths)

    batch = pack(pairs)

    parts = batch.input_ids.split(list(batch.lengths))
    assert [part.tolist() for part in parts] == [pair.input_ids.tolist() for pair in pairs]


@given(count=st.integers(1, 20_000))
def test_sizes_are_rounded_up_a_little(count: int) -> None:
    rounded = round_up(count)

    assert count <= rounded < count + 128
    assert rounded <= count * 9 / 8 or count < 128
    assert rounded % 16 == 0
    assert round_up(rounded) == rounded


def test_rounding_leaves_few_sizes() -> None:
    assert len({round_up(count) for count in range(1, 4_097)}) < 60


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_a_filler_brings_a_batch_to_a_rounded_size(lengths: list[int]) -> None:
    pairs = [Pair(np.arange(length, dtype=np.int32), 1) for length in lengths]

    extra = filler(pairs, max_pair_tokens=200)

    assert sum(lengths) + (len(extra) if extra else 0) == round_up(sum(lengths))


def test_a_filler_is_never_longer_than_the_model_reads() -> None:
    extra = filler([Pair(np.arange(1_025, dtype=np.int32), 1)], max_pair_tokens=30)

    assert extra is not None
    assert len(extra) == 30
