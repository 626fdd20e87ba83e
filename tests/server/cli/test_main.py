from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import server_fakes
from google.protobuf import json_format
from server_fakes import tool
from server_fixtures import SERVE_FAKE, ServerThread

from shortlist.server.cli.main import main
from shortlist.v1 import router_pb2 as pb

Run = Callable[..., tuple[int, str, str]]

TOOLS = [tool("create_refund", "Refund a payment"), tool("ping")]
DDL = "create table orders (id int);\ncreate table refunds (id int)"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line with the fake Router; returns exit code, stdout and stderr."""
    monkeypatch.setitem(sys.modules, "shortlist.router.pipeline", server_fakes)

    def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        try:
            code = main(arguments)
        except SystemExit as usage:
            code = int(usage.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/one.json").write_text(json.dumps(TOOLS[0]), encoding="utf-8")
    (tmp_path / "more.jsonl").write_text(f"{json.dumps(TOOLS[1])}\n\n{{bad\n", encoding="utf-8-sig")
    (tmp_path / "a.sql").write_text("create table orders (id int)", encoding="utf-8")
    (tmp_path / "b.sql").write_text("create table refunds (id int);\ncreate table oops (;\n", encoding="utf-8")
    (tmp_path / "docs.txt").write_text("berlin\n\nparis in \u2028 france\r\n", encoding="utf-8")
    return tmp_path


def test_tools_prints_a_readable_table(run: Run, folder: Path) -> None:
    code, out, err = run("tools", "refund", str(folder), "--namespace", "billing")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "1  1.000  ██████████  billing.create_refund"
    assert lines[1] == "2  0.000              billing.ping"
    assert lines[3].startswith("2 of 2 tools (2 scored, 1 left out) · ")
    assert err.startswith(f"left out ({folder}/more.jsonl:3): ")


def test_tools_are_read_from_stdin_if_no_path_is_given(run: Run) -> None:
    code, out, _ = run("tools", "refund", "--top-n", "1", stdin=json.dumps(TOOLS).encode())
    assert (code, "create_refund" in out, "ping" in out) == (0, True, False)


def test_an_invalid_tool_is_named_by_file_and_line(run: Run, folder: Path) -> None:
    (folder / "wide.json").write_text('{\n "name": "x",\n oops\n}', encoding="utf-8")
    _, _, err = run("tools", "refund", str(folder / "wide.json"), str(folder / "deep"))
    assert err.startswith(f"left out x ({folder}/wide.json:3): ")


def test_a_text_of_many_tools_does_not_shift_the_positions_of_the_others(run: Run, tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text(json.dumps([*TOOLS, 5]), encoding="utf-8")
    (tmp_path / "2.json").write_text('{\n "name": "x",\n oops\n}', encoding="utf-8")
    code, _, err = run("tools", "refund", str(tmp_path))
    assert code == 0
    assert err.splitlines()[0].startswith(f"left out ({tmp_path}/1.json:1): ")
    assert err.splitlines()[1].startswith(f"left out x ({tmp_path}/2.json:3): ")


@pytest.mark.parametrize(
    "arguments",
    [["refund", "--top-n", "1", "{one}", "{more}"], ["refund", "{one}", "--top-n", "1", "{more}"]],
    ids=["after an option", "on both sides of one"],
)
def test_paths_may_follow_an_option(run: Run, folder: Path, arguments: list[str]) -> None:
    paths = {"one": folder / "deep/one.json", "more": folder / "more.jsonl"}
    code, out, _ = run("tools", *[argument.format(**paths) for argument in arguments])
    assert (code, "create_refund" in out, "of 2 tools" in out) == (0, True, True)


def test_a_dash_means_stdin(run: Run) -> None:
    assert run("tools", "refund", "-", stdin=json.dumps(TOOLS).encode())[0] == 0


def test_tables_of_several_files_are_joined_and_located(run: Run, folder: Path) -> None:
    code, out, err = run("tables", "refunds", str(folder), "--dialect", "postgres")
    assert code == 0
    assert [line.split()[-1] for line in out.splitlines()[:2]] == ["refunds", "orders"]
    assert f"{folder / 'b.sql'}:2:" in err


def test_columns_are_printed_below_their_table(run: Run) -> None:
    script = f"create table wide ({', '.join(f'a_rather_long_column_{number} int' for number in range(9))})"
    code, out, _ = run("tables", "wide", "--keep-columns", "1", stdin=script.encode())
    lines = out.splitlines()
    assert (code, lines[0].split()[-1]) == (0, "wide")
    names = " ".join(line.strip() for line in lines[1 : lines.index("")]).split(", ")
    assert names == [f"a_rather_long_column_{number}" for number in range(9)]
    assert all(line.startswith(" " * 21) and len(line) <= 100 for line in lines[1 : lines.index("")])


def test_the_number_of_partitions_is_printed_behind_their_table(run: Run) -> None:
    parts = "".join(f"create table sale_{number} partition of sale default;" for number in range(24))
    script = (
        f"create table sale (id int);{parts}create table shop (id int); create table shop_1 partition of shop default;"
    )
    code, out, _ = run("tables", "sale", "--always-include", "shop", stdin=script.encode())
    assert code == 0
    assert [line.split("  ")[-1].strip() for line in out.splitlines()[:2]] == [
        "sale (24 partitions)",
        "(always included)",
    ]
    assert "shop (1 partition)  (always included)" in out


def test_members_are_listed_in_json(run: Run) -> None:
    script = "create table sale (id int); create table sale_1 partition of sale default;"
    _, out, _ = run("tables", "sale", "--json", stdin=script.encode())
    assert [item["members"] for item in json.loads(out)["items"]] == [["sale_1"]]


def test_rerank_reads_one_document_per_line_and_skips_blank_lines(run: Run, folder: Path) -> None:
    code, out, _ = run("rerank", "paris", str(folder / "docs.txt"), "--json")
    items = json.loads(out)["items"]
    assert code == 0
    assert [(item["index"], item["source"]) for item in items] == [(1, "paris in \u2028 france"), (0, "berlin")]


@pytest.mark.parametrize(
    ("arguments", "stdin", "response_type"),
    [
        pytest.param(["tools", "refund"], json.dumps(TOOLS).encode(), pb.SelectToolsResponse, id="tools"),
        pytest.param(["tables", "refund"], DDL.encode(), pb.SelectTablesResponse, id="tables"),
        pytest.param(["rerank", "refund"], "réfund\n".encode(), pb.RerankResponse, id="rerank"),
        pytest.param(["info"], b"", pb.GetInfoResponse, id="info"),
    ],
)
def test_json_is_exactly_the_response(run: Run, arguments: list[str], stdin: bytes, response_type: Any) -> None:
    code, out, err = run(*arguments, "--json", stdin=stdin)
    response = json_format.Parse(out, response_type())
    expected = json_format.MessageToDict(
        response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    assert (code, err) == (0, "")
    assert json.loads(out) == expected


def test_a_server_gives_the_same_json_as_this_process(run: Run, server: ServerThread) -> None:
    stdin = json.dumps(TOOLS).encode()
    local, remote = (
        json.loads(run("tools", "refund", "--json", *where, stdin=stdin)[1])
        for where in ([], ["--address", server.app.address])
    )
    assert local["report"].pop("timings").keys() == remote["report"].pop("timings").keys()
    assert local == remote


@pytest.mark.parametrize(
    ("arguments", "num_items"),
    [
        pytest.param(["--top-n", "0"], 7, id="all"),
        pytest.param([], 5, id="default"),
        pytest.param(["--min-score", "0.5"], 1, id="min score"),
        pytest.param(["--top-n", "1", "--always-include", "t3", "--always-include", "t4"], 3, id="always include"),
        pytest.param(["--max-candidates", "2"], 2, id="max candidates"),
    ],
)
def test_options_reach_the_router(run: Run, arguments: list[str], num_items: int) -> None:
    stdin = json.dumps([tool(f"t{number}") for number in range(7)]).encode()
    _, out, _ = run("tools", "t0", "--json", *arguments, stdin=stdin)
    assert len(json.loads(out)["items"]) == num_items


NOTHING = [
    pytest.param("tools", b"", "the only tool could not be read", id="no text"),
    pytest.param("tools", b"[]", "no tools were given", id="no tools"),
    pytest.param("tools", b'[{"x": 1}, 5, {"name": ""}]', "none of the 3 tools could be read", id="no readable tool"),
    pytest.param("tables", b"", "the script defines no table", id="no script"),
    pytest.param("tables", b"-- tables follow\n/* soon */;", "the script defines no table", id="comments"),
    pytest.param("tables", b"select 1", "the script defines no table", id="no definition"),
    pytest.param(
        "tables", b"create table (;", "no table that can be read; 1 statement is left out", id="no readable table"
    ),
    pytest.param("rerank", b"\n \n", "no documents were given", id="no documents"),
]


@pytest.mark.parametrize(("command", "stdin", "message"), NOTHING)
def test_nothing_to_rank_is_said_and_exit_code_1(run: Run, command: str, stdin: bytes, message: str) -> None:
    code, out, err = run(command, "q", stdin=stdin)
    assert (code, out.startswith("0 of 0 ")) == (1, True)
    assert err.splitlines()[-1].startswith("warning: ")
    assert err.splitlines()[-1].endswith(message)


@pytest.mark.parametrize(("command", "stdin", "message"), NOTHING)
def test_nothing_to_rank_is_still_printed_as_json(run: Run, command: str, stdin: bytes, message: str) -> None:
    code, out, err = run(command, "q", "--json", stdin=stdin)
    assert (code, err.startswith("shortlist: "), err.endswith(f"{message}\n")) == (1, True, True)
    assert json.loads(out)["report"]["warnings"][-1].endswith(message)


def test_a_score_that_nothing_reaches_is_no_failure(run: Run) -> None:
    code, out, _ = run("rerank", "q", "--min-score", "1", stdin=b"a\n")
    assert (code, out.startswith("0 of 1 ")) == (0, True)


def test_info_is_readable(run: Run) -> None:
    code, out, _ = run("info")
    assert (code, out.splitlines()[0].split()) == (0, ["model", "fake", "1"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["tools", "q", "/no/such/file"], "/no/such/file: cannot be read: No such file", id="no file"),
        pytest.param(["tools", "q", "{folder}/deep/../raw"], "is not UTF-8 (byte 1)", id="not text"),
        pytest.param(["rerank", "q", "{folder}/deep"], "the folder holds no *.txt file", id="empty folder"),
        pytest.param(["tools", " ", "{folder}"], "query: is empty", id="blank query"),
        pytest.param(["tables", "q", "{folder}", "--dialect", "klingon"], "unknown dialect", id="unknown dialect"),
        pytest.param(
            ["tools", "q", "{folder}", "--expected-version", "2"], "the loaded model is fake 1", id="mismatch"
        ),
        pytest.param(["tools", "q", "{folder}", "--address", "127.0.0.1:1"], "127.0.0.1:1: ", id="no server"),
        pytest.param(["tools", "q", "{folder}", "--model", "missing"], "no such model", id="no model"),
        pytest.param(["rerank", "q", "{folder}/explode"], "unexpected RuntimeError", id="defect"),
    ],
)
def test_a_failure_is_one_line_and_exit_code_1(run: Run, folder: Path, arguments: list[str], message: str) -> None:
    (folder / "raw").write_bytes(b"\xff\xfd")
    (folder / "explode").write_text("explode")
    code, out, err = run(*[argument.format(folder=folder) for argument in arguments])
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith("shortlist: ")
    assert message in err


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="no command"),
        pytest.param(["sing"], id="unknown command"),
        pytest.param(["tools"], id="no query"),
        pytest.param(["tools", "q", "--top-n", "-1"], id="negative top_n"),
        pytest.param(["tools", "q", "--min-score", "nan"], id="NaN"),
        pytest.param(["tools", "q", "--min-score", "2"], id="score above 1"),
        pytest.param(["tools", "q", "--max-candidates", "many"], id="not a number"),
        pytest.param(["tools", "q", "--timeout", "0"], id="timeout of 0"),
        pytest.param(["tools", "q", "--address", "a:1", "--model", "m"], id="a model for a server"),
        pytest.param(["serve", "--prot", "1"], id="no such flag"),
        pytest.param(["tools", "q", "--tpo", "3", "x"], id="no such flag before a path"),
        pytest.param(["info", "x"], id="a path where none is read"),
        pytest.param(["eval", "--data", "x", "--kind", "columns", "--where", "a=b"], id="columns of some queries"),
        pytest.param(["eval", "--data", "x", "--kind", "columns", "--candidates", "7"], id="columns, first some"),
    ],
)
def test_wrong_usage_is_exit_code_2(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out, err.startswith("usage: ")) == (2, "", True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--port", "70000"], "--port is '70000': input should be less", id="no port"),
        pytest.param(["--max-message-mb", "4000"], "--max-message-mb is '4000': input", id="too large a message"),
        pytest.param(["--grace-seconds", "-1"], "--grace-seconds is '-1': input", id="negative grace"),
        pytest.param(["--threads", "0"], "--threads is '0': input", id="no threads"),
        pytest.param(["--host", "0.0.0.0"], "0.0.0.0 can be reached from other machines", id="in the open"),
    ],
)
def test_a_setting_out_of_range_is_named_in_one_line(run: Run, arguments: list[str], message: str) -> None:
    code, out, err = run("serve", *arguments)
    assert (code, out, len(err.splitlines()), err.startswith(f"shortlist: {message}")) == (2, "", 1, True)


def test_text_that_is_not_a_number_is_reported(run: Run) -> None:
    assert "argument --min-score: 'abc' is not a number" in run("tools", "q", "--min-score", "abc")[2]
    assert "argument --top-n: 'many' is not a whole number" in run("tools", "q", "--top-n", "many")[2]


def test_a_text_instead_of_a_path_is_reported_briefly(run: Run) -> None:
    code, _, err = run("tools", "q", json.dumps(tool("x", "y" * 5000)))
    assert (code, "is not a path" in err, "pipe text into stdin" in err, len(err) < 200) == (1, True, True, True)


def test_a_terminal_as_stdin_is_wrong_usage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shortlist.server.cli.select.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    code, _, err = run("tools", "q")
    assert (code, "pipe" in err) == (2, True)


def test_wide_and_control_characters_keep_the_table_aligned(run: Run) -> None:
    documents = ["検索" * 60, "red \x1b[31m alert"]
    _, out, _ = run("rerank", "alert", "--top-n", "0", stdin="\n".join(documents).encode())
    lines = out.splitlines()
    assert lines[0].endswith("red  [31m alert")
    assert (lines[1].endswith("…"), len(lines[1]) < 70) == (True, True)


def test_a_reader_that_stops_early_is_not_a_failure() -> None:
    documents = "word\n" * 20_000
    command = [sys.executable, str(SERVE_FAKE), "rerank", "word", "--json", "--top-n", "0", "--max-candidates", "0"]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdin and process.stdout and process.stderr  # noqa: PT018 - for the type checker
        process.stdin.write(documents)
        process.stdin.close()
        process.stdout.read(10)
        process.stdout.close()
        error = process.stderr.read()
    assert (process.returncode, error) == (0, "")


def test_a_missing_stdout_is_not_a_failure() -> None:
    command = f"{sys.executable} {SERVE_FAKE} rerank word --json >&-"
    done = subprocess.run(command, shell=True, input=b"word\n", capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_calling_a_server_loads_no_parser_and_no_model(server: ServerThread) -> None:
    code = (
        "import sys; from shortlist.server.cli.main import main; "
        f"code = main(['rerank', 'q', '--address', '{server.app.address}', '--json']); "
        "sys.exit(code or bool({'torch', 'sqlglot', 'jsonschema', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], input="q\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_real_model_answers_in_this_process(tiny_model_dir: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "shortlist.server.cli.main", "tools", "refund", str(folder), "--json"]
    done = subprocess.run(
        [*command, "--model", str(tiny_model_dir), "--device", "cpu", "--threads", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(item["name"] for item in json.loads(done.stdout)["items"]) == ["create_refund", "ping"]
