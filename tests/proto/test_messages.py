from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from paths import ROOT

from shortlist.v1 import router_pb2 as pb

PROTO = ROOT / "proto"
LINES = (PROTO / "shortlist/v1/router.proto").read_text(encoding="utf-8").splitlines()
DECLARATION = re.compile(r"^\s*(service|message|enum|rpc|oneof|optional|repeated|[A-Za-z]\w* \w+ = \d+)\b")
DECLARATIONS = [place for place, line in enumerate(LINES) if DECLARATION.match(line)]


@pytest.mark.parametrize("place", DECLARATIONS, ids=lambda place: LINES[place].strip().rstrip("{ "))
def test_every_declaration_is_commented(place: int) -> None:
    assert LINES[place - 1].strip().startswith("//")


def test_the_stubs_are_those_of_the_proto_file(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    out = tmp_path / "descriptors"
    command = [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", f"-I{PROTO}", f"--descriptor_set_out={out}"]
    subprocess.run([*command, "shortlist/v1/router.proto"], check=True)
    expected = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]
    actual = descriptor_pb2.FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
    expected.ClearField("source_code_info")
    assert without_json_names(actual) == without_json_names(expected)


def without_json_names(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    """Drops what every protoc derives from the names and only some write down."""
    for message in file.message_type:
        for field in message.field:
            field.ClearField("json_name")
    return file
