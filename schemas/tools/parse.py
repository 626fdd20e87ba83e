"""Parses tools from JSON texts in any supported form; each tool keeps the exact slice of text it was written as.

The steps: find the entries of a text, in whatever lists, results or requests they are wrapped; find the parts of a tool
by its form (`forms`); check the schema of its parameters (`validity`); flatten it (`parameters`).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from shortlist.schemas.document import Parameter, ParsedTools, Tool, Unparsed
from shortlist.schemas.errors import InvalidInput, InvalidTool
from shortlist.schemas.tools.containers import (
    MAX_LEVELS,
    NAME_KEYS,
    NO_GROUP,
    ContainerRules,
    Group,
    is_mark,
    is_record,
    members_of,
    namespace_group,
)
from shortlist.schemas.tools.forms import (
    ACCEPTED,
    FORMS,
    ToolForm,
    ToolParts,
    clean_text,
    find_unread_parameters,
    has_name,
    read_tool,
    shorten,
)
from shortlist.schemas.tools.jsontext import (
    LOST,
    LineIndex,
    Node,
    decode_at,
    member_starts,
    skip_value,
    skip_whitespace,
)
from shortlist.schemas.tools.oddities import read_value
from shortlist.schemas.tools.parameters import flatten_parameters
from shortlist.schemas.tools.references import References
from shortlist.schemas.tools.shapes import (
    definitions_of,
    has_own_names,
    is_json_schema,
    is_list_of_parameters,
    layered_definitions,
)
from shortlist.schemas.tools.validity import SchemaChecker, loose_references, unresolved_problems
from shortlist.schemas.tools.warnings import ToolWarnings

__all__ = ["MAX_BROKEN", "MAX_LEVELS", "Entry", "EntryReader", "parse_tools"]

_NAME = re.compile(r'"name"\s*:\s*"([^"\\]{1,200})"')
MAX_BROKEN = 100
"""Entries of one text that may fail to decode or hold no tool; the text after them is not read."""
_BYTE_ORDER_MARK = "\ufeff"


def parse_tools(
    texts: Sequence[str], *, namespaces: Sequence[str] = (), forms: Sequence[ToolForm] = FORMS
) -> ParsedTools:
    """Parses all tools of `texts`. Each text holds one tool, a container of tools, or several of either in a row.

    The entries of all texts have consecutive indexes from 0, whether they could be parsed or not: tools and unparsed
    entries together have each index once. An empty container has no index and gives a warning. The lines and columns
    of an unparsed entry count within its own text. Reasons and warnings name an entry by its index, however the entries
    are spread over texts. Each tool is read by the first of `forms` that recognises it.

    `namespaces[i]` is the namespace of all tools of `texts[i]`, empty if there is none. An object that holds tools and
    has a name (a server, an agent, a namespace of OpenAI) is a namespace too, and so is one that a tool names itself.
    They are joined by dots, the outermost first (``work.jira``). A cache point of Bedrock is neither a tool nor an
    entry.

    Raises:
        InvalidInput: `texts` is a single string, or there are more namespaces than texts.
    """
    if isinstance(texts, str):
        raise InvalidInput("expected a list of texts, got a single text; put it in a list", field="tools")
    if len(namespaces) > len(texts):
        message = f"{len(namespaces)} namespaces for {len(texts)} texts; give one for each text, or none"
        raise InvalidInput(message, field="namespaces")
    parser = _Parser(forms)
    for text_index, text in enumerate(texts):
        parser.parse(text, text_index, namespaces[text_index] if text_index < len(namespaces) else "")
    return parser.result()


class _Parser:
    """Parses the texts of one request one by one and collects the results."""

    def __init__(self, forms: Sequence[ToolForm]) -> None:
        self._forms = forms
        self._entries = EntryReader(forms)
        self._checker = SchemaChecker()
        self._tools: list[Tool] = []
        self._unparsed: list[Unparsed] = []
        self._warnings = ToolWarnings()

    def parse(self, text: str, text_index: int, namespace: str) -> None:
        lines: LineIndex | None = None
        num_marks = 0
        num_found = self._next_index + len(self._warnings)
        for entry in self._entries.read(text):
            if is_mark(entry.node.value):
                num_marks += 1
                continue
            if entry.is_empty:
                place = f"tools[{text_index}]: " + (f"{entry.group.namespace!r} " if entry.group.namespace else "")
                self._warnings.add(f"{place}holds an empty list of tools")
                continue
            if entry.repeated_key:
                key = f'the key "{entry.repeated_key}" is written twice in one object, and the last one counts'
                self._warnings.add(f"tools[{text_index}]: {key}")
                continue
            try:
                self._tools.append(self._read_tool(entry, text, namespace))
            except InvalidTool as error:
                lines = lines or LineIndex(text)
                self._report(entry, text, text_index, lines, f"tools[{self._next_index}]: {error}")
        if num_marks and num_found == self._next_index + len(self._warnings):
            self._warnings.add(f"tools[{text_index}]: holds no tools, only cache points")

    def result(self) -> ParsedTools:
        if self._checker.is_exhausted:
            self._warnings.add(
                "the schemas have too many unusual keywords to check them all; all tools are still ranked"
            )
        return ParsedTools(tuple(self._tools), tuple(self._unparsed), self._warnings.texts())

    def _read_tool(self, entry: Entry, text: str, namespace: str) -> Tool:
        node = entry.node
        if node.error:
            rest = "; what follows it in its text is not read" if node.end == LOST and node.error_at else ""
            raise InvalidTool(f"not valid JSON: {_lower_first(node.error)}{rest}")
        try:
            reading = read_value(text, node)
        except RecursionError as error:
            raise InvalidTool("it is nested too deeply to be read here") from error
        parts = read_tool(entry.named(reading.value), self._forms)
        self._warn(parts.name, *reading.oddities, place=f"tools[{self._next_index}]: ")
        own = namespace_group(parts.namespace)
        for kind, name in (*entry.group.cuts, *own.cuts):
            self._warnings.add_of_kind(kind, name)
        return Tool(
            name=parts.name,
            description=parts.description,
            title=parts.title,
            namespace=_joined(namespace, entry.group.namespace, own.namespace),
            parameters=self._read_parameters(parts, entry),
            source=text[node.start : node.end],
            index=self._next_index,
            namespace_description=entry.group.description,
        )

    def _read_parameters(self, parts: ToolParts, entry: Entry) -> tuple[Parameter, ...]:
        schema = parts.schema
        is_map = isinstance(schema, dict) and "$schema" not in schema and not is_json_schema(schema)
        is_loose = is_map or not parts.is_json_schema or is_list_of_parameters(schema)
        references, problems = self._check(parts, entry, is_map=is_map, is_loose=is_loose)
        parameters, warnings = flatten_parameters(schema, references)
        if is_loose:
            problems = [*problems, *unresolved_problems(references, parts.pointer)]
        self._warn(parts.name, *parts.notes, *problems, *warnings, *self._find_unread(entry, parts, parameters))
        return parameters

    def _check(self, parts: ToolParts, entry: Entry, *, is_map: bool, is_loose: bool) -> tuple[References, list[str]]:
        """Returns the references of a schema and its problems; of a map of parameters only definitions are checked."""
        if is_loose and (parts.root is not None or not is_map):
            root = parts.schema if parts.root is None else parts.root
            return loose_references(root, has_ids=not entry.group.definitions), []
        checked = definitions_of(parts.schema) if is_map else parts.schema
        has_text_counts = entry.form is not None and entry.form.has_text_counts
        return self._checker.check(checked, parts.pointer, is_gemini=has_text_counts)

    def _find_unread(self, entry: Entry, parts: ToolParts, parameters: Sequence[Parameter]) -> list[str]:
        tool = entry.node.value
        if not isinstance(tool, dict):
            return []
        found = []
        if not parameters and (key := find_unread_parameters(tool)):
            hint = 'looks like them; put them under "parameters"'
            found.append(f'no parameters were found, but "{shorten(key, 40)}" {hint}')
        elif not parameters and has_own_names(parts.schema):
            key = parts.pointer.rpartition("/")[2]
            found.append(f'no parameters could be read from "{key}"; write a JSON Schema of an object with properties')
        unread = self._entries.rules.lists_of_tools(tool)
        reason = "is not read, because it has parameters of its own and so is a tool itself"
        return [*found, *(f'its list "{key}" {reason}' for key in unread)] if unread else found

    def _warn(self, name: str, *warnings: str, place: str = "") -> None:
        for warning in warnings:
            self._warnings.add_of_tool(name, warning, place)

    def _report(self, entry: Entry, text: str, text_index: int, lines: LineIndex, reason: str) -> None:
        node = entry.node
        line, column = lines.locate(node.error_at if node.error else node.start)
        name = _guess_name(text[node.start : None if node.end == LOST else node.end]) if node.error else ""
        name = name or entry.group.key
        self._unparsed.append(Unparsed(self._next_index, name, reason, line, column, text_index))

    @property
    def _next_index(self) -> int:
        return len(self._tools) + len(self._unparsed)


def _guess_name(text: str) -> str:
    match = _NAME.search(text)
    return clean_text(match.group(1)) if match else ""


def _joined(*namespaces: str) -> str:
    """Joins namespaces by dots, each once."""
    if not any(namespaces):
        return ""
    return ".".join(dict.fromkeys(filter(None, namespaces)))


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:]


@dataclass(frozen=True, slots=True)
class Entry:
    """One value that should be a tool. It may have an error instead.

    `form` is the form whose own list the entry was in, None for lists that all forms share. `is_empty` marks an empty
    list, and `repeated_key` a key that is written twice and held tools; neither counts as an entry or takes an index.
    `group` is what the objects around the entry say of it.
    """

    node: Node
    form: ToolForm | None = None
    is_empty: bool = False
    repeated_key: str = ""
    group: Group = NO_GROUP

    def named(self, value: object) -> object:
        """Returns the value, with the key it was listed under as its name if it has none itself.

        An operation of OpenAPI also gets the definitions of the objects around it.
        """
        if isinstance(value, dict) and self.group.definitions and "operationId" in value:
            return {**value, **layered_definitions(self.group.definitions, definitions_of(value))}
        if not self.group.key or not value or not isinstance(value, dict) or has_name(value) or "operationId" in value:
            return value
        return {**value, "name": self.group.key}


class EntryReader:
    """Reads texts that hold tools of the given forms; their keys tell containers from tools."""

    def __init__(self, forms: Sequence[ToolForm] = FORMS) -> None:
        self.rules = ContainerRules(forms)
        self._lists = self.rules.lists
        self._envelopes = self.rules.envelopes

    def read(self, text: str) -> Iterator[Entry]:
        """Yields the entries of `text` in order: one tool, a container of tools, or several of either in a row.

        A value that does not decode is yielded with its error. Reading goes on behind it if its brackets close.
        """
        num_broken = 0
        for entry in self._read_text(text):
            num_broken += not (isinstance(entry.node.value, dict) and entry.node.value)
            if num_broken > MAX_BROKEN:
                reason = f"More than {MAX_BROKEN} entries are not tools; the rest of the text is not read"
                yield _broken(entry.node.start, reason)
                return
            yield entry

    def _read_text(self, text: str) -> Iterator[Entry]:
        at = skip_whitespace(text, len(_BYTE_ORDER_MARK) if text.startswith(_BYTE_ORDER_MARK) else 0)
        if at == len(text):
            yield _broken(0, f"The text is blank; {ACCEPTED}")
        while at < len(text):
            # After plain words nothing says where the next value begins, so only a broken bracket is read past.
            is_bracketed = text[at] in "[{"
            end, is_sound = yield from self._read_value(text, at, level=0, form=None)
            if end == LOST or not (is_sound or is_bracketed):
                return
            at = skip_whitespace(text, end)

    def _read_value(
        self, text: str, start: int, *, level: int, form: ToolForm | None
    ) -> Generator[Entry, None, tuple[int, bool]]:
        """Yields the entries of one value; returns its end and whether it decodes."""
        if level > MAX_LEVELS:
            end = skip_value(text, start)
            yield _broken(start, f"Lists are nested more than {MAX_LEVELS} levels deep")
            return end, False
        if text.startswith("[", start):
            end = yield from self._read_list(text, start, level=level, form=form)
            return end, end != LOST
        node = decode_at(text, start)
        keys = self.rules.keys_of(node.value)
        if keys:
            is_map = is_record(node.value)
            yield from self._read_members(text, start, keys, level=level, holder=node.value, is_map=is_map)
        elif not node.error or not (yield from self._rescue_members(text, node, level=level)):
            yield Entry(node, form)
        return node.end, not node.error

    def _read_list(self, text: str, start: int, *, level: int, form: ToolForm | None) -> Generator[Entry, None, int]:
        at = skip_whitespace(text, start + 1)
        if text.startswith("]", at):
            yield Entry(Node(start, at + 1), is_empty=True)
            return at + 1
        while True:
            end, _ = yield from self._read_value(text, at, level=level + 1, form=form)
            if end == LOST:
                return LOST
            at = skip_whitespace(text, end)
            if text.startswith("]", at):
                return at + 1
            if not text.startswith(",", at):
                yield _broken(at, "Expecting ',' or ']' in a list")
                return LOST
            at = skip_whitespace(text, at + 1)

    def _read_members(
        self, text: str, start: int, keys: Sequence[str], *, level: int, holder: object = None, is_map: bool = False
    ) -> Iterator[Entry]:
        starts: dict[str, int] = {}
        for key, at in member_starts(text, start):
            if key in starts and key in keys:
                yield Entry(Node(start, at), repeated_key=key)
            starts[key] = at  # of a repeated key the last counts, as in Python's decoder
        if not isinstance(holder, dict):  # it does not decode as a whole
            named = [key for key in (*NAME_KEYS, "description") if key in starts]
            holder = {key: decode_at(text, starts[key]).value for key in named}
        for key in keys:
            group = self.rules.group_of(holder, key, is_map=is_map).with_definitions(definitions_of(holder))
            member = holder.get(key)
            entries: Iterator[Entry]
            if isinstance(member, dict) and not is_map and self.rules.is_loose_map(key, member):
                keys_inside = members_of(member)
                entries = self._read_members(
                    text, starts[key], keys_inside, level=level + 1, holder=member, is_map=True
                )
            else:
                form = None if is_map else self._lists.get(key)
                entries = self._read_value(text, starts[key], level=level + 1, form=form)
            for entry in entries:
                yield replace(entry, group=group.around(entry.group)) if group else entry

    def _rescue_members(self, text: str, node: Node, *, level: int) -> Generator[Entry, None, bool]:
        """Yields the entries of a container that does not decode as a whole; returns whether it was a container."""
        if not text.startswith("{", node.start):
            return False
        keys = [
            key
            for key, start in dict(member_starts(text, node.start)).items()
            if (key in self._lists and text.startswith("[", start))
            or (key in self._envelopes and text.startswith("{", start))
        ]
        if not keys:
            return False
        is_reported = False
        for entry in self._read_members(text, node.start, keys, level=level):
            is_reported |= bool(entry.node.error)
            yield entry
        if not is_reported:
            yield _broken(node.error_at, node.error)
        return True


def _broken(at: int, reason: str) -> Entry:
    return Entry(Node(at, LOST, error=reason, error_at=at))
