"""Fixtures shared by all tests: tiny random checkpoints, written once per session."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["server_fixtures", "rest_fixtures", "trace_collector"]

# The tests are imported one by one (importlib mode), so what they share is found beside them.
sys.path.insert(0, str(Path(__file__).parent))
# No test may reach for the network, whatever library it goes through.
os.environ["HF_HUB_OFFLINE"] = "1"
# A loaded machine may take long over one example; the count of examples bounds the time, not a clock.
hypothesis.settings.register_profile(
    "repository", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("repository")


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random XLM-R cross-encoder: hidden 32, 2 layers, pairs of up to 128 tokens."""
    from checkpoints import write_xlm_roberta  # torch: only the tests that ask for a model pay for it

    return write_xlm_roberta(tmp_path_factory.mktemp("models") / "tiny").folder
