"""Flattens a JSON Schema into parameters: follows references, merges combinators, enters objects and arrays."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shortlist.schemas.document import Parameter
from shortlist.schemas.remarks import Remarks
from shortlist.schemas.tools.forms import as_json, as_text, clean_text, shorten
from shortlist.schemas.tools.references import References
from shortlist.schemas.tools.shapes import (
    COMBINATOR_KEYS,
    JSON_TYPES,
    REFERENCE_KEYS,
    ROOT_KEYS,
    TYPE_ALIASES,
    as_root,
)

__all__ = [
    "MAX_ALTERNATIVES",
    "MAX_DEPTH",
    "MAX_ENUM_VALUES",
    "MAX_PARAMETERS",
    "MAX_VISITS",
    "TYPE_ALIASES",
    "flatten_parameters",
]

MAX_DEPTH = 6
"""Levels of nested parameters that are read."""
MAX_PARAMETERS = 500
"""Parameters that are read of one tool, level by level."""
MAX_ENUM_VALUES = 200
"""Values that are read of one enum."""
MAX_ALTERNATIVES = 20
"""Alternatives of one parameter whose titles and descriptions are read."""
MAX_VISITS = 10_000
"""Subschemas that are read of one tool. Schemas that refer to one another often can unfold without end."""
_MAX_MERGED = 100_000  # parameters over all visits: a schema of many parameters may be referred to often
_MAX_COMBINED = 16  # levels of combinators and references in one another
_MAX_ARRAYS = 4  # levels of arrays of arrays
_MAX_VALUE_CHARS = 200
_MAX_ALTERNATIVE_CHARS = 1_000
_UNFOLDED_IN_PART = (
    "its schemas refer to one another too often to be unfolded completely; some parameters may be missing"
)
_LEADING_KEYS = frozenset(REFERENCE_KEYS).union(COMBINATOR_KEYS)
_REST = "the rest are left out"
_CUT_VALUES = f"values longer than {_MAX_VALUE_CHARS} characters, with their titles, are cut"
_CUT_DEFAULTS = f"default values longer than {_MAX_VALUE_CHARS} characters are cut"
_CUT_ALTERNATIVES = f"descriptions of alternatives longer than {_MAX_ALTERNATIVE_CHARS:,} characters are cut"
_CUT_ARRAYS = f"arrays nested more than {_MAX_ARRAYS} levels deep are read in part"
_LABEL_KEYS = frozenset(
    {
        "enumDescriptions", "enumNames", "enumTitles", "markdownEnumDescriptions", "meta:enum", "x-enum-descriptions",
        "x-enum-labels", "x-enum-names", "x-enum-varnames", "x-enumDescriptions", "x-enumNames", "x-enum-varNames",
    }
)  # fmt: skip
_INFORMATIVE_KEYS = frozenset({"properties", "items", "description", "enum"}).union(REFERENCE_KEYS, COMBINATOR_KEYS)
_References = frozenset[str]  # those that lead to a schema; one of them again is a cycle


@dataclass(slots=True)
class _View:
    """One schema with its references and combinators merged; subschemas come with the references that led to them."""

    types: dict[str, None] = field(default_factory=dict)
    description: str = ""
    enum: list[object] = field(default_factory=list)
    labels: dict[str, str] | None = None  # of few schemas, and creating them takes time
    alternatives: dict[str, str] | None = None
    default: object = None
    is_required: bool = False
    properties: dict[str, list[tuple[object, _References]]] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    items: list[tuple[object, _References]] = field(default_factory=list)
    values: list[tuple[object, _References]] = field(default_factory=list)
    item: _View | None = None
    cuts: tuple[str, ...] = ()
    merged: set[tuple[int, _References, bool]] = field(default_factory=set)


@dataclass(slots=True)
class _Branch:
    parameter: Parameter | None
    view: _View
    path: str
    depth: int
    told: Mapping[str, Sequence[str]] = field(default_factory=dict)
    children: list[_Branch] = field(default_factory=list)


def flatten_parameters(schema: object, references: References) -> tuple[tuple[Parameter, ...], tuple[str, ...]]:
    """Returns the parameters of a schema, each before those nested in it, and a warning for each limit that cut some.

    Never raises: of an invalid schema, the parts whose meaning is clear are read. A recursive reference is not
    followed again.
    """
    flattener = _Flattener(references)
    parameters = tuple(flattener.flatten(schema))
    return parameters, (*flattener.warnings, *flattener.cuts.texts())


class _Flattener:
    def __init__(self, references: References) -> None:
        self._references = references
        self._num_visits = 0
        self._num_merged = 0
        self.warnings: dict[str, None] = {}
        self.cuts = Remarks()  # of texts in parameters, by kind, with their paths

    def flatten(self, schema: object) -> Iterator[Parameter]:
        read = as_root(schema)
        root = _Branch(None, self._view([(read, frozenset({"#"}))]), "", 0, self._alternatives_of(read))
        # Level by level, so that one deeply nested parameter does not use up the limit for the others.
        waiting, num_parameters = deque([root]), 0
        while waiting:
            branch = waiting.popleft()
            for name, path, is_required, schemas in _children(branch.view, branch.path):
                if branch.depth == MAX_DEPTH or num_parameters == MAX_PARAMETERS:
                    self._warn_of_cut(branch.depth)
                    break
                num_parameters += 1
                child = self._add_child(branch, name, path, is_required, schemas)
                waiting.append(child)
        yield from _in_reading_order(root)

    def _alternatives_of(self, schema: object) -> dict[str, list[str]]:
        """Returns what the alternatives of a whole schema say, each by the first of its parameters.

        That is a parameter that no other alternative has, if there is one.
        """
        branches = [
            branch
            for key in ("oneOf", "anyOf")
            for branch in (_branches(schema[key]) if isinstance(schema, dict) and key in schema else [])
            if isinstance(branch, dict)
        ]
        views = [self._view([(branch, frozenset({"#"}))]) for branch in branches[: MAX_ALTERNATIVES + 1]]
        names = [list(dict.fromkeys((*view.properties, *sorted(view.required)))) for view in views]
        counts = Counter(name for listed in names for name in listed)
        told: dict[str, list[str]] = {}
        if len(views) > MAX_ALTERNATIVES:
            self.warnings[f"it has more than {MAX_ALTERNATIVES} described alternatives; {_REST}"] = None
        for branch, view, listed in zip(branches[:MAX_ALTERNATIVES], views, names, strict=False):
            words = " - ".join(dict.fromkeys(filter(None, (self._title(branch), view.description))))
            if words and listed:
                told.setdefault(min(listed, key=lambda name: counts[name]), []).append(self._cut_words(words))
        return told

    def _title(self, schema: Mapping[str, object]) -> str:
        target = self._references.resolve(str(schema["$ref"])) if isinstance(schema.get("$ref"), str) else None
        return _title_of(schema) or _title_of(target)

    def _cut_words(self, words: str) -> str:
        if len(words) > _MAX_ALTERNATIVE_CHARS:
            self.warnings[_CUT_ALTERNATIVES] = None
        return shorten(words, _MAX_ALTERNATIVE_CHARS)

    def _add_child(
        self, branch: _Branch, name: str, path: str, is_required: bool, schemas: list[tuple[object, _References]]
    ) -> _Branch:
        view = self._view(schemas)
        told = branch.told.get(name, ())
        parameter = _titled(self._parameter(view, name, path, is_required, branch.depth), view, schemas, told)
        child = _Branch(parameter, view, path, branch.depth + 1)
        branch.children.append(child)
        return child

    def _warn_of_cut(self, depth: int) -> None:
        if depth == MAX_DEPTH:
            warning = f"its parameters are nested more than {MAX_DEPTH} levels deep; the deeper ones are left out"
        else:
            warning = f"it has more than {MAX_PARAMETERS} parameters; the most deeply nested ones are left out"
        self.warnings[warning] = None

    def _parameter(self, view: _View, name: str, path: str, is_required: bool, depth: int) -> Parameter:
        holder = view if view.enum or view.item is None else view.item
        if len(holder.enum) > MAX_ENUM_VALUES:
            self.warnings[f"an enum has more than {MAX_ENUM_VALUES} values; {_REST}"] = None
        texts = [_full_text(value) for value in holder.enum[:MAX_ENUM_VALUES] if value is not None]
        if holder.labels:
            texts = [_labelled(text, holder.labels) for text in texts]
        default = None if view.default is None else _full_text(view.default)
        self._note_cuts(path, view, texts, default or "")
        if holder.alternatives and len(holder.alternatives) > MAX_ALTERNATIVES:
            self.warnings[f"a parameter has more than {MAX_ALTERNATIVES} described alternatives; {_REST}"] = None
        return Parameter(
            name=clean_text(name),
            path=clean_text(path),
            type=_type_phrase(view),
            description=view.description if view.alternatives is None and view.item is None else _description(view),
            enum=tuple(dict.fromkeys(shorten(text, _MAX_VALUE_CHARS) for text in texts)),
            default=None if default is None else shorten(default, _MAX_VALUE_CHARS),
            required=is_required or view.is_required,
            depth=depth,
        )

    def _note_cuts(self, path: str, view: _View, values: Sequence[str], default: str) -> None:
        if any(len(value) > _MAX_VALUE_CHARS for value in values):
            self.cuts.add(_CUT_VALUES, path)
        if default[_MAX_VALUE_CHARS:].strip('[]{}",: ') not in ("", "null"):  # brackets alone are no loss
            self.cuts.add(_CUT_DEFAULTS, path)
        inner: _View | None = view
        while inner is not None:
            for kind in inner.cuts:
                self.cuts.add(kind, path)
            inner = inner.item

    def _view(self, schemas: list[tuple[object, _References]], num_arrays: int = 0) -> _View:
        view = _View()
        for schema, active in schemas:
            self._merge(schema, view, active, counts_required=len(schemas) == 1, level=0, is_alternative=False)
        if view.items and num_arrays < _MAX_ARRAYS:
            view.item = self._view(view.items, num_arrays + 1)
        elif view.items:
            view.cuts += (_CUT_ARRAYS,)
        return view

    def _merge(
        self,
        schema: object,
        view: _View,
        active: _References,
        *,
        counts_required: bool,
        level: int,
        is_alternative: bool,
    ) -> None:
        self._num_visits += 1
        if self._num_visits > MAX_VISITS or level > _MAX_COMBINED:
            self.warnings[_UNFOLDED_IN_PART] = None
            return
        if not isinstance(schema, dict):
            _merge_text(schema, view)
            return
        # A schema that is referred to many times is merged once, or each reference would cost its size.
        reading = (id(schema), active, counts_required)
        if reading in view.merged:
            return
        view.merged.add(reading)
        _merge_scalars(schema, view, is_alternative=is_alternative)
        if self._num_merged <= _MAX_MERGED:
            self._num_merged += _merge_children(schema, view, active, counts_required=counts_required)
        else:
            self.warnings[_UNFOLDED_IN_PART] = None
        if _LEADING_KEYS.isdisjoint(schema):
            return
        reference = next((schema[key] for key in REFERENCE_KEYS if isinstance(schema.get(key), str)), None)
        if reference is not None:
            self._follow(
                reference, view, active, counts_required=counts_required, level=level, is_alternative=is_alternative
            )
        for key in COMBINATOR_KEYS:
            if key not in schema:
                continue
            branches = _branches(schema[key])
            is_single = key == "allOf" or len([b for b in branches if not _is_null(b)]) == 1
            for branch in branches:
                self._merge(
                    branch,
                    view,
                    active,
                    counts_required=counts_required and is_single,
                    level=level + 1,
                    is_alternative=is_alternative
                    or not (is_single or key == "dependentSchemas")
                    or (key != "allOf" and _is_titled_value(branch)),
                )

    def _follow(
        self,
        reference: str,
        view: _View,
        active: _References,
        *,
        counts_required: bool,
        level: int,
        is_alternative: bool,
    ) -> None:
        target = self._references.resolve(reference)
        if reference not in active:
            self._merge(
                target,
                view,
                active | {reference},
                counts_required=counts_required,
                level=level + 1,
                is_alternative=is_alternative,
            )
        elif isinstance(target, dict):
            _merge_scalars(
                target, view, is_alternative=is_alternative
            )  # a schema inside itself: its properties are not read again
            if "properties" in target:
                view.types.setdefault("object")


def _merge_text(schema: object, view: _View) -> None:
    if not isinstance(schema, str):
        return
    lowered = schema.lower()
    if lowered in TYPE_ALIASES or lowered in JSON_TYPES:
        view.types.setdefault(TYPE_ALIASES.get(lowered, lowered))
    else:
        view.description = view.description or clean_text(schema)


def _merge_scalars(schema: Mapping[str, object], view: _View, *, is_alternative: bool) -> None:
    declared = schema.get("type")
    for name in declared if isinstance(declared, list) else [declared]:
        if isinstance(name, str) and name:
            view.types.setdefault(clean_text(shorten(TYPE_ALIASES.get(name.lower(), name.lower()), 40)))
    if schema.get("nullable") is True:
        view.types.setdefault("null")
    if is_alternative:
        _merge_alternative(schema, view)
    elif not view.description:
        view.description = as_text(schema.get("description"))
    if isinstance(values := schema.get("enum"), list):
        if not _LABEL_KEYS.isdisjoint(schema):
            _merge_labels(schema, values, view)
        view.enum += values[: max(0, MAX_ENUM_VALUES + 1 - len(view.enum))]
    if "const" in schema:
        view.enum.append(schema["const"])
    if view.default is None:
        view.default = schema.get("default")
    view.is_required |= schema.get("required") is True


def _merge_alternative(schema: Mapping[str, object], view: _View) -> None:
    """Keeps the title and the description of one alternative with its value, or with its type."""
    values = schema.get("enum")
    only = (
        schema["const"] if "const" in schema else values[0] if isinstance(values, list) and len(values) == 1 else None
    )
    value = "" if only is None else _value_text(only)
    title, description = schema.get("title"), as_text(schema.get("description"))
    is_titled = isinstance(title, str) and bool(title.strip()) and not _are_alike(title, value)
    words = " - ".join(dict.fromkeys(filter(None, (str(title) if is_titled else "", description))))
    if not words:
        return
    if only is not None:
        _add_label(view, value, words)
        return
    view.alternatives = view.alternatives or {}
    if len(view.alternatives) <= MAX_ALTERNATIVES:
        declared = schema.get("type")
        lead = f"{clean_text(shorten(declared.lower(), 40))}: " if isinstance(declared, str) and not is_titled else ""
        view.alternatives.setdefault(shorten(clean_text(words), _MAX_ALTERNATIVE_CHARS), lead)
        if len(words) > _MAX_ALTERNATIVE_CHARS and _CUT_ALTERNATIVES not in view.cuts:
            view.cuts += (_CUT_ALTERNATIVES,)


def _is_titled_value(schema: object) -> bool:
    return isinstance(schema, dict) and "const" in schema and isinstance(schema.get("title"), str)


def _merge_labels(schema: Mapping[str, object], values: list[object], view: _View) -> None:
    for key in sorted(_LABEL_KEYS.intersection(schema)):
        labels = schema.get(key)
        if isinstance(labels, dict):
            labels = [labels.get(_value_text(value)) for value in values[:MAX_ENUM_VALUES]]
        elif not isinstance(labels, list) or len(labels) != len(values):
            continue
        for value, label in zip(values[:MAX_ENUM_VALUES], labels, strict=False):
            if isinstance(label, str) and label.strip():
                _add_label(view, _value_text(value), label)


def _add_label(view: _View, value: str, label: str) -> None:
    view.labels = view.labels or {}
    if len(view.labels) <= MAX_ENUM_VALUES:
        view.labels.setdefault(value, clean_text(label))


def _labelled(text: str, labels: Mapping[str, str]) -> str:
    """Returns an allowed value with its title, as in ``fast: Fast delivery``."""
    label = labels.get(shorten(text, _MAX_VALUE_CHARS), "")
    shown = text or '""'
    return f"{shown}: {label}" if label and not _are_alike(label, text) else text


def _titled(
    parameter: Parameter, view: _View, schemas: Sequence[tuple[object, _References]], alternatives: Sequence[str]
) -> Parameter:
    """Adds the titles of a parameter to its description, if they say more, and then its alternatives of the tool.

    The titles are those of the parameter's own schema and of its elements.
    """
    own = next(filter(None, (_title_of(schema) for schema, _ in schemas)), "")
    words = [parameter.description]
    for title in dict.fromkeys((*(_title_of(item) for item, _ in view.items[:1]), own)):
        is_named = _are_alike(title, parameter.name) or _are_alike(f"{title}s", parameter.name)
        if title and not is_named and title.lower() not in parameter.description.lower():
            words.insert(0, title)
    described = " - ".join(filter(None, words))
    told = [text for text in alternatives if text not in described]
    return replace(parameter, description=" ".join(filter(None, (described, "; ".join(told)))))


def _title_of(schema: object) -> str:
    """Returns the title of a schema, or of its only alternative."""
    if not isinstance(schema, dict):
        return ""
    if isinstance(title := schema.get("title"), str):
        return as_text(title).strip()
    for key in ("anyOf", "oneOf"):
        branches = schema.get(key)
        only = [part for part in branches if not _is_null(part)] if isinstance(branches, list) else []
        if len(only) == 1 and not _is_titled_value(only[0]):
            return _title_of(only[0]) if only[0] is not schema else ""
    return ""


def _are_alike(title: str, value: str) -> bool:
    return "".join(filter(str.isalnum, title)).lower() == "".join(filter(str.isalnum, value)).lower()


def _description(view: _View) -> str:
    """Returns the description with those of the alternatives, each after its title or its type."""
    if not view.alternatives:
        return view.description or (_description(view.item) if view.item else "")
    described = list(view.alternatives.items())[:MAX_ALTERNATIVES]
    if len(described) == 1 and not view.description:
        return described[0][0]
    alternatives = "; ".join(lead + words for words, lead in described if words != view.description)
    return " ".join(part for part in (view.description, alternatives) if part)


def _merge_children(schema: Mapping[str, object], view: _View, active: _References, *, counts_required: bool) -> int:
    """Adds the subschemas to the view; returns how many parameters the schema has."""
    num_named = 0
    for name, part in _named(schema.get("properties")):
        num_named += 1
        if part is not False and (name in view.properties or len(view.properties) <= MAX_PARAMETERS):
            view.properties.setdefault(name, []).append((part, active))
    required = schema.get("required")
    if counts_required and isinstance(required, list):
        view.required.update(name for name in required if isinstance(name, str))
    for key in ("prefixItems", "items"):
        part = schema.get(key)
        parts = part if isinstance(part, list) else [part]
        view.items += [(item, active) for item in parts if isinstance(item, (dict, str))]
    patterns = schema.get("patternProperties")
    values = [schema.get("additionalProperties"), *(patterns.values() if isinstance(patterns, dict) else ())]
    view.values += [(part, active) for part in values if isinstance(part, dict)]
    return num_named + len(values)


def _named(properties: object) -> Iterator[tuple[str, object]]:
    if isinstance(properties, dict):
        yield from properties.items()
    elif isinstance(properties, list):
        for part in properties:
            if isinstance(part, dict) and isinstance(part.get("name"), str):
                yield part["name"], part
            elif isinstance(part, str):
                yield part, None


def _branches(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    is_map = isinstance(value, dict) and ROOT_KEYS.isdisjoint(value)
    return list(value.values()) if isinstance(value, dict) and is_map else [value]


def _is_null(schema: object) -> bool:
    return isinstance(schema, dict) and schema.get("type") in ("null", "NULL")


def _children(view: _View, prefix: str) -> Iterator[tuple[str, str, bool, list[tuple[object, _References]]]]:
    for name, schemas in view.properties.items():
        yield name, f"{prefix}.{name}" if prefix else name, name in view.required, schemas
    if view.item:
        yield from _children(view.item, f"{prefix}[]")
    if any(_is_informative(schema) for schema, _ in view.values):
        yield "*", f"{prefix}.*" if prefix else "*", False, view.values


def _is_informative(schema: object) -> bool:
    return isinstance(schema, dict) and not _INFORMATIVE_KEYS.isdisjoint(schema)


def _in_reading_order(branch: _Branch) -> Iterator[Parameter]:
    if branch.parameter:
        yield branch.parameter
    for child in branch.children:
        yield from _in_reading_order(child)


def _type_phrase(view: _View) -> str:
    names = [name for name in view.types if name and name != "null"] or _implied_types(view)
    phrases = [_array_phrase(view) if name == "array" else name for name in names]
    is_nullable = "null" in view.types or any(value is None for value in view.enum)
    if is_nullable:
        phrases.append("null")
    return " or ".join(phrases)


def _implied_types(view: _View) -> list[str]:
    if view.properties or view.values:
        return ["object"]
    if view.items:
        return ["array"]
    return list(dict.fromkeys(_type_of(value) for value in view.enum if value is not None))


def _array_phrase(view: _View) -> str:
    items = _type_phrase(view.item) if view.item else ""
    return f"array of {items}" if items else "array"


def _type_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _value_text(value: object) -> str:
    return shorten(_full_text(value), _MAX_VALUE_CHARS)


def _full_text(value: object) -> str:
    return clean_text(value) if isinstance(value, str) else as_json(value)
