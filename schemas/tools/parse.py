"""Parses tools out of JSON text in any published form, each with the exact slice it was written as.

The steps: find every tool in the text (`containers`), find its parts by its form (`forms`), check its schema
(`validity`), flatten its parameters (`parameters`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from shortlist.schemas.document import ParsedTools, Tool, Unparsed
from shortlist.schemas.errors import InvalidInput, InvalidTool
from shortlist.schemas.tools.containers import Entry, EntryReader
from shortlist.schemas.tools.forms import FORMS, ToolForm, clean_text, read_tool, shorten
from shortlist.schemas.tools.jsontext import LOST, MAX_NESTING, LineIndex
from shortlist.schemas.tools.parameters import flatten_parameters
from shortlist.schemas.tools.validity import SchemaChecker

__all__ = ["parse_tools"]

_MAX_WARNING_CHARS = 500
_NAME = re.compile(r'"name"\s*:\s*"([^"\\]{1,200})"')


def parse_tools(
    texts: Sequence[str], *, namespaces: Sequence[str] = (), forms: Sequence[ToolForm] = FORMS
) -> ParsedTools:
    """Parses every tool of `texts`, each one tool, a container of many, or several of either one after another.

    Indexes count the flattened entries of all texts from 0, in order, and an entry that is left out keeps its own:
    tools and unparsed ones together carry each index once. A container without tools takes none and is a warning.
    Lines and columns count within the text the reason names. `namespaces[i]` applies to all tools of `texts[i]`;
    missing ones are empty. A tool is read by the first of `forms` that recognises it.

    Raises: InvalidInput if `texts` is a single string, or there are more namespaces than texts.
    """
    if isinstance(texts, str):
        raise InvalidInput("expected a list of texts, got one; put it in a list", field="tools")
    if len(namespaces) > len(texts):
        message = f"{len(namespaces)} namespaces for {len(texts)} texts; give one for each text, or none"
        raise InvalidInput(message, field="namespaces")
    reading = _Reading(forms)
    for number, text in enumerate(texts):
        reading.read(text, number, namespaces[number] if number < len(namespaces) else "")
    return reading.result()


class _Reading:
    """One pass over the texts of a request: what has been read so far."""

    def __init__(self, forms: Sequence[ToolForm]) -> None:
        self._forms = forms
        self._entries = EntryReader(forms)
        self.tools: list[Tool] = []
        self.unparsed: list[Unparsed] = []
        self.warnings: list[str] = []
        self._checker = SchemaChecker()

    def read(self, text: str, number: int, namespace: str) -> None:
        lines: LineIndex | None = None
        for entry in self._entries.read(text):
            try:
                self._read_entry(entry, text, number, namespace)
            except InvalidTool as error:
                lines = lines or LineIndex(text)
                self._leave_out(entry, text, number, lines, str(error))

    def result(self) -> ParsedTools:
        if self._checker.is_exhausted:
            self.warnings.append(
                "the schemas hold more oddities than are checked; some went unchecked, all tools are ranked"
            )
        return ParsedTools(tuple(self.tools), tuple(self.unparsed), tuple(self.warnings))

    def _read_entry(self, entry: Entry, text: str, number: int, namespace: str) -> None:
        node, field = entry.node, f"tools[{number}]"
        if entry.is_empty:
            self.warnings.append(f"{field}: holds a list without tools")
            return
        if node.error:
            raise InvalidTool(f"not valid JSON: {_lower_first(node.error)}", field=field)
        try:
            parts = read_tool(node.value, self._forms)
        except InvalidTool as error:
            raise InvalidTool(str(error), field=field) from error
        notes = [f"nested more than {MAX_NESTING} levels deep; what lies deeper is not read"] if node.is_pruned else []
        has_text_counts = entry.form is not None and entry.form.has_text_counts
        references, problems = self._checker.check(parts.schema, parts.pointer, is_gemini=has_text_counts)
        parameters, cuts = flatten_parameters(parts.schema, references)
        notes += [*problems, *cuts]
        self.warnings += [
            shorten(f"tool {shorten(parts.name)!r}: {clean_text(note)}", _MAX_WARNING_CHARS) for note in notes
        ]
        self.tools.append(
            Tool(
                name=parts.name,
                description=parts.description,
                title=parts.title,
                namespace=namespace,
                parameters=parameters,
                source=text[node.start : node.end],
                index=self._next_index,
            )
        )

    def _leave_out(self, entry: Entry, text: str, number: int, lines: LineIndex, reason: str) -> None:
        node = entry.node
        line, column = lines.locate(node.error_at if node.error else node.start)
        name = _guess_name(text[node.start : None if node.end == LOST else node.end]) if node.error else ""
        self.unparsed.append(Unparsed(self._next_index, name, reason, line, column, number))

    @property
    def _next_index(self) -> int:
        return len(self.tools) + len(self.unparsed)


def _guess_name(text: str) -> str:
    match = _NAME.search(text)
    return clean_text(match.group(1)) if match else ""


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:]
