"""Holds the page of licences, the bill of materials and the audit to what is installed."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.utils import canonicalize_name
from paths import ROOT


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"deploy_{name}", ROOT / f"deploy/{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


dependencies, audit = load("dependencies"), load("audit")
PAGE = (ROOT / "docs/licences.md").read_text(encoding="utf-8")


def component(name: str) -> dict[str, str]:
    return {"bom-ref": f"{name}==1", "name": name, "version": "1", "type": "library"}


@pytest.mark.parametrize("name", sorted({one.name for one in dependencies.direct()}))
def test_each_direct_dependency_stands_on_the_page_of_licences(name: str) -> None:
    assert f"\n| {name} | " in PAGE, "run `make licences`"


def test_no_licence_on_the_page_is_unknown() -> None:
    assert "not stated" not in PAGE


def test_what_is_shipped_is_what_serves_and_not_what_develops() -> None:
    names = {canonicalize_name(one.name) for one in dependencies.shipped()}
    assert {"torch", "grpcio", "tokenizers", "pydantic-core", "cryptography"} <= names
    assert names.isdisjoint({"shortlist", "pytest", "ruff", "mypy", "hypothesis", "buf-bin"})


def test_the_bill_of_materials_lists_what_is_shipped_alone(tmp_path: Path) -> None:
    file = tmp_path / "sbom.json"
    made = {
        "components": [component(name) for name in ("shortlist", "grpcio", "pytest")],
        "dependencies": [
            {"ref": "shortlist==1", "dependsOn": ["pytest==1", "grpcio==1"]},
            {"ref": "pytest==1"},
            {"ref": "grpcio==1"},
        ],
        "metadata": {},
    }
    file.write_text(json.dumps(made), encoding="utf-8")
    assert dependencies.main(["sbom", str(file)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    assert [one["name"] for one in found["components"]] == ["grpcio"]
    assert found["metadata"]["component"]["name"] == "shortlist"
    assert found["dependencies"] == [
        {"ref": "shortlist==1", "dependsOn": ["grpcio==1"]},
        {"ref": "grpcio==1", "dependsOn": []},
    ]


@pytest.mark.parametrize(
    ("report", "code", "told"),
    [
        ([{"name": "a", "skip_reason": "not found"}], 0, "AUDIT SKIPPED, nothing was checked"),
        ([{"name": "a", "version": "1", "vulns": []}], 0, "1 of 1 distributions, 0 known"),
        (
            [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}],
            1,
            "a 1: CVE-1, fixed in 2",
        ),
        (
            [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}],
            0,
            "NOT AUDITED, no data: b",
        ),
    ],
    ids=["no data", "clean", "a finding", "some without data"],
)
def test_an_audit_says_what_it_found_and_what_it_could_not_see(
    report: list[dict[str, Any]], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.print_report(report) == code
    assert told in capsys.readouterr().out


def test_an_audit_without_its_tool_is_skipped_loudly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main([str(tmp_path / "none"), "requirements.txt"]) == 0
    assert "AUDIT SKIPPED" in capsys.readouterr().out
