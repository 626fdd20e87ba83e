from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from server_fixtures import SERVE_FAKE, ServerProcess, ServerThread

from shortlist import Client
from shortlist.schemas.errors import ShortlistError
from shortlist.server.dispatcher import Call, working_for
from shortlist.server.telemetry import logs

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def set_up(
    restored_log: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Lines]:
    """Sets up the log as JSON, in the test itself, where stderr is the one that is captured; gives what is written."""

    def start() -> Lines:
        logs.set_up("json", "info")
        return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return start


def test_a_line_has_time_level_logger_and_event(set_up: Callable[[], Lines]) -> None:
    lines = set_up()
    logging.getLogger("shortlist.some").warning("%d of them", 3, extra={"num_tokens": 7})
    (line,) = lines()
    assert list(line) == ["timestamp", "level", "logger", "event", "num_tokens"]
    assert (line["level"], line["logger"], line["event"]) == ("warning", "shortlist.some", "3 of them")
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)


def test_an_event_of_many_lines_stays_one_line(set_up: Callable[[], Lines]) -> None:
    lines = set_up()
    try:
        raise ValueError("over\ntwo lines")
    except ValueError:
        logging.getLogger("shortlist.some").exception("it\nfailed")
    (line,) = lines()
    assert line["event"] == "it\nfailed"
    assert "Traceback" in line["exception"]


def test_lines_logged_while_working_for_a_request_have_its_id(set_up: Callable[[], Lines]) -> None:
    lines = set_up()
    call = Call("Rerank", request_id="r-1")
    with working_for(call):
        logging.getLogger("shortlist.some").info("inside")
    logging.getLogger("shortlist.some").info("outside")
    assert [line.get("request_id") for line in lines()] == ["r-1", None]


def test_the_level_can_change_at_run_time(set_up: Callable[[], Lines]) -> None:
    lines = set_up()
    logger = logging.getLogger("shortlist.some")
    logger.debug("too early")
    logs.set_level("debug")
    logger.debug("in time")
    logs.set_level("error")
    logger.warning("too late")
    assert [line["event"] for line in lines()] == ["in time"]


@pytest.mark.filterwarnings("default")
def test_warnings_and_failures_of_threads_are_events_too(set_up: Callable[[], Lines]) -> None:
    lines = set_up()

    def fail() -> None:
        raise RuntimeError("secret query")

    warnings.warn("an old way", UserWarning, stacklevel=1)
    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    warned, failed = lines()
    assert (warned["logger"], "an old way" in warned["event"]) == ("py.warnings", True)
    assert failed["event"] == "worker failed with RuntimeError"


def test_people_get_a_line_with_its_fields(restored_log: None, capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("console", "info")
    logging.getLogger("shortlist.some").info("started", extra={"caller": "ada\nlevel=error"})
    (line,) = capsys.readouterr().err.splitlines()
    assert "started" in line
    assert r"caller='ada\nlevel=error'" in line


def access_lines(caplog: pytest.LogCaptureFixture, event: str = "call") -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.name == "shortlist.access" and record.msg == event]


def test_each_call_leaves_one_line_with_numbers_and_no_content(
    start_server: Callable[..., ServerThread], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="shortlist")
    server = start_server()
    with Client(server.app.address, timeout_seconds=60) as client:
        client.rerank("secret query", ["secret document", "other"], top_n=1)
        with pytest.raises(ShortlistError):
            client.rerank("secret query", [], max_pair_tokens=100_000)
    answered, refused = access_lines(caplog)
    assert {name: answered[name] for name in ("method", "code", "caller", "transport", "num_candidates")} == {
        "method": "Rerank",
        "code": "OK",
        "caller": "anonymous",
        "transport": "grpc",
        "num_candidates": 2,
    }
    assert answered["num_scored"] == 2
    assert answered["num_tokens"] > 0
    assert min(answered["duration_ms"], answered["request_bytes"], answered["response_bytes"]) > 0
    assert (refused["code"], refused["reason"]) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert answered["request_id"] != refused["request_id"]
    assert "secret" not in "".join(map(repr, (answered, refused)))


@pytest.mark.parametrize(("slow_ms", "is_warned"), [(0.0001, True), (60_000.0, False), (0.0, False)])
def test_a_slow_call_is_warned_of_with_its_stages(
    start_server: Callable[..., ServerThread], caplog: pytest.LogCaptureFixture, slow_ms: float, is_warned: bool
) -> None:
    server = start_server(slow_ms=slow_ms)
    with Client(server.app.address, timeout_seconds=60) as client:
        client.rerank("paris", ["paris"])
    warned = access_lines(caplog, "slow call")
    assert [(line["levelname"], line["infer_ms"] >= 0, line["queue_ms"] > 0) for line in warned] == (
        [("WARNING", True, True)] if is_warned else []
    )


def test_a_slow_call_that_failed_is_logged_with_the_stages_it_reached(
    start_server: Callable[..., ServerThread], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server(slow_ms=0.0001)
    with Client(server.app.address, timeout_seconds=60) as client, pytest.raises(ShortlistError):
        client.rerank("paris", ["explode"])
    (line,) = access_lines(caplog, "slow call")
    assert (line["code"], line["infer_ms"] > 0) == ("INTERNAL", True)


def test_a_process_writes_json_lines_only(start_process: Callable[..., ServerProcess]) -> None:
    served = start_process("--log-format", "json")
    with Client(served.address, timeout_seconds=60) as client:
        client.rerank("paris", ["berlin", "paris"])
        with pytest.raises(ShortlistError):
            client.rerank("secret query", ["explode"])
    served.process.send_signal(signal.SIGTERM)
    _, err = served.process.communicate(timeout=60)
    written = [json.loads(line) for line in err.splitlines()]
    (failed,) = [line for line in written if line["level"] == "error"]
    calls = [line for line in written if line["event"] == "call"]
    assert [line["code"] for line in calls] == ["OK", "INTERNAL"]
    assert failed["request_id"] == calls[1]["request_id"]
    assert "secret" not in err


def test_a_start_that_fails_is_a_json_line_too() -> None:
    command = [sys.executable, str(SERVE_FAKE), "serve", "--port", "0", "--model", "missing", "--log-format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    last = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, last["level"], last["event"]) == (1, "error", "no such model")


def test_what_grpc_writes_by_itself_does_not_break_json_lines() -> None:
    code = (
        "import shortlist.server.cli.main; from shortlist.server.telemetry import logs; logs.set_up('{}', 'info')\n"
        "import asyncio, grpc\n"
        "async def listen():\n"
        "    try: grpc.aio.server().add_insecure_port('no.such.host.invalid:1')\n"
        "    except RuntimeError: pass\n"
        "asyncio.run(listen())"
    )
    env = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    written = [
        subprocess.run([sys.executable, "-c", code.format(form)], stderr=subprocess.PIPE, text=True, env=env).stderr
        for form in ("console", "json")
    ]
    assert "Failed to add port" in written[0]
    assert written[1] == ""
