"""Makes plain SQL of the statements in programs, shell scripts and logs, without moving any text."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

from shortlist.schemas.sql.script.lexing import words

__all__ = ["first_table", "plain_statements"]

_TABLE = (
    r"CREATE\s+(?:(?:OR|REPLACE|GLOBAL|LOCAL|TEMPORARY|TEMP|UNLOGGED|EXTERNAL|FOREIGN|COLUMN|HYBRID|TRANSIENT|VIRTUAL)\s+){0,4}TABLE"
    r"\s+(?:IF\s+NOT\s+EXISTS\s+)?"
)
_NAMED_TABLE = re.compile(rf"\b{_TABLE}[^\s(]+\s*\(", re.IGNORECASE)
# What a string must begin with to be read as SQL: whole phrases, so that texts about SQL are no statements.
_STATEMENT = (
    rf"(?:{_TABLE}(?:[^\s(,'\"]|\\?[\"'])|CREATE\s+(?:OR\s+REPLACE\s+)?(?:MATERIALIZED\s+)?VIEW\s+\S+\s"
    r"|CREATE\s+(?:UNIQUE\s+)?INDEX\s+\S[^;'\"`]{0,200}?\sON\s|CREATE\s+TYPE\s+\S+\s+AS\s|CREATE\s+SCHEMA\s+\S"
    r"|ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?\S+\s+(?:ADD|ALTER|DROP|RENAME|MODIFY|CHANGE|SET)\s"
    r"|COMMENT\s+ON\s+(?:TABLE|COLUMN|VIEW)\s|RENAME\s+TABLE\s|EXEC\s+sp_rename\s)"
)
# Before it in the string: blanks (\n and \t in some languages), a margin, comments, and statements about no table.
_PREAMBLE = (
    r"(?:[\s|]|\\[nrt\n]|--[^\n]{0,400}+\n|/\*.{0,2000}?\*/"
    r"|(?:BEGIN|START|USE|SET|PRAGMA|DROP)\b[^;'\"`]{0,200}+;)*+"
)
_OPENING = re.compile(
    rf"(?P<quote>'''|\"\"\"|['\"`]){_PREAMBLE}(?<![\w$])(?={_STATEMENT})",
    re.IGNORECASE | re.DOTALL,
)
_ENDS = {
    "'''": re.compile(r"(?:[^'\\]++|\\.|'(?!''))*+(?=''')", re.DOTALL),
    '"""': re.compile(r'(?:[^"\\]++|\\.|"(?!""))*+(?=""")', re.DOTALL),
    # A quote that is doubled beside a word is a part of the text, as in C#'s "CREATE TABLE ""Users"" (…)".
    "'": re.compile(r"(?:[^'\\]++|\\.|''(?=\w)|(?<=\w)'')*+(?=')", re.DOTALL),
    '"': re.compile(r'(?:[^"\\]++|\\.|""(?=\w)|(?<=\w)"")*+(?=")', re.DOTALL),
    "`": re.compile(r"(?:[^`\\]++|\\.)*+(?=`)", re.DOTALL),
}
_ESCAPE = re.compile(r"\\(?P<escaped>.)|(?P<double>['\"])(?P=double)", re.DOTALL)
# Between two strings that are one text: a line end, or an operator, perhaps with a name between two operators.
_JOINT = re.compile(
    r"[ \t]*+(?:[+.&]\s*+_?|\\?\n)\s*+(?:(?:[\w$]+(?:\.|->|::))*\$?(?P<name>[A-Za-z_]\w*)(?:\(\))?\s*+[+.&]\s*+)?+"
    r"[rfbuRFBU@$]{0,2}(?P<quote>['\"`])"
)
_NAME_MARKS = f'{string.ascii_letters}{string.digits}_.`"['
_MAX_NAME_CHARS = 100
_WORD = re.compile(r"\w")
_MARGIN = re.compile(r"^([ \t]*)\|", re.MULTILINE)
_CLOSING = re.compile(r"[)\]}; \t]*+(?=[\n,]|\Z)")
_STRING_MARK = re.compile(r"(?:(?<!\w)[rfbuRFBU]{1,2}|(?<=[(=,\s])[@$]{1,2})\Z")
_COMMENT_LINE = re.compile(r"\s*(?:--|/\*|\*|#|//)")
_FIRST_WORD = re.compile(r"[\s({\[]*(@?\w*)")
_LAST_WORD = re.compile(r"(\w+)\s*\Z")
# A string behind these words of SQL is a value, or is read where the statement is.
_SQL_WORDS = words(
    "SELECT INSERT UPDATE DELETE GRANT REVOKE COPY SET MERGE VALUES DECLARE EXPLAIN PREPARE CREATE ALTER DROP COMMENT "
    "RENAME REPLACE PRAGMA UPSERT PERFORM RAISE FETCH EXEC WHERE AND OR ON HAVING PROMPT REM REMARK AS IS"
)
# Other languages have these words too. A string behind them is read unless it has the single quotes of SQL.
_SHARED_WORDS = words("WITH CALL PRINT DO BEGIN IF ELSE ELSIF WHEN THEN END LOOP RETURN OPEN EXECUTE FOR")
_VALUE_WORDS = words("DEFAULT IS IN LIKE COMMENT AS VALUES TO FROM AND OR NOT THEN ELSE VALUE IMMEDIATE N")
_CALL = re.compile(r"[\w$\]>!]\s*\((?:[^'\"`()]{0,200},\s*)?\Z")
_ASSIGNMENT = re.compile(r"[\w\])}\"'$]\s*(?:=>|\+=|=|:=|:)\s*[(\[{]{0,2}\s*\Z|[\[{]\s*\Z")
_COMMAND = re.compile(r"\s*(?:[$>%]\s+)?[$\w./~-]+(?:[ \t]+[^\s'\"`;]+)*(?:[ \t]+|=)\Z")
_EXECUTE = re.compile(r"\s*execute\s*\(\s*\Z", re.IGNORECASE)
# A line of a log or of a session: words, a mark, and a table.
_LOGGED = re.compile(
    rf"^(?P<log>(?:[^\n'\"`;]|=\"[^\"\n]{{0,80}}\"){{0,200}}?(?:[:>|\]#-][ \t]+|>))(?={_TABLE}[^\s(]+\s*\()",
    re.IGNORECASE | re.MULTILINE,
)
# The prompts of mysql and sqlite3, of their first lines and of the others.
_PROMPT = re.compile(r"^(?:mysql|sqlite|MariaDB \[[^\]\n]{0,80}\])> (?=CREATE|ALTER)", re.IGNORECASE | re.MULTILINE)
_PROMPTS = re.compile(r"^(?:(?:mysql|sqlite|MariaDB \[[^\]\n]{0,80}\])> | {1,20}(?:->|\.\.\.>) )", re.MULTILINE)
_MAX_STRING_CHARS = 1_000_000
_MAX_BEFORE_CHARS = 300


def plain_statements(script: str) -> str:
    """Returns the script with blanks for what is around statements in strings of programs, and before those in logs.

    The statements of ``psql -c "CREATE TABLE t (…)"`` and ``op.execute('CREATE TABLE t (…)')`` then begin a line and
    end with a semicolon. The text stays as long as it was; an escaped line end in a string becomes a line end.
    """
    parts, position = [], 0
    for start, end, plain in _found(script):
        parts += [script[position:start], plain]
        position = end
    script = "".join([*parts, script[position:]]) if parts else script
    if _PROMPT.search(script):
        script = _PROMPTS.sub(lambda prompt: " " * len(prompt[0]), script)
    return _LOGGED.sub(_without_log, script)


def first_table(text: str) -> int:
    """Returns the offset of the first CREATE TABLE in a text that does not begin with SQL; -1 if there is none."""
    found = _NAMED_TABLE.search(text)
    return found.start() if found else -1


def _found(script: str) -> Iterator[tuple[int, int, str]]:
    """Yields the start and end of each part to replace, and its text, which is as long."""
    position, last_end, unclosed = 0, 0, set[str]()
    while opening := _OPENING.search(script, position):
        quote, start = opening["quote"], opening.end("quote")
        window = max(last_end, opening.start() - _MAX_BEFORE_CHARS)
        begin = max(script.rfind("\n", window, opening.start()) + 1, window)
        position = start
        if quote in unclosed or not _is_foreign(script, begin, opening, last_end):
            continue
        plain = _unwrapped(script, start, quote)
        if not plain:
            unclosed.add(quote)  # or each opening would be read to the end of the script
            continue
        position = last_end = start + len(plain)
        # A statement begins at a line of its own, also in a file that is one long line.
        line = " " if script[begin - 1 : begin] in ("", "\n") else "\n"
        yield begin, last_end, (start - begin - 1) * " " + line + plain


def _is_foreign(script: str, begin: int, opening: re.Match[str], last_end: int) -> bool:
    """Returns whether the string behind ``script[begin:]`` on its line belongs to another language than SQL."""
    before = _STRING_MARK.sub("", script[begin : opening.start()], count=1)
    if not before.strip(" \t,"):
        near = max(last_end, opening.start() - _MAX_BEFORE_CHARS)
        if near == last_end > 0 and script[near : opening.start()].strip() == ",":
            return True  # the next in a list of strings
        line = script[max(0, begin - _MAX_BEFORE_CHARS) : begin].rstrip()
        before = line[line.rfind("\n") + 1 :]
        if before[-1:] not in tuple("([{=:+\\,"):
            return False
    return _is_host(before, opening["quote"])


def _is_host(before: str, quote: str) -> bool:
    """Returns whether the text before a string on its line is a call, an assignment or a command, and no SQL."""
    if _COMMENT_LINE.match(before):
        return False
    first, last = _FIRST_WORD.match(before), _LAST_WORD.search(before[-40:])
    word = first[1].upper() if first else ""
    is_sql = word in _SQL_WORDS or word.startswith("@")
    if quote == "'" and not _EXECUTE.match(before):
        is_sql = is_sql or word in _SHARED_WORDS or before.rstrip().endswith(":=")
    if is_sql or (last and last[1].upper() in _VALUE_WORDS):
        return False
    is_keyword = word in ("RETURN", "EXECUTE", "YIELD") and quote != "'"
    return is_keyword or any(shape.search(before) for shape in (_CALL, _ASSIGNMENT)) or bool(_COMMAND.match(before))


def _unwrapped(script: str, start: int, quote: str) -> str:
    """Returns the SQL of a string that begins at `start`, and of those joined to it; empty if one does not close."""
    parts: list[str] = []
    while True:
        content = _ENDS[quote].match(script, start)
        if content is None or content.end() - start > _MAX_STRING_CHARS:
            return ""
        end = content.end() + len(quote)
        text = _unescaped(content[0]) if len(quote) == 1 else content[0]
        text = _MARGIN.sub(r"\1 ", text) if script.startswith(".stripMargin", end) else text
        joint = _JOINT.match(script, end)
        if joint is None:
            closing = _CLOSING.match(script, end)
            blanks = (closing.end() if closing else end) - content.end() - 1
            return "".join([*parts, text, ";", " " * blanks])
        parts.append(_joined(text, joint, joint.end() - content.end()))
        start, quote = joint.end(), joint["quote"]


def _joined(text: str, joint: re.Match[str], length: int) -> str:
    """Returns a text with the gap behind it, so that the end of a name in it, and a variable, touch the next string.

    A variable that is only a part of a name is left out, as in templates.
    """
    if not joint["name"]:
        return text + re.sub(r"[^\n]", " ", joint[0].rjust(length))
    end = text[len(text[:-_MAX_NAME_CHARS]) + len(text[-_MAX_NAME_CHARS:].rstrip(_NAME_MARKS)) :]
    is_part = _WORD.search(end[-1:]) or _WORD.match(joint.string, joint.end())
    name = end + ("" if is_part else joint["name"])
    return text[: len(text) - len(end)] + name.rjust(length + len(end))


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_plain_escape, text) if "\\" in text or "''" in text or '""' in text else text


def _plain_escape(escape: re.Match[str]) -> str:
    mark = escape["escaped"] or escape["double"]
    if mark in "nrt\n":
        return {"n": "\n ", "\n": " \n"}.get(mark, "  ")
    if mark not in "'\"`$":
        return escape[0]
    follower = escape.string[escape.end() : escape.end() + 1]
    return f" {mark}" if follower.isalnum() or follower == "_" else f"{mark} "


def _without_log(line: re.Match[str]) -> str:
    log = line["log"]
    word = _FIRST_WORD.match(log)
    is_sql = word is not None and word[1].upper() in (_SQL_WORDS | _SHARED_WORDS)
    is_open = log.count("(") != log.count(")") or "--" in log or "/*" in log or _COMMENT_LINE.match(log)
    return log if is_sql or is_open else " " * len(log)
