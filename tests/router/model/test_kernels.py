"""Batches of any size use few sizes of matrix products: oneDNN keeps a kernel of half a MiB for each."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from checkpoints import HEADS
from paths import TESTS

from shortlist.router.engine.packing import round_up
from shortlist.router.model.attention.blocks import split_products
from shortlist.router.model.encoder import can_pack

SCRIPT = """
import random

import torch
from checkpoints import random_encoder, random_model, random_pairs

from shortlist.router.model.attention.blocks import BucketedAttention
from shortlist.router.model.encoder import pack_linears
from shortlist.router.engine.engine import Engine

rng = random.Random(1)
model, encoder = random_model(torch.bfloat16), random_encoder(torch.bfloat16, token_width=8)
pack_linears(model)
pack_linears(encoder)
engine = Engine(model, BucketedAttention(), torch.device("cpu"), max_batch_tokens=4096, encoder=encoder)
for _ in range(50):
    pairs = random_pairs([rng.randint(4, 96) for _ in range(rng.randint(1, 30))])
    engine.run(pairs)
    engine.embed(pairs)
"""


@pytest.mark.parametrize(("heads", "max_products"), [(12, 1000), (12, 50), (12, 12), (12, 8), (12, 1), (16, 7), (1, 3)])
def test_attention_products_come_in_few_sizes_and_none_is_left_out(heads: int, max_products: int) -> None:
    sizes = set()
    for pairs in range(1, 200):
        end = 0
        for part in split_products(pairs, heads, max_products):
            assert part.start == end
            end = part.stop
            sizes.add(part.stop - part.start)
        assert end == pairs * heads

    assert max(sizes) <= max_products
    assert len(sizes) <= max(1, (max_products // heads).bit_length())


@pytest.fixture(scope="module")
def products() -> list[tuple[str, list[int]]]:
    """The kind and the sizes of each product that oneDNN made a kernel for while 100 batches of all sizes ran."""
    if not can_pack(torch.device("cpu"), torch.bfloat16):
        pytest.skip("this machine multiplies bfloat16 without oneDNN")
    paths = os.pathsep.join([str(TESTS), *sys.path])
    # One thread: on a busy machine, several threads that wait for each other are slow.
    environment = {**os.environ, "PYTHONPATH": paths, "ONEDNN_VERBOSE": "profile_create", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    fields = [line.split(",") for line in ran.stdout.splitlines() if "create:cache_miss" in line]
    return [(field[5], _sizes(field[-2])) for field in fields if field[5] in ("matmul", "inner_product")]


def test_linear_layers_get_rounded_numbers_of_rows(products: list[tuple[str, list[int]]]) -> None:
    rows = {sizes[0] for kind, sizes in products if kind == "inner_product"}
    assert rows
    assert rows == {round_up(count) for count in rows}


def test_only_attention_multiplies_without_reordered_weights(products: list[tuple[str, list[int]]]) -> None:
    assert {len(sizes) for kind, sizes in products if kind == "matmul"} == {6}


def test_attention_multiplies_a_power_of_two_of_pairs_for_every_width(products: list[tuple[str, list[int]]]) -> None:
    batches = {sizes[0] for kind, sizes in products if kind == "matmul"}
    widths = {sizes[-1] for kind, sizes in products if kind == "matmul"}
    assert batches <= {HEADS << power for power in range(6)}
    assert all(width % 16 == 0 for width in widths)


def _sizes(text: str) -> list[int]:
    """Reads `8x16x32:8x32x16` and `mb16ic32oc48`."""
    digits = "".join(letter if letter.isdigit() else " " for letter in text)
    return [int(number) for number in digits.split()]
