"""Splits an ALTER TABLE into its actions, and finds the entries that they add."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from shortlist.schemas.sql.definitions.types import TYPES
from shortlist.schemas.sql.script.lexing import Token, words

__all__ = ["added_list", "end_of_alter", "split_actions"]

# Actions of ALTER TABLE that add nothing.
_ALTER_VERBS = words(
    "ALTER MODIFY CHANGE DROP RENAME OWNER SET RESET ENABLE DISABLE ATTACH DETACH ENGINE AUTO_INCREMENT VALIDATE "
    "CLUSTER "
    "CONVERT CONVERTING ORDER COMMENT SWITCH REBUILD INHERIT NO FORCE REPLICA TRUNCATE EXCHANGE APPEND SUSPEND RESUME "
    "CHECK NOCHECK UPDATE MOVE LOGGING NOLOGGING PARALLEL NOPARALLEL SWAP UNSET REFRESH DEFAULT"
)
# Words that begin another statement behind an ALTER TABLE without a semicolon.
_NEXT_STATEMENT = words(
    "END IF ELSE WHILE BEGIN UPDATE DELETE SELECT INSERT MERGE COMMIT ROLLBACK RETURN DECLARE PRINT THROW RAISERROR "
    "GRANT TRUNCATE EXEC EXECUTE GOTO"
)
_CONDITIONS = (["OBJECT_ID"], ["COL_LENGTH"], ["SCHEMA_ID"], ["INDEXPROPERTY"])
_CHANGING_VERBS = words("ALTER MODIFY CHANGE RENAME DROP")
# After ADD and DROP, words that show that an action begins.
_ACTION_OBJECTS = words("COLUMN CONSTRAINT PRIMARY FOREIGN UNIQUE CHECK")
# After ADD, words that begin neither a column nor a key; then those that do so only before some words or signs.
_SKIPPED_ADDITIONS = words("PARTITION SUBPARTITION STATISTICS PROJECTION DEFAULT OVERWRITE ROLLUP")
_SKIPPED_BEFORE = {
    "SUPPLEMENTAL": words("LOG"),
    "PERIOD": words("FOR"),
    "ROW": words("DELETION ACCESS"),
    "SEARCH": words("OPTIMIZATION"),
    "MASKING": words("POLICY"),
    "TEMPORARY": words("PARTITION"),
    "SYSTEM": words("VERSIONING"),
    "EXCLUDE": words("USING ("),
    "OVERFLOW": words("TABLESPACE INCLUDING PCTFREE PCTUSED INITRANS STORAGE LOGGING NOLOGGING ("),
}


def end_of_alter(tokens: Sequence[Token], text: str) -> int:
    """Returns the token that begins another statement, as T-SQL allows without a semicolon.

    Most begin a line; ``IF COL_LENGTH(…)`` and ``PRINT 'text'`` may follow on the same one.
    """
    depth = 0
    for i in range(1, len(tokens)):
        depth += (tokens[i - 1].text == "(") - (tokens[i - 1].text == ")")
        begins_line = "\n" in text[tokens[i - 1].end : tokens[i].start]
        if depth == 0 and tokens[i].keyword in _NEXT_STATEMENT:
            following = [token.text.upper() for token in tokens[i + 1 : i + 4]]
            is_text = tokens[i].keyword == "PRINT" and following[:1] and following[0].startswith(("'", "N'"))
            if not begins_line and not is_text and (tokens[i].keyword != "IF" or following[:1] not in _CONDITIONS):
                continue
            is_option = tokens[i].keyword == "IF" and "EXISTS" in following[:2] and "(" not in following
            if not is_option:
                return i
    return len(tokens)


def added_list(tokens: Sequence[Token], start: int) -> list[Token]:
    """Returns the entries that an ALTER TABLE adds, as a column list: ``(``, the entries, ``)``."""
    kept: list[Token] = []
    is_adding = False
    for action in split_actions(tokens[start:]):
        code = [token for token in action if token.kind not in ("comment", "run")]
        is_adding = _adds(code, is_adding)
        if [token.keyword for token in code[:2]] == ["ADD", "ROLLUP"] and not _is_column(code[1:]):
            is_adding = False  # Doris lists more rollups behind the first
        entry = _added_entry(code) if is_adding and code else []
        if entry:
            kept += [_sign(",", entry[0].start)] if kept else []
            kept += entry
    if not kept:
        return []
    return [_sign("(", kept[0].start), *kept, _sign(")", kept[-1].end)]


def _adds(code: Sequence[Token], was_adding: bool) -> bool:
    """Whether an action adds: it begins with ADD, or it goes on with the list of the ADD before it."""
    if not code:
        return was_adding
    return code[0].keyword == "ADD" or (was_adding and code[0].keyword not in _ALTER_VERBS)


def _sign(text: str, at: int) -> Token:
    return Token("sign", text, at, at)


def split_actions(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Yields the actions of an ALTER TABLE: the parts between its commas, and before each verb that begins one."""
    action: list[Token] = []
    depth = 0
    for token, follower in zip_longest(tokens, tokens[1:]):
        depth += (token.text == "(") - (token.text == ")")
        is_end = depth == 0 and token.kind == "sign" and token.text in ",;"
        if is_end or (depth == 0 and action and _begins_action(token, follower, action[0])):
            yield action
            action = []
        if not is_end:
            action.append(token)
    yield action


