"""Augments the training data with what the sets lack: several wishes, typing errors, bare documents, wide tables.

All choices are drawn from a `random.Random`. Only training queries and documents are used, and no test set.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from lengthen import lengthen

from shortlist.schemas.document import Column, Table, Tool
from shortlist.schemas.serialise import split_name

__all__ = ["join_wishes", "misspell", "put_in_conversation", "vary_table", "vary_tool"]

_LINKS = (" Also, ", " Additionally, ", " And ", " Then ", " After that, ", " Besides, ", "\n", "; ", " Finally, ")
_OPENINGS = (
    "", "", "I'm working on a project. ", "I'm planning something for my family. ", "I run a small company. ",
    "My team needs some help. ", "I'm preparing a report. ", "I need a few things. ", "Hi! ", "I'm curious. ",
)  # fmt: skip
_OFFERS = (
    "Shall I do that now?", "I can do this for you. Should I go ahead?", "Would you like me to start?",
    "Just to confirm: do you want me to proceed?", "Ready when you are.",
)  # fmt: skip
_ASSENTS = (
    "do it",
    "yes please",
    "go ahead",
    "ok, do that",
    "yes",
    "please proceed",
    "sure, thanks",
    "mach das",
    "好的",
)
_KEYBOARD = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk",
    "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "w", "r": "et", "s": "ad", "t": "ry",
    "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
}  # fmt: skip
# Prefixes of table names in data warehouses.
_LAYERS = ("dim_", "fact_", "fct_", "stg_", "raw_", "tbl_", "t_", "v_", "ods_", "dwd_", "tmp_", "bkp_")
_VOWELS = re.compile(r"(?<=[a-z])[aeiou]")


def join_wishes(queries: Sequence[str], rng: random.Random) -> str:
    """Joins several requests into one message."""
    text = rng.choice(_OPENINGS) + queries[0].strip()
    for query in queries[1:]:
        link = rng.choice(_LINKS)
        follow = query.strip()
        text = text.rstrip(". ")
        if link[0] == " ":
            text += "" if text.endswith(("?", "!")) else "."
            if follow[:2].istitle() and not follow.startswith(("I ", "I'")):
                follow = follow[0].lower() + follow[1:]
        text += link + follow
    return text


def put_in_conversation(query: str, rng: random.Random) -> str:
    """Writes a conversation that ends with an assent after the wish, in the format of `router.query`."""
    turns = [query, rng.choice(_OFFERS)] if rng.random() < 0.5 else [query]
    return "\n".join([*turns, rng.choice(_ASSENTS)])


def misspell(query: str, rng: random.Random) -> str:
    """Makes about one typing error per twelve letters: dropped, doubled, swapped or neighbouring keys."""
    letters = list(query)
    if not letters:
        return query
    for _ in range(max(1, len(letters) // 12 // rng.choice((1, 2, 3)))):
        place = rng.randrange(len(letters))
        letter = letters[place]
        if not letter.isalpha() or not letter.isascii():
            continue
        kind = rng.randrange(4)
        if kind == 0:
            letters[place] = ""
        elif kind == 1:
            letters[place] = letter * 2
        elif kind == 2 and place + 1 < len(letters):
            letters[place], letters[place + 1] = letters[place + 1], letter
        else:
            letters[place] = rng.choice(_KEYBOARD.get(letter.lower(), letter))
        letters = list("".join(letters))
    text = "".join(letters)
    return text if text.strip() else query


def vary_tool(tool: Tool, rng: random.Random) -> Tool:
    """Removes a part of a tool, makes it long, or (two times in three) leaves it unchanged."""
    draw = rng.random()
    if draw < 0.07 and (tool.parameters or len(split_name(tool.name).split()) > 1):
        return replace(tool, description="")
    if draw < 0.12:
        return replace(tool, parameters=tuple(replace(p, description="") for p in tool.parameters))
    if draw < 0.17:
        return replace(tool, parameters=())
    if draw < 0.21 and tool.description:
        return replace(tool, name=_run_together(tool.name))
    if draw < 0.23:
        return replace(tool, namespace="")
    if draw < 0.25:
        return _name_after_server(tool, rng)
    if draw < 0.30 and len(tool.description) > 80:
        first = re.split(r"(?<=[.!?])\s", tool.description, maxsplit=1)[0]
        return replace(tool, description=first)
    if draw > 0.94:
        return lengthen(tool, rng)
    return tool


def vary_table(table: Table, others: Sequence[Table], rng: random.Random) -> Table:
    """Changes the style of a table's names, drops its comments, or adds columns of other tables."""
    draw = rng.random()
    if draw < 0.08:
        return _rename(table, _run_together)
    if draw < 0.16:
        return _rename(table, _shorten)
    if draw < 0.22:
        return replace(table, comment="", columns=tuple(replace(c, comment="", enum=()) for c in table.columns))
    if draw < 0.27:
        return replace(table, columns=tuple(replace(c, type="") for c in table.columns), foreign_keys=())
    if draw < 0.31 and others:
        return _widen(table, others, rng)
    if draw < 0.36:
        columns = list(table.columns)
        rng.shuffle(columns)
        return replace(table, columns=tuple(columns))
    if draw < 0.40:
        return replace(table, name=rng.choice(_LAYERS) + table.name)
    return table


def _name_after_server(tool: Tool, rng: random.Random) -> Tool:
    """Adds the server's name to the tool's name, like gateways without namespaces."""
    server = split_name(tool.namespace).replace(" ", "_")
    if not server:
        return tool
    name = f"{server}_{tool.name}" if rng.random() < 0.5 else f"{tool.name}_for_{server}"
    return replace(tool, name=name, namespace="")


def _widen(table: Table, others: Sequence[Table], rng: random.Random) -> Table:
    """Adds audit columns and foreign keys around a table's columns, as in grown data warehouses."""
    added: list[Column] = [
        Column(name) for name in ("created_at", "updated_at", "created_by", "etl_batch_id", "row_hash", "is_deleted")
    ]
    for other in others:
        added += [replace(column, is_primary_key=False) for column in other.columns[-3:]]
    own = list(table.columns)
    for column in added:
        own.insert(rng.randrange(len(own) + 1), column)
    return replace(table, columns=tuple(own))


def _rename(table: Table, change: Callable[[str], str]) -> Table:
    columns = tuple(replace(column, name=change(column.name)) for column in table.columns)
    return replace(table, name=change(table.name), columns=columns)


def _run_together(name: str) -> str:
    return split_name(name).replace(" ", "")


def _shorten(name: str) -> str:
    """Abbreviates a name as in old data warehouses: long words lose their later vowels and are cut to four letters."""
    words = [(_VOWELS.sub("", word) or word)[:4] if len(word) > 4 else word for word in split_name(name).split()]
    return "_".join(words)
