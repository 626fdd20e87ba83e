"""Judges which objects hold tools: lists of tools, results and requests around them, servers, agents and namespaces.

An object with a name and a schema of its own is a tool, whatever else it holds. Without a schema, a list of tools makes
it a container, and its name is the namespace of these tools. Tools may also be the members of an object, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shortlist.schemas.tools.forms import (
    WRAPPER_KEYS,
    ToolForm,
    clean_text,
    description_text,
    has_name,
    has_schema,
    shorten,
)
from shortlist.schemas.tools.shapes import is_typed, layered_definitions

__all__ = [
    "MAX_LEVELS",
    "NAME_KEYS",
    "NO_GROUP",
    "ContainerRules",
    "Group",
    "is_mark",
    "is_record",
    "members_of",
    "namespace_group",
]

MAX_LEVELS = 8
"""Containers that may be nested in one another."""

_SHARED_LIST_KEYS = ("tools", "functions")
# Objects of requests and results that say nothing of their tools. A form's own envelopes are added to them.
_ENVELOPES = (
    "toolConfig", "tool_config", "data", "response", "request", "body", "params", "payload", "session", "config",
)  # fmt: skip
# Maps and lists of servers, agents and the like, each with a name.
_COLLECTIONS = (
    "servers", "mcpServers", "mcp_servers", "plugins", "agents", "handoffs", "sub_agents",
    "subAgents", "toolkits", "toolsets", "namespaces",
)  # fmt: skip
# Keys that say nothing of the tools under them.
_NEUTRAL_KEYS = frozenset(
    {"results", "actions", "items", "list", "input", "kwargs", "groups", "entries", "all", "available", "skills"}
)
_REQUEST_KEYS = frozenset({"messages", "contents", "input", "prompt", "jsonrpc"})
NAME_KEYS = ("name", "namespace", "server_label", "server_name", "serverName", "plugin_name", "server", "serverInfo")
"""Keys of the name of a container: of its own name, or of an object that has a name."""
_BODY_KEYS = frozenset({"parameters", "inputSchema", "input_schema", "args_schema", "parametersJsonSchema"})
_LISTED_ENVELOPES = frozenset({"data", "response", "result"})  # their lists may be lists of tools
_NOT_NAMES = _BODY_KEYS.union(
    WRAPPER_KEYS,
    ("$defs", "allOf", "anyOf", "definitions", "dependentSchemas", "items", "not", "oneOf", "paths"),
    ("patternProperties", "properties"),
)  # of tools: these keys are parts of a tool or of a schema
_MARKS = frozenset({"cachePoint", "cache_point"})
_MAX_NAME_CHARS = 200
_MAX_DESCRIPTION_CHARS = 1_000
_CUT_NAMES = f"names of namespaces longer than {_MAX_NAME_CHARS} characters are cut"
_CUT_DESCRIPTIONS = f"descriptions of namespaces longer than {_MAX_DESCRIPTION_CHARS:,} characters are cut"


def is_mark(value: object) -> bool:
    """Returns whether an entry of a list of tools is only a mark in it: a cache point of Bedrock."""
    return isinstance(value, dict) and len(value) == 1 and not _MARKS.isdisjoint(value)


def members_of(tools: Mapping[str, Any]) -> list[str]:
    """Returns the keys of the tools in an object of tools by their names, without its notes (`_meta`, `$schema`)."""
    return [key for key, member in tools.items() if not (key.startswith(("_", "$")) and _is_note(member))]


def is_record(value: object) -> bool:
    """Returns whether all members of an object are described tools without names: their keys are their names."""
    if not isinstance(value, dict):
        return False
    members = [value[key] for key in members_of(value)]
    return len(members) > 1 and all(
        isinstance(one, dict)
        and isinstance(one.get("description"), str)
        and not _BODY_KEYS.isdisjoint(one)
        and not has_name(one)
        and not is_typed(one)
        for one in members
    )


def _is_note(member: object) -> bool:
    if not isinstance(member, dict):
        return True
    return not isinstance(member.get("description"), str) and _BODY_KEYS.isdisjoint(member) and not has_name(member)


@dataclass(frozen=True, slots=True)
class Group:
    """What the objects around an entry say of it: their names and descriptions, and the key that names the entry.

    `cuts` are the kinds of texts that are cut in it, each with the name of the object. `definitions` are the parts of
    these objects that the references of OpenAPI lead to.
    """

    namespace: str = ""
    description: str = ""
    key: str = ""
    cuts: tuple[tuple[str, str], ...] = ()
    definitions: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.namespace or self.description or self.key or self.definitions)

    def with_definitions(self, definitions: Mapping[str, Any]) -> Group:
        """Returns this group with definitions."""
        return replace(self, definitions=definitions) if definitions else self

    def around(self, inner: Group) -> Group:
        """Returns the group of an entry of this group that is also in an inner one."""
        if not inner:
            return self
        # The key of a server in a map is its name, unless it has one; the key of a tool names the tool alone.
        return Group(
            namespace=".".join(dict.fromkeys(name for name in (self.namespace, inner.namespace) if name)),
            description=" ".join(dict.fromkeys(text for text in (self.description, inner.description) if text)),
            key=inner.key,
            cuts=(*self.cuts, *inner.cuts),
            definitions=layered_definitions(self.definitions, inner.definitions),
        )


NO_GROUP = Group()


class ContainerRules:
    """Tells containers from tools by their keys, for the given forms.

    `lists` has the keys of lists of tools, each with the form whose own list it is, None for those that all forms
    share. `envelopes` has the keys of objects that hold such lists.
    """

    def __init__(self, forms: Sequence[ToolForm]) -> None:
        self.lists: dict[str, ToolForm | None] = dict.fromkeys(_SHARED_LIST_KEYS)
        self.lists.update((key, form) for form in forms for key in form.list_keys)
        own_envelopes = frozenset(key for form in forms for key in form.envelope_keys)
        self.envelopes = own_envelopes.union(_ENVELOPES)
        self._keys_beside_name = own_envelopes.union(self.lists, _COLLECTIONS)
        self._keys_of_containers = self.envelopes.union(self.lists, _COLLECTIONS)
        self._wrappers = frozenset(form.wrapper for form in forms if form.wrapper)

    def keys_of(self, value: object, levels_left: int = MAX_LEVELS + 1) -> list[str]:
        """Returns the keys whose values hold tools; none if `value` is not a container.

        Past the last level every object counts as a container, so that reading it reports that it is too deep.
        """
        if not isinstance(value, dict):
            return []
        if levels_left and is_record(value):
            return members_of(value)
        if levels_left and self._keys_of_containers.isdisjoint(value):
            return members_of(value) if self._is_map_of_tools(value, levels_left) else []
        is_named = has_name(value)
        if is_named and self._keys_beside_name.isdisjoint(value):
            return []
        if self._is_tool(value, is_named=is_named):
            return []
        if levels_left == 0:
            return list(value)
        return [
            key
            for key, member in value.items()
            if (key in self.lists and self._is_list_of(value, member, levels_left, is_named=is_named))
            or (key in self.envelopes and self._is_envelope(key, member, levels_left, is_named=is_named))
            or (key in _COLLECTIONS and self._is_collection(member, levels_left))
        ]

    def lists_of_tools(self, tool: Mapping[str, Any]) -> list[str]:
        """Returns the keys of the lists of tools, and of agents with tools, in an object that is a tool itself."""
        if self._keys_beside_name.isdisjoint(tool):
            return []
        lists = [key for key in self.lists if isinstance(tool.get(key), list)]
        found = [key for key in lists if self._has_tools(tool[key], MAX_LEVELS)]
        return [*found, *(key for key in _COLLECTIONS if self._is_collection(tool.get(key), MAX_LEVELS))]

    def is_loose_map(self, key: str, member: Mapping[str, Any]) -> bool:
        """Returns whether the member under a key of a list is instead an object of tools by their names."""
        if key not in self.lists or has_name(member):
            return False
        return is_record(member) or (
            bool(members_of(member)) and not (_holds_named(member) or is_typed(member) or self.keys_of(member))
        )

    def group_of(self, container: Mapping[str, Any], key: str, *, is_map: bool) -> Group:
        """Returns what a container says of the entries under one of its keys."""
        if key in _NEUTRAL_KEYS and not is_map:
            return NO_GROUP
        if is_map or key not in self._keys_of_containers:
            member = container.get(key)
            if not isinstance(member, list) and not self.keys_of(member):
                return Group(key=clean_text(key))
            if not isinstance(member, dict):
                return namespace_group(clean_text(key))
            return NO_GROUP if _name_of(member) else namespace_group(clean_text(key), _describe(member))
        name = "" if not _REQUEST_KEYS.isdisjoint(container) else _name_of(container)
        return namespace_group(name, _describe(container)) if name else NO_GROUP

    def _is_tool(self, value: Mapping[str, Any], *, is_named: bool) -> bool:
        """Returns whether an object is a tool even if it holds a list of tools."""
        if is_named and has_schema(value):
            return True
        if not is_named and isinstance(value.get("title"), str) and isinstance(value.get("properties"), dict):
            return True
        wrapped = (value[key] for key in self._wrappers if isinstance(value.get(key), dict))
        return any(has_name(inner) or has_schema(inner) for inner in wrapped)

    def _is_list_of(self, holder: Mapping[str, Any], member: object, levels_left: int, *, is_named: bool) -> bool:
        if isinstance(member, list):
            is_container = not is_named or not member or holder.get("type") == "namespace"
            return is_container or self._has_tools(member, levels_left)
        if not isinstance(member, dict):
            return False
        num_tools = sum(isinstance(part, dict) and bool(part) for part in member.values())
        is_map = num_tools * 2 >= len(member) > 0 and not is_typed(member)
        return has_name(member) or _holds_named(member) or is_map or bool(self.keys_of(member, levels_left - 1))

    def _is_envelope(self, key: str, member: object, levels_left: int, *, is_named: bool) -> bool:
        if is_named and key not in self._keys_beside_name:
            return False
        if isinstance(member, list):
            described = (part for part in member if isinstance(part, dict) and (has_schema(part) or "tools" in part))
            return key in _LISTED_ENVELOPES and any(map(has_name, described))
        return bool(self.keys_of(member, levels_left - 1))

    def _is_collection(self, member: object, levels_left: int) -> bool:
        if isinstance(member, list):
            return any(self.keys_of(part, levels_left - 1) for part in member)
        return bool(self.keys_of(member, levels_left - 1))

    def _has_tools(self, listed: Sequence[object], levels_left: int) -> bool:
        return any(
            isinstance(part, dict)
            and (
                has_name(part)
                or any(isinstance(part.get(key), dict) for key in WRAPPER_KEYS)
                or (levels_left > 0 and bool(self.keys_of(part, levels_left - 1)))
            )
            for part in listed
        )

    def _is_map_of_tools(self, value: Mapping[str, Any], levels_left: int) -> bool:
        """Returns whether the members are tools or containers: at least one of them surely, and most of them.

        The others are reported by their keys.
        """
        if levels_left <= 1 or not value or not _NOT_NAMES.isdisjoint(value):
            return False
        is_sure, num_odd = False, 0
        members = members_of(value)
        for member in map(value.get, members):
            if isinstance(member, list):
                if not self._has_tools(member, levels_left - 1):
                    return False
                is_sure = True
            elif not isinstance(member, dict):
                num_odd += member is not None
            elif not member:
                continue
            elif is_typed(member):
                return False
            elif not _BODY_KEYS.isdisjoint(member) or self.keys_of(member, levels_left - 1) or self._is_wrapped(member):
                is_sure = True
            elif not isinstance(member.get("description"), str) and not isinstance(member.get("type"), str):
                return False
        return is_sure and 2 * num_odd < len(members)

    def _is_wrapped(self, member: Mapping[str, Any]) -> bool:
        return any(isinstance(member.get(key), dict) and has_schema(member[key]) for key in WRAPPER_KEYS)


def namespace_group(name: str, description: str = "") -> Group:
    """Returns the group of a namespace, with its texts cut to their limits."""
    short, text = shorten(name, _MAX_NAME_CHARS), shorten(description, _MAX_DESCRIPTION_CHARS)
    cuts = ((_CUT_NAMES, name != short), (_CUT_DESCRIPTIONS, description != text))
    return Group(short, text, cuts=tuple((kind, short) for kind, is_cut in cuts if is_cut))


def _describe(container: Mapping[str, Any]) -> str:
    return description_text(container.get("description"))


def _holds_named(tool: Mapping[str, Any]) -> bool:
    return any(isinstance(inner := tool.get(key), dict) and has_name(inner) for key in WRAPPER_KEYS)


def _name_of(container: Mapping[str, Any]) -> str:
    for key in NAME_KEYS:
        name = container.get(key)
        name = name.get("name") if isinstance(name, dict) else name
        if isinstance(name, str) and name.strip():
            return clean_text(name.strip())
    return ""
