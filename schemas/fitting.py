"""Fits a document into a budget of tokens: takes a little from every long part instead of dropping whole kinds of them.

A draft is a head, details (a description, the values of an enum, …) and entries (parameters, columns), some of which
have details of their own. A plan says in which order they get room. Within a step of the plan, room is shared evenly:
short details are whole, and the long ones are cut to the same size. What is written keeps the order of the draft.

Room is measured in bytes of UTF-8, because a token has about as many in any script, and counting tokens is slow. The
room that fills the budget is searched for with exact counts, some four for each document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["CountTokens", "Detail", "Draft", "Entry", "Fitted", "Step", "fit", "write_whole"]

CountTokens = Callable[[str], int]

# A detail is cut to this size at least, or left out: fewer words say nothing.
_LEAST_BYTES = 20
# A cut within a longer word is made at the end of the word before.
_MAX_WORD_BYTES = 24
_BYTES_PER_TOKEN = 8  # more than most texts have, so that a first filling of so many is usually too long
_LEAST_ROOM = 3
# The search aims at this share of the budget, and ends at that one or after so many counts.
_AIM = 0.985
_ENOUGH = 0.96
_LEAST_USED = 0.9
_MAX_COUNTS = 20
_MARK = "…"
# The marks of cuts may make a cut text so much longer than the whole one.
_MARK_TOKENS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Detail:
    """A text that may be cut or left out; `before` and `after` are written around it.

    If there are `values`, the text is a list of them, and is cut between two. `mark` shows where a text was cut. A
    detail that `is_whole` is never cut. `kind` says what it is, in the words of a warning.
    """

    kind: str
    text: str
    before: str = ""
    after: str = ""
    values: Sequence[str] = ()
    mark: str = _MARK
    is_whole: bool = False
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _size(self.before) + _size(self.text) + _size(self.after))

    @property
    def whole(self) -> str:
        """The whole text with what is written around it."""
        return f"{self.before}{self.text}{self.after}"

    def within(self, size: int, *, anywhere: bool = False) -> str:
        """Returns as much as fits into `size` bytes, cut between words or values, or `anywhere`; maybe nothing."""
        if self.size <= size:
            return self.whole
        room = size - self.size + _size(self.text)
        if room <= 0 or (self.is_whole and not anywhere):
            return ""
        kept = _cut(self.text, room) if anywhere else self._values(room) if self.values else self._words(room)
        return f"{self.before}{kept}{self.after}" if kept else ""

    def _words(self, room: int) -> str:
        text = _first_bytes(self.text, room - _size(self.mark))
        if len(text) < len(self.text) and not self.text[len(text)].isspace():
            space = text.rfind(" ")
            if space >= 0 and _size(text[space:]) <= _MAX_WORD_BYTES:
                text = text[:space]
        text = text.rstrip(" ,;:([{-–—")
        return text + self.mark if text else ""

    def _values(self, room: int) -> str:
        room -= _size(self._more(0))
        kept = used = 0
        for value in self.values:
            used += _size(value) + 2
            if used > room:
                break
            kept += 1
        return ", ".join(self.values[:kept]) + self._more(kept) if kept else ""

    def _more(self, kept: int) -> str:
        return f", … {len(self.values) - kept} more"


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A parameter or a column: its name is written whole or not at all, its details only with the name."""

    kind: str
    name: str
    details: tuple[Detail, ...] = ()
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _size(self.name) + 2)  # with what separates it from the one before


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a plan: these entries or details get room next, in this order if there is too little for all.

    A detail gets up to `most_bytes`, and up to `share` of the room.
    """

    entries: Sequence[Entry] = ()
    details: Sequence[Detail] = ()
    most_bytes: int | None = None
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Draft:
    """A document before it is fitted, in the order of its text.

    The first line is `before`, the name, which is always kept, and `after`; then comes a line of `entries` with `label`
    in front, and a line for each detail of `below`.
    """

    name: str
    plan: Sequence[Step]
    before: Sequence[Detail] = ()
    after: Sequence[Detail] = ()
    label: str = ""
    entries: Sequence[Entry] = ()
    below: Sequence[Detail] = ()


@dataclass(frozen=True, slots=True)
class Fitted:
    """A document within its budget, and the kinds of what was left out or cut, in the order of the text."""

    text: str
    left_out: tuple[str, ...] = ()


def write_whole(draft: Draft) -> str:
    """Writes all of a draft."""
    details = {detail: detail.whole for detail in _details(draft)}
    return _write(draft, {entry: entry.name for entry in draft.entries}, details)


def fit(draft: Draft, count_tokens: CountTokens, budget_tokens: int, whole_tokens: int | None = None) -> Fitted:
    """Returns a document that fills at least nine tenths of the budget, or all of it; the name is kept in any case.

    `whole_tokens` is the number of tokens of the whole document, if it is known.
    """
    return _Search(draft, count_tokens, budget_tokens).run(whole_tokens)


@dataclass(frozen=True, slots=True)
class _Filled:
    """A document: the names of its entries and its details as written, some of them cut."""

    text: str
    names: Mapping[Entry, str]
    details: Mapping[Detail, str]


class _Search:
    """Searches for the room with which a document fills the budget: between one that fits and one that does not."""

    def __init__(self, draft: Draft, count_tokens: CountTokens, budget_tokens: int) -> None:
        self._draft, self._count, self._budget = draft, count_tokens, budget_tokens
        self._owners = {detail: entry for entry in draft.entries for detail in entry.details}
        self._total = sum(detail.size for detail in _details(draft)) + sum(entry.size for entry in draft.entries)
        self._cuts_anywhere = False
        self._best, self._most, self._most_room = self._fill(0), 0, 0

    def run(self, whole_tokens: int | None) -> Fitted:
        """Returns the fullest document that was found."""
        room, tokens = self._too_much(whole_tokens)
        if tokens > self._budget:
            self._narrow(room, tokens, _ENOUGH)
        if tokens > self._budget and self._most < _LEAST_USED * self._budget:
            self._cuts_anywhere = True  # long names, values or words without spaces
            self._narrow(room, tokens, _LEAST_USED)
        left_out = _left_out(self._draft, self._best)
        return Fitted(self._best.text, tuple(dict.fromkeys(left_out)))

    def _too_much(self, whole_tokens: int | None) -> tuple[int, int]:
        """Returns a room that is too large and how many tokens fill it; or the room for all, if all fits."""
        room = self._budget * _BYTES_PER_TOKEN
        if whole_tokens is not None and whole_tokens > self._budget and self._total <= 2 * room:
            return self._total, whole_tokens
        while True:
            room = min(room, self._total)
            tokens = self._try(room)
            if 0 < tokens - self._budget <= _MARK_TOKENS and room < self._total <= 2 * room:
                whole = self._try(self._total)
                if whole <= self._budget:
                    return self._total, whole
            if tokens > self._budget or room == self._total:
                return room, tokens
            room *= 4

    def _narrow(self, high: int, high_tokens: int, enough: float) -> None:
        low = low_tokens = 0
        for number in range(_MAX_COUNTS):
            if high - low <= 1 or self._most >= enough * self._budget:
                return
            # A text is about as dense everywhere; where it is not, bisection ends the search.
            share = (_AIM * self._budget - low_tokens) / (high_tokens - low_tokens) if number < 4 else 0.5
            room = min(max(low + int((high - low) * share), low + 1), high - 1)
            tokens = self._try(room)
            if tokens <= self._budget:
                low, low_tokens = room, tokens
            else:
                high, high_tokens = room, tokens

    def _try(self, room: int) -> int:
        """Fills the room, keeps the result if it is the fullest so far that fits, and returns its number of tokens."""
        filled = self._fill(room)
        tokens = self._count(filled.text)
        # Of two with as many tokens, the one with more room has more of the text.
        if (self._most, self._most_room) < (tokens, room) and tokens <= self._budget:
            self._best, self._most, self._most_room = filled, tokens, room
        return tokens

    def _fill(self, room: int) -> _Filled:
        filling = _Filling(self._owners, room)
        for step in self._draft.plan:
            if filling.is_full:
                break
            filling.add_entries(step.entries)
            if step.details:
                filling.add_details(step)
        details = filling.write_details()
        if self._cuts_anywhere:
            filling.use_rest(self._draft.plan, details)
        return _Filled(_write(self._draft, filling.names, details), filling.names, details)


class _Filling:
    """Gives room to the entries and details of a draft, step by step."""

    def __init__(self, owners: Mapping[Detail, Entry], room: int) -> None:
        self._owners = owners
        self._room = self._left = room
        self._sizes: dict[Detail, int] = {}
        self.names: dict[Entry, str] = {}

    @property
    def is_full(self) -> bool:
        """Whether there is no room for even one more word."""
        return self._left < _LEAST_ROOM

    def add_entries(self, entries: Iterable[Entry]) -> None:
        """Gives room to each entry that fits; a shorter one may still fit after one that does not."""
        for entry in entries:
            if entry not in self.names and entry.size <= self._left:
                self.names[entry] = entry.name
                self._left -= entry.size

    def add_details(self, step: Step) -> None:
        """Shares the room that is left evenly between the details of a step."""
        most = int(self._room * step.share)
        most = most if step.most_bytes is None else min(most, step.most_bytes)
        chosen: list[Detail] = []
        used = 0
        for detail in step.details:
            least = detail.size if detail.is_whole else min(detail.size, most, _LEAST_BYTES)
            least = max(least - self._sizes.get(detail, 0), 0)
            fits = used + least <= self._left and (detail.size <= most or not detail.is_whole)
            if fits and self._may_have(detail):
                if detail.is_whole:
                    self._grow(detail, detail.size)
                else:
                    chosen.append(detail)
                    used += least
        level = self._level(chosen, most)
        for detail in chosen:
            self._grow(detail, min(level, detail.size))

    def _may_have(self, detail: Detail) -> bool:
        owner = self._owners.get(detail)
        return owner is None or self.names.get(owner) == owner.name

    def _level(self, details: Sequence[Detail], most: int) -> int:
        """Returns the size up to which all these details can grow."""
        sizes = [(one.size, self._sizes.get(one, 0)) for one in details]
        low, high = 0, most
        middle = most  # there is often room for all
        while low < high:
            more = sum([min(middle, size) - before for size, before in sizes if size > before < middle])
            low, high = (middle, high) if more <= self._left else (low, middle - 1)
            middle = (low + high + 1) // 2
        return low

    def _grow(self, detail: Detail, size: int) -> None:
        before = self._sizes.get(detail, 0)
        if size > before:
            self._sizes[detail] = size
            self._left -= size - before

    def write_details(self) -> dict[Detail, str]:
        """Returns the text of each detail; what one does not use up, because it ends with a word, the next one gets."""
        written: dict[Detail, str] = {}
        for detail, size in self._sizes.items():
            text = detail.within(size + self._left)
            self._left += size - _size(text)
            if text:
                written[detail] = text
        return written

    def use_rest(self, plan: Sequence[Step], details: dict[Detail, str]) -> None:
        """Uses the room that is left for the first names and details that are cut or left out, and cuts anywhere."""
        for step in plan:
            for entry in step.entries:
                if entry not in self.names and (name := _cut(entry.name, self._left - 2)):
                    self.names[entry] = name
                    self._left -= _size(name) + 2
            for detail in step.details:
                before = _size(details.get(detail, ""))
                if before < detail.size and self._may_have(detail):
                    text = detail.within(before + self._left, anywhere=True)
                    if _size(text) > before:
                        details[detail] = text
                        self._left += before - _size(text)


def _write(draft: Draft, names: Mapping[Entry, str], details: Mapping[Detail, str]) -> str:
    def texts(listed: Iterable[Detail]) -> str:
        return "".join([details.get(detail, "") for detail in listed])

    entries = "; ".join([names[entry] + texts(entry.details) for entry in draft.entries if entry in names])
    lines = [texts(draft.before) + draft.name + texts(draft.after), draft.label + entries if entries else ""]
    lines += [details.get(detail, "") for detail in draft.below]
    return "\n".join(line for line in lines if line)


def _left_out(draft: Draft, filled: _Filled) -> Iterator[str]:
    def cut(details: Iterable[Detail]) -> Iterator[str]:
        return (detail.kind for detail in details if filled.details.get(detail) != detail.whole)

    yield from cut([*draft.before, *draft.after])
    for entry in draft.entries:
        if filled.names.get(entry) == entry.name:
            yield from cut(entry.details)
        else:
            yield entry.kind
    yield from cut(draft.below)


def _details(draft: Draft) -> Iterator[Detail]:
    yield from draft.before
    yield from draft.after
    for entry in draft.entries:
        yield from entry.details
    yield from draft.below


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _cut(text: str, size: int) -> str:
    """Returns the text within so many bytes, with a mark if it is cut, or nothing."""
    if _size(text) <= size:
        return text
    kept = _first_bytes(text, size - _size(_MARK))
    return kept + _MARK if kept else ""


def _first_bytes(text: str, size: int) -> str:
    if size <= 0:
        return ""
    if text.isascii():
        return text[:size]
    return text[:size].encode("utf-8", "surrogatepass")[:size].decode("utf-8", "ignore")
