"""Holds the contract to buf's rules, and to the one that callers already have."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from paths import ROOT

from shortlist.v1 import router_pb2 as pb

PROTO = ROOT / "proto"
RELEASED = PROTO / "released.binpb"


def buf(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    command = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
    assert command, "buf is not installed; it comes with the extra [test]"
    environment = os.environ | {"BUF_CACHE_DIR": str(home / "cache"), "HOME": str(home)}
    return subprocess.run([command, *arguments], capture_output=True, text=True, env=environment, timeout=60)


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A copy of the contract to change."""
    folder = tmp_path / "proto"
    (folder / "shortlist/v1").mkdir(parents=True)
    for name in ("buf.yaml", "shortlist/v1/router.proto"):
        shutil.copy(PROTO / name, folder / name)
    return folder


def change(folder: Path, old: str, new: str) -> None:
    file = folder / "shortlist/v1/router.proto"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_contract_keeps_the_standard_rules(tmp_path: Path) -> None:
    done = buf("lint", str(PROTO), home=tmp_path)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_contract_breaks_nobody_who_uses_the_released_one(tmp_path: Path) -> None:
    done = buf("breaking", str(PROTO), "--against", str(RELEASED), home=tmp_path)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("string ddl = 2;", "string ddl = 99;", 'field "2" with name "ddl"', id="renumbered"),
        pytest.param("string ddl = 2;", "bytes ddl = 2;", "changed type", id="retyped"),
        pytest.param("string ddl = 2;", "string script = 2;", "changed name", id="renamed"),
        pytest.param("optional int32 top_n = 3;", "int32 top_n = 3;", "cardinality", id="presence lost"),
        pytest.param("rpc Rerank(RerankRequest)", "rpc Rank(RerankRequest)", 'RPC "Rerank"', id="call renamed"),
        pytest.param("option idempotency_level = NO_SIDE_EFFECTS;", "", '"idempotency_level"', id="no longer a read"),
    ],
)
def test_a_change_that_breaks_callers_is_found(edited: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    change(edited, old, new)
    done = buf("breaking", str(edited), "--against", str(RELEASED), home=tmp_path)
    assert done.returncode != 0
    assert said in done.stdout


def test_a_new_field_breaks_nobody(edited: Path, tmp_path: Path) -> None:
    change(edited, "string ddl = 2;", "string ddl = 2;\n  // A new one.\n  string newer = 99;")
    assert buf("breaking", str(edited), "--against", str(RELEASED), home=tmp_path).returncode == 0


def test_a_name_against_the_rules_is_found(edited: Path, tmp_path: Path) -> None:
    change(edited, "string ddl = 2;", "string theDDL = 2;")
    done = buf("lint", str(edited), home=tmp_path)
    assert done.returncode != 0
    assert "lower_snake_case" in done.stdout


def test_the_released_contract_is_one_of_this_service() -> None:
    released = descriptor_pb2.FileDescriptorSet.FromString(RELEASED.read_bytes())
    assert [(file.name, file.package) for file in released.file] == [(pb.DESCRIPTOR.name, pb.DESCRIPTOR.package)]
