"""Training groups contain no test query, and a query's look-alikes contain no relevant document."""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import ROOT

from shortlist.evaluation.dataset import DatasetQuery, load_queries

sys.path.append(str(ROOT / "training"))

import documents
import mine
from provenance import check_provenance, digest

SET, OTHER_SET = "tools/toole", "tools/sgd"
WORDS = """orders invoices emails hotels cities flights payments refunds parcels stores carts prices taxes notes tasks
events teams rooms visits"""
TOOLS = [(f"t{at}", f"list_{word}", f"Lists the {word} of a customer") for at, word in enumerate(WORDS.split())]
# Reads the same as the first tool, like another version of the same API.
TWIN = ("twin", "list_orders", "Lists the orders of a customer")
TRAIN = [
    (f"a{number}", f"Please list the {name.removeprefix('list_')}", key) for number, (key, name, _) in enumerate(TOOLS)
]
# Except for letter case and punctuation, these equal test queries of this set and of another one.
LEAKED = [("leak1", "  CITIES, in France: which?", "t4"), ("leak2", "Book a (cheap) hotel!", "t3")]
TEST = [("b1", "cities in France, which", "t4"), ("b2", "a test query", "t5")]
OTHER_TEST = [("c1", "book a cheap hotel", "t3")]
DEV = [("d1", "show me every parcel", "t8"), ("d2", "the prices", "t11")]

NO_TOKENIZER: Any = None  # no document is written


def query(split: str, key: str, text: str, *relevant: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "query": text, "lang": "en", "relevant": list(relevant), "split": split, "group": "shop", **more}


