"""The quality table measures, saves, reuses and prints results; tested on a tiny set with tiny random models."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from own_folders import write_base, write_whole
from paths import ROOT

from shortlist import Router
from shortlist.evaluation.dataset import load_dataset
from shortlist.evaluation.ranking import evaluate
from shortlist.router.checkpoints.native import read_description, write_description
from shortlist.schemas.errors import InvalidInput

BENCHMARKS = ROOT / "benchmarks"
TOOLS = {
    "send_email": "send an email to a customer",
    "attach_invoice": "attach the invoice",
    "list_orders": "list the open orders of a customer by date",
    "get_weather_forecast": "which city, the capital of France",
    "search_flights": "search flights",
}
QUERIES = [
    ("send an email", "en", "send_email"),
    ("attach the invoice to an email", "en", "attach_invoice"),
    ("open orders", "en", "list_orders"),
    ("wie viele Bestellungen", "de", "list_orders"),
    ("wer hat sie bezahlt", "de", "attach_invoice"),
    ("Paris", "de", "get_weather_forecast"),
]

Ask = Callable[..., str]


@pytest.fixture(scope="module", autouse=True)
def on_path() -> None:
    sys.path.append(str(BENCHMARKS))  # the script imports the modules beside it


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole(tmp_path_factory.mktemp("models") / "own").folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole(tmp_path_factory.mktemp("models") / "base", name="tiny-base").folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tools = [
        {"id": name, "tool": {"name": name, "description": text, "parameters": {}}} for name, text in TOOLS.items()
    ]
    queries = [
        {"id": f"q{number}", "query": text, "lang": lang, "relevant": [found], "split": "test"}
        for number, (text, lang, found) in enumerate(QUERIES)
    ]
    write_set(tmp_path / "data/tools/toole", tools, queries)
    tables = [{"id": f"shop.{name}", "group": "shop", "ddl": f"create table {name} (id int)"} for name in ("a", "b")]
    questions = [{"id": "q", "query": "all of a", "lang": "en", "relevant": ["shop.a"], "split": "test"}]
    write_set(tmp_path / "data/tables/spider", tables, questions)
    return tmp_path / "data"


@pytest.fixture
def ask(data: Path, model: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs the command on the tiny set and returns what it printed."""

    def run(*options: str, model: Path = model, sets: str = "toole", methods: str = "rerank,bm25") -> str:
        chosen = ["--sets", sets, "--methods", methods, "--model", str(model), "--base-embedder", str(base)]
        code = part("test_sets").main(["--data", str(data), "--out", str(tmp_path / "kept"), *chosen, *options])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out

    return run


def part(name: str) -> ModuleType:
    return importlib.import_module(name)


