"""The script that counts the files a request runs through sees all of them, and no others."""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType
from typing import Any

import pytest
import server_fakes
from paths import ROOT

STEP = "shortlist.router.made_up_step"
PIPELINE = "shortlist.router.made_up_pipeline"
Namespace = dict[str, Any]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("files_of_a_request")


def test_a_call_on_a_warm_server_is_counted_file_by_file(script: ModuleType) -> None:
    found = script.count(server_fakes.Router)

    files = found["files"]
    assert found["num_files"] == len(files) == len(set(files))
    assert [path for path in files if not (ROOT / path).is_file()] == []
    # On the event loop, on a worker thread and on the engine's thread; the fakes do not belong to the project.
    assert {"server/grpc/service.py", "schemas/tools/parse.py", "server/scheduling/batching.py"} <= set(files)
    assert files.index("server/grpc/service.py") < files.index("schemas/tools/parse.py")


def test_what_starts_and_warms_the_server_is_not_counted(script: ModuleType) -> None:
    files = script.count(server_fakes.Router)["files"]

    assert "server/settings.py" not in files


def test_the_profile_functions_are_removed_afterwards(script: ModuleType) -> None:
    script.count(server_fakes.Router)

    assert (sys.getprofile(), threading.getprofile()) == (None, None)


def module(name: str, text: str, **names: object) -> Namespace:
    """Runs the text as the module `name`."""
    namespace: Namespace = {"__name__": name, **names}
    exec(compile(text, f"{name}.py", "exec"), namespace)
    return namespace


def call_backs(script: ModuleType, pipeline: Namespace) -> list[list[str]]:
    """Profiles `pipeline["run"]()`."""
    profile = script.Profile()
    sys.setprofile(profile)
    try:
        pipeline["run"]()
    finally:
        sys.setprofile(None)
    found: list[list[str]] = profile.findings()["call_backs"]
    return found


def test_a_step_that_calls_back_is_found_with_its_chain_of_functions(script: ModuleType) -> None:
    step = module(STEP, "def narrow(give): return inner(give)\ndef inner(give): return give()")
    pipeline = module(PIPELINE, "def run(): return narrow(budget)\ndef budget(): return 5", narrow=step["narrow"])

    assert call_backs(script, pipeline) == [
        ["router/made_up_pipeline.py:run", "router/made_up_step.py:inner", "router/made_up_pipeline.py:budget"]
    ]


def test_a_closure_handed_to_a_step_is_a_call_back(script: ModuleType) -> None:
    step = module(STEP, "def narrow(give): return give()")
    pipeline = module(PIPELINE, "def run(): return narrow(lambda: 5)", narrow=step["narrow"])

    assert [chain[-1] for chain in call_backs(script, pipeline)] == ["router/made_up_pipeline.py:run"]


def test_consecutive_steps_and_calls_within_a_module_are_not_call_backs(script: ModuleType) -> None:
    step = module(STEP, "def narrow(): return inner()\ndef inner(): return 5")
    pipeline = module(
        PIPELINE, "def run(): return again() + narrow()\ndef again(): return narrow()", narrow=step["narrow"]
    )

    assert call_backs(script, pipeline) == []
