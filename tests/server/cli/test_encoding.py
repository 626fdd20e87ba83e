"""Checks that the command line reads files as systems and tools write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shortlist.schemas.errors import InvalidInput
from shortlist.server.cli.encoding import check_encoding
from shortlist.server.cli.input import read_documents, read_script, read_tool_texts

SCRIPT = "CREATE TABLE größen (id int);\r\n-- naïve café\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_file_with_a_byte_order_mark_needs_no_option(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.sql"
    file.write_bytes(SCRIPT.encode(encoding))
    assert read_script([str(file)]).text.startswith(SCRIPT)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "utf-16-be"])
def test_a_file_in_another_encoding_is_read_if_it_is_named(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.sql"
    file.write_bytes(SCRIPT.encode(encoding))
    assert read_script([str(file)], encoding=encoding).text.startswith(SCRIPT)


def test_a_byte_order_mark_outweighs_the_named_encoding(tmp_path: Path) -> None:
    for place, encoding in enumerate(("utf-16", "cp1252")):
        (tmp_path / f"{place}.sql").write_bytes(SCRIPT.encode(encoding))
    assert read_script([str(tmp_path)], encoding="cp1252").text.count("größen") == 2


def test_tools_and_documents_are_decoded_alike(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes('{"name": "größe"}'.encode("utf-16"))
    (tmp_path / "a.txt").write_bytes("größe\n".encode("cp1252"))
    assert read_tool_texts([str(tmp_path)]).texts == ['{"name": "größe"}']
    assert read_documents([str(tmp_path / "a.txt")], encoding="cp1252") == ["größe"]


@pytest.mark.parametrize(
    ("raw", "encoding", "problem"),
    [
        (SCRIPT.encode("cp1252"), "", r"is not UTF-8 \(byte 16\); name its encoding, as in --encoding cp1252"),
        (SCRIPT.encode("utf-16-le"), "", "add --encoding utf-16-le"),
        (SCRIPT.encode("utf-16")[:-1], "", "is not UTF-16-LE"),
        (b"a\x81b", "cp1252", r"is not cp1252 \(byte 2\)"),
    ],
    ids=["cp1252", "no mark", "cut", "wrong"],
)
def test_a_file_that_is_not_text_says_what_to_do(tmp_path: Path, raw: bytes, encoding: str, problem: str) -> None:
    file = tmp_path / "a.sql"
    file.write_bytes(raw)
    with pytest.raises(InvalidInput, match=problem) as caught:
        read_script([str(file)], encoding=encoding)
    assert caught.value.field == str(file)


@pytest.mark.parametrize("name", ["cp9999", "", "base64", "hex", "utf 9"])
def test_an_unknown_encoding_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="is not a text encoding"):
        check_encoding(name)
