"""Long texts are read in parts: requests sentence by sentence, documents window by window."""

from __future__ import annotations

import numpy as np
import pytest
from meanings import Meanings

from shortlist.router.catalogs.catalog import item_of_document, item_of_tool
from shortlist.router.first_stage.candidates import Candidates
from shortlist.router.first_stage.embedder import Embedder, RetrievalSettings, VectorCache
from shortlist.router.first_stage.parts import parts_of, split_text
from shortlist.schemas.document import Tool

VECTORS = {"email": (1.0, 0.0, 0.0), "orders": (0.0, 1.0, 0.0), "weather": (0.0, 0.0, 1.0)}


def embedder(**settings: int) -> Embedder:
    scorer = Meanings(VECTORS)
    return Embedder(scorer.tokenizer, scorer, RetrievalSettings(64, 0.0, **settings), VectorCache())


def test_one_sentence_has_no_parts() -> None:
    assert parts_of("send the report to Ada") == []
    assert parts_of("version 2.5 of the report, please.") == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("My oven shows Celsius. How hot is 350?", ["My oven shows Celsius.", "How hot is 350?"]),
        ("Hi! My oven shows Celsius.\nHow hot is 350?", ["Hi! My oven shows Celsius.", "How hot is 350?"]),
        (
            "私のオーブンは摂氏です。華氏三百五十度は何度ですか。",
            ["私のオーブンは摂氏です。", "華氏三百五十度は何度ですか。"],
        ),
        ("The first line of a log\nthe second line of it", ["The first line of a log", "the second line of it"]),
    ],
)
def test_a_text_of_several_sentences_is_read_in_sentences(text: str, parts: list[str]) -> None:
    assert parts_of(text) == parts


def test_the_last_turn_of_a_conversation_is_a_part_and_so_are_its_sentences() -> None:
    before = "user: what is open\nassistant: The file. It is locked."
    assert parts_of(f"{before}\nuser: then lock it") == ["then lock it"]
    last = "Thanks a lot for that. Now print the second one."
    assert parts_of(f"{before}\nuser: {last}") == [last, "Thanks a lot for that.", "Now print the second one."]


def test_of_many_parts_both_ends_are_read() -> None:
    lines = [f"line number {number} of a log" for number in range(40)]
    assert parts_of("\n".join(lines)) == [*lines[:8], *lines[-8:]]


def test_a_buried_sentence_finds_its_tool() -> None:
    tools = [item_of_tool(Tool("x", text, index=index)) for index, text in enumerate(["orders", "email", "weather"])]
    query = "weather weather weather weather weather weather. orders weather. email now please."

    found = Candidates(tools).first_stage(query, embedder())

    assert found.cosines is not None
    assert found.part_cosines is not None
    assert found.cosines[1] < 0.6
    assert found.part_cosines[1] == pytest.approx(1)


def test_the_part_of_a_short_query_is_itself() -> None:
    tools = [item_of_tool(Tool("x", text, index=index)) for index, text in enumerate(["orders", "email weather"])]

    found = Candidates(tools).first_stage("email orders", embedder())

    assert found.cosines is not None
    assert found.part_cosines is not None
    np.testing.assert_allclose(found.part_cosines, found.cosines, atol=1e-6)


def test_windows_are_about_equal_and_lose_nothing() -> None:
    text = "lorem ipsum dolor sit amet " * 40
    windows = split_text(text, 100)
    assert "".join(windows) == text
    assert max(map(len, windows)) <= 100
    assert all(window.startswith(" ") for window in windows[1:])
    assert [len(window) for window in split_text("x" * 250, 100)] == [84, 84, 82]


def test_a_long_document_counts_by_its_best_window() -> None:
    long = " ".join(["weather"] * 60 + ["email"] * 20 + ["weather"] * 60)
    documents = [item_of_document(text, place) for place, text in enumerate(["orders", long])]

    found = Candidates(documents).first_stage("email", embedder(passage_tokens=20))

    assert found.cosines is not None
    assert found.cosines[1] > 0.9
    assert found.num_unseen == 0


def test_a_document_is_read_in_at_most_16_windows() -> None:
    one = embedder(passage_tokens=20)
    windows = one.split(item_of_document(" ".join(["weather"] * 5_000), 3))
    assert len(windows) == 16
    assert {window.index for window in windows} == {3}


def test_tools_are_never_split() -> None:
    tool = item_of_tool(Tool("x", "weather " * 500))
    assert embedder(passage_tokens=20).split(tool) == [tool]


def test_dense_parts_of_a_document_are_read_whole() -> None:
    one = embedder(passage_tokens=20)
    text = " ".join(["weather" + " " * 60] * 30) + " email orders" * 40
    windows = one.split(item_of_document(text, 0))
    assert "".join(window.source for window in windows) == text[: sum(len(window.source) for window in windows)]
    scorer = Meanings(VECTORS)
    assert max(scorer.tokenizer.count(window.source) for window in windows) <= 20


def test_a_long_query_of_short_lines_is_split_at_once() -> None:
    assert len(parts_of("a\n" * 500_000)) <= 16
    assert len(parts_of("what is the weather like now\n" * 30_000)) == 16


def test_a_text_without_gaps_is_split_into_single_characters_too() -> None:
    assert split_text("ab cd", 1) == ["a", "b", " ", "c", "d"]


def test_chinese_sentences_are_parts() -> None:
    assert parts_of("查一下北京的天气。给妈妈发邮件。") == ["查一下北京的天气。", "给妈妈发邮件。"]


def test_a_text_that_only_looks_like_a_conversation_is_read_whole() -> None:
    lines = ["Which service runs with too many rights?", "user: root, and others"]
    assert parts_of("\n".join(lines)) == lines
