"""States what a request may contain at most, whatever the transport; `router.proto` states the same numbers.

The message size limits the bytes. The limits here are for counts, which a small message can make large, and for texts
that are useless when they are long.
"""

from __future__ import annotations

__all__ = [
    "MAX_DOCUMENTS",
    "MAX_MESSAGES",
    "MAX_NAMES",
    "MAX_NAME_CHARS",
    "MAX_QUERY_CHARS",
    "MAX_TOOL_TEXTS",
    "NOT_BLANK",
]

MAX_QUERY_CHARS = 1_000_000
MAX_MESSAGES = 10_000
MAX_TOOL_TEXTS = 20_000
MAX_DOCUMENTS = 20_000
MAX_NAMES = 1_000
MAX_NAME_CHARS = 1_000
# Matches a text of which `str.strip` leaves something; `\s` of JSON Schema (ECMA 262) has slightly other characters.
NOT_BLANK = r"[^\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
