"""Judged pools are read with what is needed, acceptable and wrong, and become training steps that respect it."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

from shortlist.router.checkpoints.loading import BUILT_IN, load_model
from shortlist.schemas.document import Tool

sys.path.append(str(ROOT / "training"))

import train_encoder
from judged import JudgedSets, Pool, PoolDocument, Wish
from pool_pairs import PoolPairs, draw_right, draw_wrong

TURNS = [
    {"role": "user", "content": "is the file locked"},
    {"role": "assistant", "content": "yes, by a password"},
    {"role": "user", "content": "it is fjord-71"},
]


def write(folder: Path, name: str, lines: Sequence[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    names = ["lock", "unlock", "open", "print"]
    tools = [{"id": name, "group": "files", "tool": {"name": name}} for name in names]
    asked = {"lang": "en", "candidates": names, "split": "train"}
    tasks = tmp_path / "tools/tasks"
    write(tasks, "corpus.jsonl", tools)
    write(
        tasks,
        "queries.jsonl",
        [
            asked | {"id": "1", "query": "lock it", "relevant": ["lock"], "acceptable": []},
            asked
            | {
                "id": "2",
                "query": "it is fjord-71",
                "messages": TURNS,
                "relevant": ["unlock", "open"],
                "acceptable": ["print"],
            },
            asked | {"id": "3", "query": "other split", "relevant": ["lock"], "split": "dev"},
        ],
    )
    write(tasks, "queries_none.jsonl", [asked | {"id": "4", "query": "sing", "relevant": []}])
    tables = [{"id": f"s.{n}", "group": "s", "dialect": "sqlite", "ddl": f"create table {n} (id int)"} for n in names]
    schemas = tmp_path / "tables/real_schemas"
    write(schemas, "corpus.jsonl", [*tables, tables[0]])
    write(
        schemas,
        "queries.jsonl",
        [
            {"id": "1", "query": "what is open", "group": "s", "relevant": ["s.open"], "split": "train", "lang": "en"},
        ],
    )
    passages = [{"id": f"p{n}", "text": f"passage {n} about locks", "key": "same" if n < 2 else ""} for n in range(6)]
    docs = tmp_path / "docs/qa"
    write(docs, "corpus.jsonl", passages)
    write(
        docs,
        "queries.jsonl",
        [
            {"id": "1", "query": "passage about locks", "relevant": ["p0"], "split": "train"},
            {"id": "2", "query": "passage 1 about locks", "relevant": ["p1"], "split": "train"},
        ],
    )
    return tmp_path


def test_a_pool_has_the_queries_of_its_split_with_their_judgements(data: Path) -> None:
    (pool,) = JudgedSets(data, "train").tools
    assert [(one.needed, one.acceptable) for one in pool.wishes] == [((0,), ()), ((1, 2), (3,)), ((), ())]
    assert [one.item.namespace for one in pool.documents if isinstance(one.item, Tool)] == ["files"] * 4


def test_a_conversation_is_read_as_a_request_ranks_it(data: Path) -> None:
    (pool,) = JudgedSets(data, "train").tools
    assert pool.wishes[1].text == "user: is the file locked\nassistant: yes, by a password\nuser: it is fjord-71"


def test_a_pool_of_tables_has_what_its_questions_need(data: Path) -> None:
    pool = JudgedSets(data, "train").draw("tables", random.Random(1))
    needed = {pool.documents[place].item.name for wish in pool.wishes for place in wish.needed}  # type: ignore[union-attr]
    assert (len(pool.documents), needed) == (4, {"open"})


def test_a_translation_of_the_answer_is_no_wrong_passage(data: Path) -> None:
    pool = JudgedSets(data, "train").draw("documents", random.Random(1))
    (first, second) = pool.wishes
    assert (first.unknown, second.unknown) == (second.needed, first.needed)
    assert len(pool.documents) > 2


def test_every_needed_document_competes_with_wrong_ones_alone() -> None:
    documents = tuple(PoolDocument(f"text {n}") for n in range(5))
    pool = Pool("documents", documents, (Wish("a", (0, 1), (2,)), Wish("nothing fits", ()), Wish("b", (4,), (), (3,))))
    tokenizer = load_model(BUILT_IN).tokenizer
    step = train_encoder.pool_step(pool, tokenizer, random.Random(1))
    assert (step.num_queries, len(step.texts)) == (2, 7)
    assert step.queries.tolist() == [0, 0, 1]
    assert step.targets.tolist() == [0, 1, 4]
    assert step.allowed.tolist() == [
        [True, False, False, True, True],
        [False, True, False, True, True],
        [True, True, True, False, True],
    ]
    assert step.weights.tolist() == [0.25, 0.25, 0.5]


POOL = Pool("documents", tuple(PoolDocument(f"text {n}") for n in range(12)), (Wish("a", (0, 1), (2,), (3,)),))


def test_right_and_unknown_documents_are_never_drawn_as_wrong() -> None:
    drawn = {place for seed in range(40) for place in draw_wrong(POOL, POOL.wishes[0], None, 4, random.Random(seed))}
    assert drawn == set(range(4, 12))


def test_half_of_the_wrong_documents_are_the_nearest() -> None:
    order = [5, 0, 9, 2, 1, 3, 4, 6, 7, 8, 10, 11]
    for seed in range(40):
        drawn = draw_wrong(POOL, POOL.wishes[0], order, 4, random.Random(seed))
        assert len(set(drawn)) == 4
        assert len({5, 9, 4, 6, 7, 8, 10, 11} & set(drawn)) >= 2


def test_wrong_passages_and_tables_are_the_nearest_by_words(data: Path) -> None:
    sets = JudgedSets(data, "train")
    (wish,) = sets.draw("tables", random.Random(1)).wishes
    assert set(wish.nearest).isdisjoint(wish.needed)
    assert len(wish.nearest) == 3
    for wish in sets.draw("documents", random.Random(1)).wishes:
        assert set(wish.nearest).isdisjoint({*wish.needed, *wish.unknown})
    near = Wish("a", (0,), nearest=(7, 3, 9, 1, 2, 4, 5, 6, 8, 10))
    pool = Pool("documents", POOL.documents, (near,))
    for seed in range(40):
        drawn = draw_wrong(pool, near, None, 5, random.Random(seed))
        assert 11 in drawn  # it was added later, and says nothing
        assert len({7, 3, 9, 1, 2, 4, 5, 6} & set(drawn)) >= 2


def test_a_pair_fits_the_model(data: Path) -> None:
    long = Pool("documents", (PoolDocument("word " * 900), PoolDocument("other " * 900)), (Wish("wish " * 400, (0,)),))
    sets = JudgedSets(data, "train")
    sets.draw = lambda kind, rng: long  # type: ignore[method-assign]
    pairs = PoolPairs(sets, load_model(BUILT_IN).tokenizer, None, num_negatives=3)
    assert max(len(pair) for seed in range(20) for pair in pairs.draw(random.Random(seed))[0]) <= 512


def test_now_and_then_the_needed_documents_are_left_out() -> None:
    drawn = [tuple(sorted(draw_right(POOL.wishes[0], random.Random(seed)))) for seed in range(200)]
    assert set(drawn) == {(), (0, 1), (0, 1, 2)}
    assert 4 < drawn.count(()) < 40


def test_pairs_of_a_query_have_its_right_documents_first(data: Path) -> None:
    pairs = PoolPairs(JudgedSets(data, "train"), load_model(BUILT_IN).tokenizer, None, num_negatives=3)
    counts = {count for seed in range(60) for _, count, _ in [pairs.draw(random.Random(seed))]}
    assert counts >= {0, 1, 2}


def test_more_wishes_about_known_tools_and_tables_are_read_for_training_alone(data: Path, tmp_path: Path) -> None:
    wishes = tmp_path / "wishes"
    (data / "tools/mcp").mkdir()
    (data / "tools/openapi").mkdir()
    write(data / "tools/mcp", "corpus.jsonl", [{"id": "mail", "group": "post", "tool": {"name": "mail"}}])
    write(data / "tools/openapi", "corpus.jsonl", [])
    write(wishes, "pools.jsonl", [{"pool": "a", "kind": "api", "candidates": ["mail", "open"]}])
    asked = {"pool": "a", "lang": "en", "style": "terse"}
    write(
        wishes,
        "tools.jsonl",
        [asked | {"query": "post it", "needed": [0], "ok": [1]}, asked | {"query": "bin it", "needed": [], "ok": []}],
    )
    write(wishes, "tables.jsonl", [{"group": "s", "query": "printed and open", "tables": ["print", "open"]}])

    sets = JudgedSets(data, "train", wishes=wishes)

    assert [one.item.name for one in sets.tools[-1].documents if isinstance(one.item, Tool)] == ["mail", "open"]
    assert sets.tools[-1].wishes == (Wish("post it", (0,), (1,)), Wish("bin it", ()))
    drawn = sets.draw("tables", random.Random(1))
    assert sorted(len(wish.needed) for wish in drawn.wishes) == [1, 2]
    assert JudgedSets(data, "dev", wishes=wishes, kinds=("tools",)).tools[-1].wishes[0].text == "other split"


def test_documents_that_say_nothing_are_added_as_wrong_ones(data: Path) -> None:
    sets = JudgedSets(data, "train")
    drawn = [sets.draw("tools", random.Random(seed)) for seed in range(60)]
    grown = [pool for pool in drawn if len(pool.documents) > 4]
    assert 5 < len(grown) < 40
    assert all(max(pool.wishes[1].needed) < 4 for pool in drawn)
    (most, *_) = sorted(grown, key=lambda pool: -len(pool.documents))
    assert set(range(4, len(most.documents))) <= set(draw_wrong(most, most.wishes[0], range(4), 4, random.Random(1)))