def write_set(folder: Path, corpus: list[dict[str, Any]], queries: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    for name, lines in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def files(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*.json")}


def copied(model: Path, folder: Path, **changes: object) -> Path:
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    write_description(folder, read_description(folder) | changes)
    return folder


def test_each_result_is_saved_by_limit_and_model(ask: Ask, tmp_path: Path) -> None:
    ask("--limit", "4", methods="")
    ask("--full", methods="bm25")

    version = part("subjects").Subjects("", Path).of("bm25").version
    assert sorted(files(tmp_path / "kept")) == [
        f"4/bm25-{version}/tools-toole-corpus-bm25.json",
        "4/tiny-base-1.2.3/tools-toole-corpus-encoder.json",
        "4/tiny-own-1.2.3/tools-toole-corpus-encoder.json",
        "4/tiny-own-1.2.3/tools-toole-corpus-fused.json",
        "4/tiny-own-1.2.3/tools-toole-corpus-rerank.json",
        f"full/bm25-{version}/tools-toole-corpus-bm25.json",
    ]


def test_a_saved_result_is_not_measured_again(ask: Ask, tmp_path: Path) -> None:
    first = ask(methods="bm25")
    before = files(tmp_path / "kept")
    both = ask(methods="bm25,rerank")
    after = files(tmp_path / "kept")

    assert before.items() <= after.items()
    assert len(after) == 2
    assert ask(methods="bm25") == first
    assert ask(methods="bm25,rerank") == both
    assert files(tmp_path / "kept") == after


def test_another_version_is_measured_again_and_saved_beside_the_first(ask: Ask, model: Path, tmp_path: Path) -> None:
    ask(methods="rerank")
    ask(methods="rerank", model=copied(model, tmp_path / "next", version="1.2.4"))

    assert sorted(files(tmp_path / "kept")) == [
        "500/tiny-own-1.2.3/tools-toole-corpus-rerank.json",
        "500/tiny-own-1.2.4/tools-toole-corpus-rerank.json",
    ]


def test_other_weights_with_the_same_version_are_measured_again(ask: Ask, model: Path, tmp_path: Path) -> None:
    weights = {"tools": {"bias": 0.5, "logit": 1.0}}
    ask(methods="rerank")
    before = files(tmp_path / "kept")
    ask(methods="rerank", model=copied(model, tmp_path / "next", score_weights=weights))

    assert files(tmp_path / "kept").keys() == before.keys()
    assert files(tmp_path / "kept") != before


def test_a_changed_set_is_measured_again(ask: Ask, data: Path, tmp_path: Path) -> None:
    ask(methods="bm25")
    before = files(tmp_path / "kept")
    with (data / "tools/toole/queries.jsonl").open("a") as lines:
        lines.write(json.dumps({"id": "q9", "query": "a", "lang": "en", "relevant": ["send_email"], "split": "test"}))
    ask(methods="bm25")

    assert files(tmp_path / "kept") != before


def test_a_damaged_result_is_measured_again(ask: Ask, tmp_path: Path) -> None:
    whole = ask(methods="bm25")
    (kept,) = (tmp_path / "kept").rglob("*.json")
    kept.write_text(kept.read_text()[:40])

    assert ask(methods="bm25") == whole


@pytest.mark.parametrize("method", ["rerank", "bm25", "encoder", "fused"])
def test_the_means_equal_those_of_the_eval_command(ask: Ask, data: Path, model: Path, method: str) -> None:
    printed = json.loads(ask("--json", methods=method))
    expected = evaluate(load_dataset(data / "tools/toole"), Router.load(model), method=method)

    metrics = printed["sets"]["tools/toole"]["methods"][method]["metrics"]
    assert {name: metrics[name]["value"] for name in expected.metrics} == pytest.approx(expected.metrics, abs=2e-4)
    assert {"recall@2", "recall@20"} <= metrics.keys()


def test_the_base_ranks_by_cosines_alone(ask: Ask, data: Path, base: Path) -> None:
    printed = json.loads(ask("--json", methods="base"))
    expected = evaluate(load_dataset(data / "tools/toole"), Router.load(base), method="encoder")

    found = printed["sets"]["tools/toole"]["methods"]["base"]["metrics"]["ndcg@10"]["value"]
    assert found == pytest.approx(expected.metrics["ndcg@10"], abs=2e-4)
    assert printed["models"] == {"base": "tiny-base 1.2.3"}


def test_the_table_has_a_line_per_measure_and_one_per_language(ask: Ask) -> None:
    lines = ask(methods="").splitlines()

    assert lines[0] == (
        "| set | documents | queries | measure | Shortlist | BM25 | encoder alone | first stage | base embedder "
        "| goal | reached |"
    )
    assert [line.split(" | ")[3] for line in lines[2:5]] == ["ndcg@10", "recall@3", "recall@50"]
    assert "| **1.000** [1.000, 1.000] | 1.000 | 0.970 (first stage) | yes |" in lines[4]
    assert [line.split(" | ")[:2] for line in lines if line.startswith(("| de ", "| en "))] == [
        ["| de", "3"],
        ["| en", "3"],
    ]
    assert "Calibration of the top document's score, tools" in lines[-1]


def test_sets_of_tables_and_of_tools_share_one_table(ask: Ask) -> None:
    printed = json.loads(ask("--json", sets="spider toole"))

    assert [one["kind"] for one in printed["sets"].values()] == ["tools", "tables"]
    assert sorted(printed["calibration"]) == ["tables", "tools"]
    assert {goal["method"] for goal in printed["goals"]} == {"rerank", "fused"}


def test_every_number_of_the_card_has_its_interval(ask: Ask, tmp_path: Path) -> None:
    ask("--card", str(tmp_path / "new/card.md"))

    lines = (tmp_path / "new/card.md").read_text().splitlines()
    assert lines[0].startswith("Measured with tiny-own 1.2.3.")
    assert lines[2] == "| set | queries | measure | Shortlist | BM25 |"
    assert [line.count("[") for line in lines if line.startswith("| toole")] == [2, 2, 2]


def test_plots_are_drawn(ask: Ask, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    ask("--plots", str(tmp_path / "plots"), sets="toole,spider", methods="")

    assert all(
        (tmp_path / "plots" / name).read_bytes().startswith(b"\x89PNG") for name in ("recall.png", "calibration.png")
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            ("--sets", "tooele"),
            "unknown set 'tooele'; use some of tasks, real_schemas, passages, xquad, stabletoolbench, ",
        ),
        (("--methods", "colbert"), "unknown method 'colbert'; use some of rerank, bm25, "),
        (("--methods", "bm25", "--sets", "stabletoolbench toole sealtools"), "sealtools holds no corpus.jsonl"),
    ],
    ids=["set", "method", "absent set"],
)
def test_an_impossible_request_is_an_error(
    data: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str], message: str
) -> None:
    (data / "tools/stabletoolbench").mkdir()
    for name in ("corpus", "queries"):
        (data / f"tools/stabletoolbench/{name}.jsonl").write_bytes((data / f"tools/toole/{name}.jsonl").read_bytes())

    assert part("test_sets").main(["--data", str(data), *option]) == 2
    assert message in capsys.readouterr().err


