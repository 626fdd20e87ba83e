"""Fixtures shared by all tests: tiny random checkpoints, written once per session, and a log that stays clean."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["server_fixtures", "rest_fixtures", "trace_collector"]

# The tests are imported one by one (importlib mode), so what they share is found beside them.
sys.path.insert(0, str(Path(__file__).parent))
# Tests of code without a floor of coverage, and tests of very many or very long inputs: traced, they take 1.4 to 4
# times as long, and what they reach is reached by others.
UNTRACED = {"benchmarks", "training", "test_hostile_scripts.py", "test_properties.py"}
# No test may reach for the network, whatever library it goes through.
os.environ["HF_HUB_OFFLINE"] = "1"
# Nor write into the home of whoever runs the tests, or find there what an earlier version computed.
os.environ["SHORTLIST_CACHE"] = "off"
# A loaded machine may take long over one example; the count of examples bounds the time, not a clock.
hypothesis.settings.register_profile(
    "repository", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("repository")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the tests in `UNTRACED` without the tracing of coverage."""
    for item in items:
        if UNTRACED & set(item.path.relative_to(Path(__file__).parent).parts):
            item.add_marker(pytest.mark.no_cover)


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random XLM-R cross-encoder: hidden 32, 2 layers, pairs of up to 128 tokens."""
    from checkpoints import write_xlm_roberta  # torch: only the tests that ask for a model pay for it

    return write_xlm_roberta(tmp_path_factory.mktemp("models") / "tiny").folder


@pytest.fixture
def restored_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts back what a server process changes for its whole process when it sets up its log."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    root = logging.getLogger()
    handlers, level, hook, show = root.handlers[:], root.level, threading.excepthook, warnings.showwarning
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    threading.excepthook = hook
    logging.captureWarnings(False)
    warnings.showwarning = show


@pytest.fixture(scope="session")
def unwritten_records() -> Iterator[list[str]]:
    """The log records that a handler failed to write; `logging` would only print them to stderr."""
    unwritten: list[str] = []

    def note(_: logging.Handler, record: logging.LogRecord) -> None:
        unwritten.append(f"{record.name}: {record.msg}: {sys.exc_info()[1]!r}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.Handler, "handleError", note)
        yield unwritten


@pytest.fixture(autouse=True)
def clean_log(unwritten_records: list[str]) -> Iterator[None]:
    """Fails a test that leaves a log handler behind, and one during which a record could not be written.

    A handler that outlives its test writes to the captured stream of that test, which is closed by then.
    """
    before = logging.getLogger().handlers[:]
    yield
    left = [handler for handler in logging.getLogger().handlers if handler not in before]
    for handler in left:
        logging.getLogger().removeHandler(handler)
    assert left == [], "the test left a log handler behind; use the fixture `restored_log`"
    unwritten = unwritten_records[:]
    unwritten_records.clear()
    assert unwritten == [], "log records could not be written"
