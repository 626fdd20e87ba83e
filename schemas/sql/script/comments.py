"""Cleans the comments of scripts: marks, ruled lines, captions of tools and banners of files describe no table."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["clean_comment", "join_comments"]

_KINDS = r"(?:tables?|views?|schemas?|index(?:es)?|databases?|sequences?|model|enum|foreign keys?|constraints?)"
# Lines that tools write above each object, and bare captions; they do not describe it.
_CAPTION = re.compile(
    r"name: .*; type: |(?:stand-in )?structure for (?:table|view)|(?:final |temporary )?(?:view|table) structure for|"
    r"\(see below for the actual view|dump(?:ing|ed) |object:  |ddl for (?:table|view)|records of |(?:table|view):? "
    r"[`\"\w.\[\]-]+(?:, owner:.*)?$|"
    r"\w+ (?:sql )?dump \d|\S+\.sql$|-+ *$|file created|[\w.`\"]+ definition$|auto-generated definition|"
    r"> statement-breakpoint|"
    rf"(?:create|drop|define|add|alter|build|redefine) ?(?:all )?(?:the )?{_KINDS}(?: [`\"\w.\[\]]+;?)?\W*$|"
    rf"{_KINDS}\W*$|ddl\W*$|connect \w+$|new object type path|\d+ \+/- select|"
    # Statements that are commented out.
    r"(?:drop|alter|truncate) table [\w.`\"\[\]]+|insert into [\w.`\"\[\]]+ ?\(|create table [\w.`\"\[\]]+ ?\(|"
    # phpMyAdmin writes its captions in the language of its user.
    r"(?:tabellenstruktur|structure de la|estructura de|struttura della|estrutura d|tabelstructuur|struktura tabeli|"
    r"структура таблиц|表的结构|資料表結構|テーブルの構造|daten für tabelle|tábla szerkezet)",
    re.IGNORECASE,
)
# Lines that steer a migration tool: Liquibase, goose, sql-migrate, dbmate, Flyway, Evolutions.
_DIRECTIVE = re.compile(
    r"liquibase formatted|changeset [^\s:]+:|(?:rollback|preconditions?|validchecksum|labels|context|property name=)\b|"
    r"comment:|\+\s?(?:goose|migrate|micrate|up|down|dbmate|begin|end)\b|migrate:(?:up|down)|flyway|#?\s?!(?:ups|downs)$|(?:ups|downs)$|"
    r"@(?:up|down|undo)\b",
    re.IGNORECASE,
)
# Comments that MySQL and TiDB execute, and hints for optimisers.
_EXECUTED = re.compile(r"/\*(?:[MT]?!|\+)")
# Words in the comment at the top of a file that show that it is about the file.
_BANNER = re.compile(
    r"\b(?:copyright|licen[cs]ed?|generated|generator|version|v\d+\.\d+|scripts?|ddl|dump|migrations?|schemas?|databases?|"
    r"tables|authors?|created (?:by|on|at)|do not edit|host|server|date:|file:|encoding|dialect)\b|"
    r"\(c\)|^\s*use\b|^\s*set\b",
    re.IGNORECASE,
)


def join_comments(comments: Sequence[str]) -> str:
    """Joins comments in order, without repetitions."""
    return " ".join(dict.fromkeys(filter(None, comments)))


def clean_comment(comments: Sequence[str], *, is_first: bool = False) -> str:
    """Joins comments into one line of text, without comment marks, ruled lines, captions and directives of tools.

    With `is_first`, the comments are at the top of a file: what is above the last line about the file is left out.
    """
    lines = [line for comment in comments for line in _comment_lines(comment)]
    if is_first and (ends := [i for i, line in enumerate(lines) if _is_banner(line)]):
        lines = lines[ends[-1] + 1 :]
    return " ".join(line for line in lines if _says_something(line))


def _is_banner(line: str) -> bool:
    has_words = re.search(r"\w", line) is not None
    return has_words and any((_DIRECTIVE.match(line), _CAPTION.match(line), _BANNER.search(line)))


def _says_something(line: str) -> bool:
    return re.search(r"[^\W_]", line) is not None and not _CAPTION.match(line) and not _DIRECTIVE.match(line)


def _comment_lines(comment: str) -> list[str]:
    if _EXECUTED.match(comment):
        return []
    if comment.startswith("/*"):
        inner = comment[2:-2] if comment.endswith("*/") else comment[2:]
        return [line.strip(" \t\r*") for line in inner.split("\n")]
    return [re.sub(r"^(?:--+|#+|//+)[ \t!]*", "", comment).strip(" \t\r-")]
