"""Holds the files for contributors to the project: what a workflow, a hook or a template names exists here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from paths import ROOT

FILES = [ROOT / ".pre-commit-config.yaml", *sorted((ROOT / ".github").rglob("*.yml"))]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
JOBS = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]


def commands() -> Iterator[str]:
    """Yields every command of the workflow, of .ci/run and of the hooks."""
    for job in JOBS.values():
        yield from (step["run"] for step in job["steps"] if "run" in step)
    yield from (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    yield from (hook["entry"] for hook in HOOKS)


def versions(value: Any) -> Iterator[str]:
    """Yields the Python versions that a part of the workflow names."""
    if isinstance(value, str) and re.fullmatch(r"3\.\d+", value):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from versions(inner)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_is_yaml(path: Any) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_every_make_target_that_is_called_exists() -> None:
    called = {name for line in commands() for name in re.findall(r"\bmake (?:--[a-z-]+ )*([a-z-]+)", line)}

    assert {"check", "demo", "ns", "test"} <= called <= TARGETS


def test_every_make_target_in_the_page_for_contributors_exists() -> None:
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", PAGE, re.MULTILINE)) <= TARGETS


def test_every_file_in_the_page_for_contributors_exists() -> None:
    named = re.findall(r"`((?:client|docs|proto|router|schemas|server|tests)/[a-z\d_./]+)`", PAGE)

    assert len(named) > 30
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_workflow_runs_pythons_that_are_supported() -> None:
    supported = SpecifierSet(PROJECT["project"]["requires-python"])
    found = set(versions(JOBS))

    assert {"3.11", "3.12", "3.13", "3.14"} == found
    assert all(version in supported for version in found)


def test_ci_runs_the_check_that_holds_the_floor_of_coverage() -> None:
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()

    assert [line.split(" ")[:2] for line in lines if line.startswith("make check")] == [["make", "check"]]
    assert PROJECT["tool"]["coverage"]["report"]["fail_under"] >= 90


def test_the_hooks_run_the_tools_of_the_projects_environment() -> None:
    assert all(re.search(r"\.venv/bin/(ruff|mypy)\b", hook["entry"]) for hook in HOOKS)
    assert {hook["language"] for hook in HOOKS} == {"system"}