def test_a_model_without_an_encoder_is_measured_without_it(ask: Ask, tiny_model_dir: Path) -> None:
    head = ask(methods="", model=tiny_model_dir).splitlines()[0]

    assert head == "| set | documents | queries | measure | Shortlist | BM25 | base embedder | goal | reached |"


def test_a_method_that_needs_a_missing_encoder_is_an_error(tiny_model_dir: Path) -> None:
    subjects = part("subjects").Subjects(str(tiny_model_dir), Path)

    with pytest.raises(InvalidInput, match="has no encoder, which fused needs"):
        subjects.of("fused")


def test_progress_says_the_sets_done_and_the_time_left() -> None:
    cases, progress = part("cases"), part("progress")
    jobs = [
        progress.Job(case, method, 100) for case in cases.choose_cases("toole spider") for method in ("bm25", "rerank")
    ]
    written, times = io.StringIO(), iter(range(0, 10_000, 61))
    shown = progress.Progress(jobs, written, lambda: float(next(times)))
    shown.finish(jobs[0], 0.0)
    shown.finish(jobs[1], 300.0)
    next(shown.watch(jobs[2], ["a", "b"]))

    line = written.getvalue().splitlines()[0]
    assert line == "1/2 sets done; spider bm25: 0/100 queries; about 5 min left"


def test_progress_gives_a_lower_bound_while_a_pace_is_unknown() -> None:
    cases, progress = part("cases"), part("progress")
    (case,) = cases.choose_cases("toole")
    jobs = [progress.Job(case, method, 10) for method in ("bm25", "fused", "rerank")]
    written = io.StringIO()
    shown = progress.Progress(jobs, written, lambda: 0.0)
    shown.finish(jobs[0], 5.0)

    assert list(shown.watch(jobs[1], ["a", "b"])) == ["a", "b"]
    assert written.getvalue() == "0/1 sets done; toole fused: 0/10 queries\n"


def test_the_base_folder_is_made_of_the_base(tmp_path: Path) -> None:
    write_base(tmp_path / "base")

    folder = part("base_embedder").make_base_folder(tmp_path / "base", tmp_path / "out")

    router = Router.load(folder)
    assert (router.info.name, router.info.version) == ("multilingual-e5-small", "base")
    assert router.embedder is not None
    assert router.embedder.settings.lexical_weight == 0
    np.testing.assert_allclose(np.linalg.norm(router.embedder.embed_queries(["an email"])[0].vector), 1, atol=1e-5)
    assert not (tmp_path / "out.part").exists()


def test_the_script_runs_from_a_checkout(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, BENCHMARKS / "test_sets.py", "--data", data, "--methods", "bm25", "--sets", "toole"]
    done = subprocess.run([*command, "--out", tmp_path / "kept"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "| toole | 5 | 6 | ndcg@10 |" in done.stdout
    assert "0/1 sets done; toole bm25: 0/6 queries" in done.stderr
