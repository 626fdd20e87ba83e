"""Makes plain names of templated ones, such as ``@cdm.person`` or ``{{ schema }}.person``, without moving any text."""

from __future__ import annotations

import re

__all__ = ["plain_names"]

# Only after these words a template stands for a name. Elsewhere it may be text, a default or a variable.
_NAMED = re.compile(
    r"\b(?:(?:TABLE|VIEW|EXISTS|ONLY|ON|REFERENCES|COLUMN|FROM|JOIN|LIKE|OF|SCHEMA|USE|RENAME\s+TO"
    r"|search_path\s*(?:=|TO))\s+)++"
    r"(?P<name>(?:\{{2,3}[^{}\n]{0,200}\}{2,3}|\{%[^{}\n]{0,200}%\}|<%[^%\n]{0,200}%>|\$\([^()\s]{1,80}\)"
    r"|[$#&]?\{[^{}\s]{0,80}\}|%\([^()\s]{1,80}\)s|[^\s(),;'{])++)",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(
    r"\{{2,3}-?\s*(?P<jinja>[^{}\n]*?)\s*-?\}{2,3}|<%[=-]?\s*(?P<erb>[^%\n]*?)\s*-?%>"
    r"|&{0,2}[$#]?\{\$?(?P<braces>[^{}\s]*)\}|\$\((?P<sqlcmd>[^()\s]+)\)"
    r"|%\((?P<python>[^()\s]+)\)s|%%?(?P<percent>\w+)%%?|%s(?=\.)|&&?(?P<plus>\w+)\.?|@@?(?P<at>\w+)@?"
    r"|(?<![:\w]):[\"']?(?P<colon>\w+)[\"']?(?=\.)|(?<!\w)\$(?P<dollar>[A-Za-z]\w*)\$?|<(?P<angle>\w+)>"
    r"|(?<!#)##++(?P<hashes>\w+)##+|#__"
    # MediaWiki puts prefixes in comments: /*_*/users, /*$wgDBprefix*/users.
    r"|/\*\$?\w*\*/(?=[\w`\"\[])"
)
# Jinja's statements and comments.
_BLOCK = re.compile(r"\{%[^{}\n]{0,300}%\}|\{#[^{}\n]{0,300}#\}")
_MARKS = re.compile(r"[{$@&%:<]|##|#__|/\*")
_LEFT_OUT = "\0"
_DROPPED = re.compile(r"\0_*\.?")  # of ${prefix}_orders, orders remains, and of {}.orders too
_MAX_LINE_CHARS = 1_000
_LAST_WORD = re.compile(r"[^\W\d]\w*(?=\W*\Z)")
_GLUED = re.compile(r"\w")
# What goes on with a name behind a template; DotNetNuke's {databaseOwner}[Users] has a dot in the variable.
_GOES_ON = re.compile(r"[\w\[{]|\$[\w{(]|<%")


def plain_names(script: str) -> str:
    """Returns the script with each template in a name replaced by its variable's name.

    A template that is only a part of a name, as in ``${prefix}users``, is left out. Blanks before the name keep the
    text as long as it was.
    """
    if not _MARKS.search(script):
        return script
    script = _BLOCK.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), script)
    return _NAMED.sub(_plain, script)


def _plain(named: re.Match[str]) -> str:
    name = named["name"]
    if not _MARKS.search(name) or _is_in_string(named.string, named.start()):
        return named[0]
    plain = _DROPPED.sub("", _TEMPLATE.sub(_variable, name))
    return named[0][: -len(name)] + plain.rjust(len(name))


def _is_in_string(script: str, at: int) -> bool:
    """Whether an odd number of quotes stands before an offset on its line: a text that says such words."""
    start = max(script.rfind("\n", 0, at), at - _MAX_LINE_CHARS, 0)
    return script.count("'", start, at) % 2 == 1


def _variable(template: re.Match[str]) -> str:
    text, whole = template.string, template[0]
    variable = template[template.lastgroup] if template.lastgroup else ""
    word = _LAST_WORD.search(variable)
    # SQL*Plus's &owner..t ends the variable with a dot of its own.
    is_followed = _GOES_ON.match(text, template.end()) and not whole.endswith(".")
    is_preceded = template.start() > 0 and _GLUED.match(text[template.start() - 1])
    if word is None or is_followed:
        return _LEFT_OUT
    return "" if is_preceded else word[0]
