"""Vendors' own clients against a server process, where the extra `vendors` is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rest_fixtures import url_of
from server_fixtures import ServerProcess
from vendor_clients import BEST, CHECKS, ENVIRONMENT, is_installed

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
SETTINGS = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.filterwarnings("default")  # of other people's packages
@pytest.mark.parametrize("name", CHECKS)
def test_a_published_client_gets_the_best_document_first(
    start_process: Callable[..., ServerProcess], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    package, check = CHECKS[name]
    if not is_installed(package):
        pytest.skip(f"{package} is not installed; the extra `vendors` has it")
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    assert check(url_of(start_process("--http-port", "0")), "none")[0] == BEST


@pytest.mark.slow
@pytest.mark.skipif(not SCHEMATHESIS.exists(), reason="schemathesis is not installed; the extra `vendors` has it")
def test_the_server_does_what_its_openapi_document_says(start_process: Callable[..., ServerProcess]) -> None:
    url = url_of(start_process("--http-port", "0"))
    command = [str(SCHEMATHESIS), "--config-file", str(SETTINGS), "run", f"{url}/openapi.json"]
    options = ["--checks", "all", "--max-examples", "20", "--seed", "1", "--no-color"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
