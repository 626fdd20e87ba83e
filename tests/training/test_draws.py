"""What a step of training holds: the same whoever draws it, and tokenized as a request is."""

from __future__ import annotations

import itertools
import random
import sys

import pytest
from paths import ROOT
from tokenizers import Tokenizer as FastTokenizer

from shortlist.router.engine.tokenizer import Tokenizer

sys.path.append(str(ROOT / "training"))

import word_tokenizer
from drawing import Drawer
from word_tokenizer import WordTokenizer

TEXTS = (
    "get_weather: Gets the weather. Parameters: city (string), unit (celsius, fahrenheit)",
    "Wie viele Bestellungen  gab es\tin Zürich\nim Mai?",
    "查询订单的状态 和 地址",
    "أرسل رسالة إلى محمد",
    "주문을 취소해 줘 — bitte",
    "a family 👩‍👩‍👧 of </s> <s> <unk> ＜/s＞ \ud800 signs\u3000and\u2028spaces",
    "",
    " \n ",
    "orders.customer_id references: customers, …",
)


def draw(step: int) -> list[float]:
    rng = random.Random(step)
    return [rng.random() for _ in range(step % 5)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_step_holds_the_same_whoever_draws_it(workers: int) -> None:
    drawer = Drawer(draw, workers)

    steps = list(itertools.islice(drawer.steps(7), 40))
    drawer.close()

    assert steps == [draw(number) for number in range(7, 47)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_step_that_cannot_be_drawn_ends_the_run_with_its_reason(workers: int) -> None:
    def fail(step: int) -> int:
        if step == 4:
            raise ValueError(f"no document in step {step}")
        return step

    drawer = Drawer(fail, workers)
    with pytest.raises(ValueError, match="no document in step 4"):
        list(itertools.islice(drawer.steps(0), 10))
    drawer.close()


@pytest.fixture(scope="module")
def tokenizers() -> tuple[Tokenizer, WordTokenizer]:
    path = str(ROOT / "router/models/shortlist-small/tokenizer.json")
    plain, by_word = (
        kind(FastTokenizer.from_file(path), bos_id=0, eos_id=2, num_separators=2) for kind in (Tokenizer, WordTokenizer)
    )
    assert isinstance(by_word, WordTokenizer)
    return plain, by_word


def test_a_text_has_the_tokens_that_it_has_in_a_request(tokenizers: tuple[Tokenizer, WordTokenizer]) -> None:
    plain, by_word = tokenizers
    for _ in range(2):  # words met for the first time, and known ones
        for text in TEXTS:
            assert by_word.encode([text])[0].tolist() == plain.encode([text])[0].tolist(), text
            assert by_word.count(text) == plain.count(text)


def test_known_words_are_forgotten_before_they_fill_the_memory(
    tokenizers: tuple[Tokenizer, WordTokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, by_word = tokenizers
    monkeypatch.setattr(word_tokenizer, "_MAX_WORDS", 3)
    for text in TEXTS * 2:
        assert by_word.encode([text])[0].tolist() == plain.encode([text])[0].tolist(), text
    assert by_word._words is not None
    assert len(by_word._words) <= 3 + max(len(text.split()) for text in TEXTS)