def write_set(folder: Path, queries: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    corpus = [{"id": key, "group": "shop", "tool": {"name": name, "description": description, "parameters": {}}}
              for key, name, description in [*TOOLS, TWIN]]  # fmt: skip
    for name, lines in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sets; some train queries equal test queries except for letter case and punctuation."""
    own = [query("train", *one) for one in [*TRAIN, *LEAKED]]
    own += [query("train", "given", "list orders or rooms", "t0", "t17", candidates=["t1", "twin", "t17", "t2"])]
    own += [query("dev", *one) for one in DEV] + [query("test", *one) for one in TEST]
    write_set(tmp_path / "data" / SET, own)
    write_set(tmp_path / "data" / OTHER_SET, [query("test", *one) for one in OTHER_TEST])
    return tmp_path / "data"


def mined(data: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Mines the set like the command."""
    out = data.parent / "groups.jsonl"
    monkeypatch.setattr(sys, "argv", ["mine.py", "--data", str(data), "--out", str(out), "--only", SET])
    mine.main()
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def bare(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def test_no_test_query_is_mined(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbidden = {bare(text) for _, text, _ in [*TEST, *OTHER_TEST]}

    found = {bare(group["query"]) for group in mined(data, monkeypatch)}

    assert {bare(text) for _, text, _ in LEAKED} <= forbidden
    assert found & forbidden == set()
    assert {bare(text) for _, text, _ in TRAIN} <= found


def test_a_dev_query_that_is_a_test_query_elsewhere_is_not_mined(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (data / SET / "queries.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(query("dev", "d3", "Book a cheap hotel.", "t3")) + "\n")

    assert "book a cheap hotel" not in {bare(group["query"]) for group in mined(data, monkeypatch)}


def test_train_and_held_out_groups_have_no_query_in_common(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (data / SET / "queries.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(query("train", "a99", "The prices?", "t11")) + "\n")
    groups = mined(data, monkeypatch)

    by_split = {split: {bare(g["query"]) for g in groups if g["split"] == split} for split in ("train", "dev")}

    assert by_split["dev"] == {bare(text) for _, text, _ in DEV}
    assert by_split["train"] & by_split["dev"] == set()


def test_a_question_that_another_set_holds_out_is_not_trained_on(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, text = TRAIN[3][0], TRAIN[3][1]
    before = {group["query"] for group in mined(data, monkeypatch)}
    with (data / OTHER_SET / "queries.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(query("dev", key, f"{text.upper()}!", "t3")) + "\n")
    for stale in data.parent.glob("groups.jsonl*"):
        stale.unlink()

    assert {group["query"] for group in mined(data, monkeypatch)} == before - {text}


def test_a_database_that_another_set_holds_out_is_not_trained_on() -> None:
    def asked(text: str, database: str) -> DatasetQuery:
        return DatasetQuery(text, text, "en", frozenset({"t"}), None, database, "train", {})

    splits = {
        "tables/spider": mine.Split([asked("one", "shop")], [asked("two", "zoo")], random.Random(1)),
        "tables/archer": mine.Split([asked("three", "zoo"), asked("four", "shop")], [], random.Random(1)),
        "tools/toole": mine.Split([asked("five", "zoo")], [], random.Random(1)),
    }

    mine.keep_apart(splits)

    trained = {name: [query.text for query in one.trained] for name, one in splits.items()}
    assert trained == {"tables/spider": ["one"], "tables/archer": ["four"], "tools/toole": ["five"]}


def test_columns_are_trained_on_only_for_the_databases_whose_questions_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "COLUMN_SETS", ("tables/spider",))
    folder = tmp_path / "tables" / "spider"
    folder.mkdir(parents=True)
    corpus = [{"id": f"{database}.animal", "group": database, "ddl": "CREATE TABLE animal (name TEXT, age INT);"}
              for database in ("zoo", "shop")]  # fmt: skip
    questions = [query("train", database, "How old are they?", f"{database}.animal", group=database,
                       columns=[f"{database}.animal.age"]) for database in ("zoo", "shop")]  # fmt: skip
    group = {"set": "tables/spider", "split": "train", "query": "How old are they?", "group": "shop",
             "positives": ["shop.animal"], "lookalikes": [], "given": []}  # fmt: skip
    for name, lines in (("corpus", corpus), ("queries", questions), ("groups", [group])):
        path = tmp_path / f"{name}.jsonl" if name == "groups" else folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    groups = documents.read_groups(tmp_path / "groups.jsonl", "train")
    known = documents.Documents(tmp_path, groups, NO_TOKENIZER)

    made = documents.column_groups(tmp_path, tmp_path / "groups.jsonl", known)

    assert [(one.cluster, one.positives) for one in made] == [("shop", ("shop.animal.age",))]


def test_a_relevant_document_is_never_a_lookalike(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relevant = {bare(one.text): one.relevant for one in load_queries(data / SET)}

    groups = mined(data, monkeypatch)

    assert all(set(group["positives"]) == relevant[bare(group["query"])] for group in groups)
    assert not any(relevant[bare(group["query"])] & {*group["lookalikes"], *group["given"]} for group in groups)
    assert all(len(group["lookalikes"]) > 5 for group in groups)


def test_a_document_that_reads_like_a_relevant_one_is_never_a_lookalike(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = mined(data, monkeypatch)

    of_orders = [group for group in groups if "t0" in group["positives"]]
    assert len(of_orders) == 2
    assert not any("twin" in {*group["lookalikes"], *group["given"]} for group in of_orders)
    assert any("twin" in group["lookalikes"] for group in groups if "t0" not in group["positives"])


def test_a_querys_own_candidates_are_kept_apart(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (group,) = [group for group in mined(data, monkeypatch) if group["query"] == "list orders or rooms"]

    assert group["given"] == ["t1", "t2"]


def test_the_nearest_by_words_are_the_lookalikes(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (group,) = [group for group in mined(data, monkeypatch) if group["query"] == "list orders or rooms"]

    assert set(group["lookalikes"]) == {key for key, _, _ in TOOLS} - {"t0", "t17"}


def test_mining_is_deterministic(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mined(data, monkeypatch) == mined(data, monkeypatch)


def test_after_an_interruption_only_missing_sets_are_mined(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, features = data.parent / "groups.jsonl", data.parent / "features.pt"
    sets, asked = [OTHER_SET, SET], []

    def mine_set(folder: Path, name: str, *_: Any) -> Iterator[dict[str, object]]:
        asked.append(name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        mine.HELD_OUT_FEATURES[name] = {"ids": [name]}
        yield {"set": name}

    monkeypatch.setattr(mine, "mine", mine_set)
    monkeypatch.setattr(mine, "HELD_OUT_FEATURES", {})
    command = ["mine.py", "--data", str(data), "--out", str(out), "--features", str(features), "--only", *sets]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(KeyboardInterrupt):
        mine.main()
    assert not out.exists()
    mine.HELD_OUT_FEATURES.clear()
    mine.main()

    first, second = (name for name in mine.QUOTAS if name in sets)
    assert asked == [first, second, second]
    assert [json.loads(line)["set"] for line in out.read_text(encoding="utf-8").splitlines()] == [first, second]
    assert torch.load(features, weights_only=True) == {first: {"ids": [first]}, second: {"ids": [second]}}
    assert sorted(path.name for path in data.parent.iterdir()) == [
        "data", "features.pt", "groups.jsonl", "groups.jsonl.provenance",
    ]  # fmt: skip


def test_a_result_begun_with_other_options_is_not_continued(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_off(*_: Any) -> Iterator[dict[str, object]]:
        raise KeyboardInterrupt

    command = ["mine.py", "--data", str(data), "--out", str(data.parent / "groups.jsonl"), "--only", SET]
    monkeypatch.setattr(mine, "mine", broken_off)
    monkeypatch.setattr(sys, "argv", [*command, "--scale", "0.5"])
    with pytest.raises(KeyboardInterrupt):
        mine.main()
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match=r"groups\.jsonl was begun with --scale 0\.5; use these, or remove"):
        mine.main()


def test_a_finished_result_is_made_again_only_with_other_options(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, features = data.parent / "groups.jsonl", data.parent / "features.pt"
    command = ["mine.py", "--data", str(data), "--out", str(out), "--features", str(features), "--only", SET]
    monkeypatch.setattr(sys, "argv", command)
    mine.main()
    made = out.stat()
    mine.main()
    assert (out.stat(), "exists already" in capsys.readouterr().out) == (made, True)

    monkeypatch.setattr(sys, "argv", [*command, OTHER_SET])
    with pytest.raises(SystemExit, match=r"groups\.jsonl was begun with --only tools/toole; use these, or remove it"):
        mine.main()
    features.unlink()
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="is missing; remove"):
        mine.main()


def test_a_model_is_compared_by_its_weights_not_by_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    options = argparse.Namespace(out=tmp_path / "out", encoder=folder, seed=1)
    for content, is_another in ((b"today's", False), (b"today's", False), (b"yesterday's", True)):
        (folder / "encoder.safetensors").write_bytes(content)
        (folder / "shortlist.json").write_text(f"{is_another}", encoding="utf-8")
        if is_another:
            with pytest.raises(SystemExit, match="out was begun with --encoder "):
                check_provenance(tmp_path / "out.provenance", options, free={"out"}, result=())
        else:
            check_provenance(tmp_path / "out.provenance", options, free={"out"}, result=())


def test_a_result_without_a_note_gives_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, options = tmp_path / "out", argparse.Namespace(out=tmp_path / "out", seed=1)
    said = []
    for note, is_there in (("new", False), ("old", True), ("old", True)):
        if is_there:
            result.touch()
        check_provenance(tmp_path / note, options, free={"out"}, result=[result])
        said.append(capsys.readouterr().err)
    assert said == ["", f"{result} has no note of its options; assuming that they are the present ones\n", ""]


def test_the_digest_of_a_finished_run_does_not_change_when_it_is_loaded(tmp_path: Path) -> None:
    digests = []
    for weight, seconds in ((1.0, 10), (1.0, 20), (2.0, 20)):
        torch.save({"averaged": {"w": torch.full((3, 2), weight)}, "seconds": seconds}, tmp_path / "checkpoint.pt")
        digests.append(digest(tmp_path))
    assert digests[0] == digests[1] != digests[2]


def test_groups_are_read_back_by_split(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = mined(data, monkeypatch)

    train, dev = (documents.read_groups(data.parent / "groups.jsonl", split) for split in ("train", "dev"))

    assert [one.query for one in [*train, *dev]] == [group["query"] for group in groups]
    assert {one.set for one in train} == {SET}


@pytest.mark.parametrize(
    ("one", "other"),
    [("Book a hotel!", "book  a hotel"), ("Café?", "café"), ("What's up", "what s up"), ("snake_case", "snake case")],
    ids=["signs_and_case", "accents", "apostrophe", "underscore"],
)
def test_letter_case_and_punctuation_do_not_make_another_query(one: str, other: str) -> None:
    assert mine.normal(one) == mine.normal(other)


def test_other_words_make_another_query() -> None:
    assert mine.normal("book a hotel") != mine.normal("book the hotel")