def _begins_action(token: Token, follower: Token | None, verb: Token) -> bool:
    """Whether another action begins without a comma, as Db2 and H2 allow; `verb` is that of the action before."""
    if token.keyword == "ADD" and verb.keyword not in _CHANGING_VERBS:
        return True
    # ADD GENERATED and DROP NOT NULL inside an ALTER COLUMN begin no action of their own.
    names_object = follower is not None and follower.keyword in _ACTION_OBJECTS
    return token.keyword == "ALTER" or (token.keyword in ("ADD", "DROP") and names_object)


def _added_entry(code: list[Token]) -> list[Token]:
    entry = code[1:] if code[0].keyword == "ADD" else code
    is_column = bool(entry) and entry[0].keyword in ("COLUMN", "COLUMNS")
    while entry and entry[0].keyword in ("COLUMN", "COLUMNS", "IF", "NOT", "EXISTS"):
        entry = entry[1:]
    if len(entry) > 1 and entry[0].keyword == "CONSTRAINT" and entry[1].text == "(":
        entry = entry[1:]  # Informix writes ADD CONSTRAINT (FOREIGN KEY …)
    if len(entry) > 2 and entry[0].text == "(" and entry[-1].keyword in ("CASCADE", "RESTRICT"):
        entry = entry[:-1]  # Hive
    if len(entry) > 2 and entry[0].text == "(" and entry[-1].text == ")":
        entry = entry[1:-1]
    is_default = [token.keyword for token in entry[:1] + entry[2:3]] == ["CONSTRAINT", "DEFAULT"]
    is_skipped = not is_column and not _is_column(entry) and _is_skipped(entry)
    return [] if not entry or is_default or is_skipped else entry


def _is_column(entry: Sequence[Token]) -> bool:
    return len(entry) > 1 and entry[1].keyword in TYPES  # ADD period int


def _is_skipped(entry: Sequence[Token]) -> bool:
    """Whether an addition is neither a column nor a key; a column may be called period or tag, though."""
    if not entry:
        return True
    word = entry[0].keyword
    if len(entry) == 1:
        return word == "OVERFLOW" or word in _SKIPPED_ADDITIONS
    is_value = word == "VALUE" and entry[1].kind == "string"
    is_tag = word == "TAG" and len(entry) > 2 and entry[2].text == "="
    return is_value or is_tag or word in _SKIPPED_ADDITIONS or entry[1].text.upper() in _SKIPPED_BEFORE.get(word, ())
