"""Vendors' own clients against a server process, where the extra `vendors` is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from paths import TESTS
from rest_fixtures import url_of
from server_fixtures import ServerProcess
from vendor_clients import CHECKS

CLIENTS = TESTS / "vendor_clients.py"
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
SETTINGS = TESTS / "schemathesis.toml"


def test_published_clients_get_the_best_document_first(start_process: Callable[..., ServerProcess]) -> None:
    url = url_of(start_process("--http-port", "0"))
    # In a process of their own: their warnings and sockets are no business of these tests.
    done = subprocess.run([sys.executable, str(CLIENTS), url], capture_output=True, text=True, timeout=300, check=False)
    outcomes = {line[:24].strip(): line[24:].strip() for line in done.stdout.splitlines()}
    assert outcomes["standard library"] == "fine"
    assert (done.returncode, list(outcomes)) == (0, list(CHECKS)), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not SCHEMATHESIS.exists(), reason="schemathesis is not installed; the extra `vendors` has it")
def test_the_server_does_what_its_openapi_document_says(start_process: Callable[..., ServerProcess]) -> None:
    # Nobody reads what it logs, and a pipe that is full would hold it up.
    url = url_of(start_process("--http-port", "0", "--log-level", "warning"))
    command = [str(SCHEMATHESIS), "--config-file", str(SETTINGS), "run", f"{url}/openapi.json"]
    options = ["--checks", "all", "--max-examples", "20", "--seed", "1", "--no-color"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
