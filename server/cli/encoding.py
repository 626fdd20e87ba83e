"""Decodes the bytes of files and of stdin, as systems and tools write them."""

from __future__ import annotations

import codecs

from shortlist.schemas.errors import InvalidInput

__all__ = ["check_encoding", "decode"]

# The longer mark first: UTF-32's begins like UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def check_encoding(name: str) -> str:
    """Returns the name of a text encoding, such as ``cp1252``.

    Raises:
        ValueError: Python knows no text encoding of that name.
    """
    try:
        codecs.lookup(name)
        b"aa".decode(name, "ignore")
    except (LookupError, ValueError) as error:
        raise ValueError(f"{name!r:.40} is not a text encoding; write utf-8, utf-16, cp1252 or latin-1") from error
    return name


def decode(raw: bytes, name: str, encoding: str = "") -> str:
    """Returns the text of `raw`: by its byte-order mark, else in `encoding`, else as UTF-8; `name` is for errors.

    Raises:
        InvalidInput: the bytes are not text in that encoding.
    """
    for mark, marked in _MARKS:
        if raw.startswith(mark):
            return _decode(raw[len(mark) :], name, marked)
    if not encoding and b"\0" in raw[:200]:
        raise InvalidInput("is not UTF-8 text; if it is UTF-16, add --encoding utf-16-le", field=name)
    return _decode(raw, name, encoding or "utf-8")


def _decode(raw: bytes, name: str, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        known = encoding.upper() if encoding.startswith("utf") else encoding
        problem = f"is not {known} (byte {error.start + 1}); name its encoding, as in --encoding cp1252"
        raise InvalidInput(problem, field=name) from error
