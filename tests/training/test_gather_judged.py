"""The features of judged queries are gathered with what is needed, what would do, and which queries nothing fits."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from own_folders import write_whole
from paths import ROOT

sys.path.append(str(ROOT / "training"))

import fit_score
import gather_judged


def write(folder: Path, **files: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    for name, lines in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    names = ["send_email", "attach_invoice", "list_orders"]
    asked = {"lang": "en", "candidates": names, "split": "dev", "src": "terse"}
    write(
        tmp_path / "data/tools/tasks",
        corpus=[{"id": name, "group": "post", "tool": {"name": name}} for name in names],
        queries=[asked | {"id": "1", "query": "an email", "relevant": names[:1], "acceptable": names[1:2]}],
        queries_none=[asked | {"id": "2", "query": "the weather", "relevant": []}],
    )
    ddl = ["create table nurses (id int primary key)", "create table shifts (nurse_id int)"]
    write(
        tmp_path / "data/tables/real_schemas",
        corpus=[{"id": f"h.{n}", "group": "h", "ddl": text} for n, text in enumerate(ddl)],
        queries=[{"id": "3", "query": "shifts", "lang": "en", "group": "h", "relevant": ["h.1"], "split": "dev"}],
    )
    write(
        tmp_path / "data/docs/qa",
        corpus=[{"id": "a", "text": "an email"}, {"id": "b", "text": "orders " * 900}],
        queries=[{"id": "4", "query": "orders", "lang": "en", "relevant": ["b"], "split": "dev"}],
    )
    pools = {"qa": {"4": ["a", "b"]}, gather_judged.PARALLEL: {"5": ["a", "b"]}}
    monkeypatch.setattr(gather_judged, "read_pools", lambda: pools)
    model = write_whole(tmp_path / "model").folder
    given = ["--data", str(tmp_path / "data"), "--model", str(model), "--out", str(tmp_path / "judged.pt")]
    monkeypatch.setattr(sys, "argv", ["gather_judged.py", *given])
    gather_judged.main()
    candidates, columns = fit_score.load([tmp_path / "judged.pt"])
    assert columns == []
    return candidates


def test_every_judged_set_is_gathered_but_none_that_is_for_tests_only(gathered: list[dict[str, Any]]) -> None:
    assert [query["set"] for query in gathered] == ["tools/tasks", "tools/tasks", "tables/real_schemas", "docs/qa"]


def test_labels_tell_what_is_needed_and_what_would_do(gathered: list[dict[str, Any]]) -> None:
    email, weather, *_ = gathered
    assert (email["labels"].tolist(), email["alike"].tolist()) == ([1.0, 0.0, 0.0], [False, True, False])
    assert weather["labels"].tolist() == [0.0] * 3
    assert email["pool"] == weather["pool"]


def test_the_features_are_those_that_the_fit_reads(gathered: list[dict[str, Any]]) -> None:
    pools = [pool for query in gathered for pool in fit_score.make_pools(query)]
    assert {pool.features.shape[1] for pool in pools} == {len(fit_score.FEATURES)}
    assert all(torch.isfinite(pool.features).all() for pool in pools)


def test_joins_are_gathered(gathered: list[dict[str, Any]]) -> None:
    assert gathered[2]["links"].tolist() == [[0, 1], [1, 0]]
