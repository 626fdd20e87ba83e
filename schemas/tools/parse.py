"""Parses tools from JSON texts in any supported form; each tool keeps the exact slice of text it was written as.

The steps: find the entries of a text (`containers`), find the parts of a tool by its form (`forms`), check the schema
of its parameters (`validity`), flatten it (`parameters`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from shortlist.schemas.document import Parameter, ParsedTools, Tool, Unparsed
from shortlist.schemas.errors import InvalidInput, InvalidTool
from shortlist.schemas.tools.containers import Entry, EntryReader
from shortlist.schemas.tools.forms import FORMS, ToolForm, ToolParts, clean_text, read_tool, shorten
from shortlist.schemas.tools.jsontext import LOST, MAX_NESTING, LineIndex
from shortlist.schemas.tools.parameters import flatten_parameters
from shortlist.schemas.tools.validity import SchemaChecker

__all__ = ["parse_tools"]

_MAX_WARNING_CHARS = 500
_NAME = re.compile(r'"name"\s*:\s*"([^"\\]{1,200})"')


def parse_tools(
    texts: Sequence[str], *, namespaces: Sequence[str] = (), forms: Sequence[ToolForm] = FORMS
) -> ParsedTools:
    """Parses all tools of `texts`. Each text holds one tool, a container of tools, or several of either in a row.

    The entries of all texts have consecutive indexes from 0, whether they could be parsed or not: tools and unparsed
    entries together have each index once. An empty container has no index and gives a warning. The lines and columns
    of an unparsed entry count within its own text. `namespaces[i]` is the namespace of all tools of `texts[i]`, empty
    if there is none. Each tool is read by the first of `forms` that recognises it.

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
        self._warnings: list[str] = []

    def parse(self, text: str, text_index: int, namespace: str) -> None:
        lines: LineIndex | None = None
        for entry in self._entries.read(text):
            if entry.is_empty:
                self._warnings.append(f"tools[{text_index}]: holds an empty list of tools")
                continue
            try:
                self._tools.append(self._read_tool(entry, text, namespace))
            except InvalidTool as error:
                lines = lines or LineIndex(text)
                self._report(entry, text, text_index, lines, f"tools[{text_index}]: {error}")

    def result(self) -> ParsedTools:
        if self._checker.is_exhausted:
            self._warnings.append(
                "the schemas have too many unusual keywords to check them all; all tools are ranked all the same"
            )
        return ParsedTools(tuple(self._tools), tuple(self._unparsed), tuple(self._warnings))

    def _read_tool(self, entry: Entry, text: str, namespace: str) -> Tool:
        node = entry.node
        if node.error:
            raise InvalidTool(f"not valid JSON: {_lower_first(node.error)}")
        parts = read_tool(node.value, self._forms)
        if node.is_pruned:
            self._warn(parts.name, f"nested more than {MAX_NESTING} levels deep; deeper levels are not read")
        return Tool(
            name=parts.name,
            description=parts.description,
            title=parts.title,
            namespace=namespace,
            parameters=self._read_parameters(parts, entry),
            source=text[node.start : node.end],
            index=self._next_index,
        )

    def _read_parameters(self, parts: ToolParts, entry: Entry) -> tuple[Parameter, ...]:
        has_text_counts = entry.form is not None and entry.form.has_text_counts
        references, problems = self._checker.check(parts.schema, parts.pointer, is_gemini=has_text_counts)
        parameters, warnings = flatten_parameters(parts.schema, references)
        self._warn(parts.name, *problems, *warnings)
        return parameters

    def _warn(self, name: str, *warnings: str) -> None:
        for warning in warnings:
            text = f"tool {shorten(name)!r}: {clean_text(warning)}"
            self._warnings.append(shorten(text, _MAX_WARNING_CHARS))

    def _report(self, entry: Entry, text: str, text_index: int, lines: LineIndex, reason: str) -> None:
        node = entry.node
        line, column = lines.locate(node.error_at if node.error else node.start)
        name = _guess_name(text[node.start : None if node.end == LOST else node.end]) if node.error else ""
        self._unparsed.append(Unparsed(self._next_index, name, reason, line, column, text_index))

    @property
    def _next_index(self) -> int:
        return len(self._tools) + len(self._unparsed)


def _guess_name(text: str) -> str:
    match = _NAME.search(text)
    return clean_text(match.group(1)) if match else ""


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:]
