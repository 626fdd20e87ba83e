"""The data of a training step does not depend on the number of workers, and is tokenized as in a request."""

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
from prefetch import Prefetcher
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
def test_a_steps_data_does_not_depend_on_the_number_of_workers(workers: int) -> None:
    prefetcher = Prefetcher(draw, workers)

    steps = list(itertools.islice(prefetcher.steps(7), 40))
    prefetcher.close()

    assert steps == [draw(number) for number in range(7, 47)]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_reaches_the_run(workers: int) -> None:
    def fail(step: int) -> int:
        if step == 4:
            raise ValueError(f"no document in step {step}")
        return step

    prefetcher = Prefetcher(fail, workers)
    with pytest.raises(ValueError, match="no document in step 4"):
        list(itertools.islice(prefetcher.steps(0), 10))
    prefetcher.close()


@pytest.fixture(scope="module")
def tokenizers() -> tuple[Tokenizer, WordTokenizer]:
    path = str(ROOT / "router/models/shortlist-small/tokenizer.json")
    plain, by_word = (
        kind(FastTokenizer.from_file(path), bos_id=0, eos_id=2, num_separators=2) for kind in (Tokenizer, WordTokenizer)
    )
    assert isinstance(by_word, WordTokenizer)
    return plain, by_word


def test_training_tokenizes_a_text_as_a_request_does(tokenizers: tuple[Tokenizer, WordTokenizer]) -> None:
    plain, by_word = tokenizers
    for _ in range(2):  # new words, then cached ones
        for text in TEXTS:
            assert by_word.encode([text])[0].tolist() == plain.encode([text])[0].tolist(), text
            assert by_word.count(text) == plain.count(text)


def test_the_cache_of_words_is_bounded(
    tokenizers: tuple[Tokenizer, WordTokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, by_word = tokenizers
    monkeypatch.setattr(word_tokenizer, "_MAX_WORDS", 3)
    for text in TEXTS * 2:
        assert by_word.encode([text])[0].tolist() == plain.encode([text])[0].tolist(), text
    assert by_word._words is not None
    assert len(by_word._words) <= 3 + max(len(text.split()) for text in TEXTS)
