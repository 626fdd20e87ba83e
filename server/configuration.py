"""Reads the server's settings from a file, the environment and flags, and remembers the source of each."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource

from shortlist.schemas.errors import InvalidConfiguration, nearest
from shortlist.server.settings import Settings

__all__ = ["CONFIG_VARIABLE", "Effective", "describe", "load_settings"]

_PREFIX = "SHORTLIST_"
# The path of the file if --config is not given; not a setting itself.
CONFIG_VARIABLE = "SHORTLIST_CONFIG"
# Used by other parts of the project: the client's key, and the path of a reference checkpoint for tests.
_NO_SETTINGS = (CONFIG_VARIABLE, "SHORTLIST_API_KEY", "SHORTLIST_JINA_DIR")
_MASK = "******"


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings in force, and the source of each that was set (`--port`, `SHORTLIST_PORT` or the file's path)."""

    settings: Settings
    sources: Mapping[str, str]


def load_settings(
    flags: Mapping[str, Any], *, file: Path | None = None, environment: Mapping[str, str] | None = None
) -> Effective:
    """Merges a TOML file, the environment (default: this process's) and flags; later ones override earlier ones.

    Raises:
        InvalidConfiguration: the file cannot be read, or a name or a value is invalid; the text says which.
    """
    environment = os.environ if environment is None else environment
    if file is None and environment.get(CONFIG_VARIABLE):
        file = Path(environment[CONFIG_VARIABLE])
    layers: list[tuple[dict[str, Any], Callable[[str], str]]] = [
        (_read_file(file), lambda _: str(file)),
        (_read_environment(environment), lambda name: _PREFIX + name.upper()),
        (dict(flags), lambda name: "--" + name.replace("_", "-")),
    ]
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for layer, name_source in layers:
        values |= layer
        sources |= {name: name_source(name) for name in layer}
    try:
        return Effective(Settings(**values), sources)
    except ValidationError as error:
        raise InvalidConfiguration(_explain(error, sources)) from None


def describe(effective: Effective) -> list[tuple[str, Any, str]]:
    """Lists the name, value and source of every setting, with secrets masked."""
    described = []
    for name, value in effective.settings.model_dump(mode="json").items():
        raw = getattr(effective.settings, name)
        shown = _MASK if isinstance(raw, SecretStr) else _without_password(value)
        described.append((name, shown, effective.sources.get(name, "default")))
    return described


def _without_password(value: Any) -> Any:
    """Masks the user and password of a URL."""
    return re.sub(r"(?<=://)[^/@]*@", f"{_MASK}@", value) if isinstance(value, str) else value


def _read_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidConfiguration(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfiguration(f"{file}: is not valid TOML: {error}") from error
    for name in values:
        if name not in Settings.model_fields:
            raise InvalidConfiguration(f"{file}: there is no setting {name!r}{nearest(name, Settings.model_fields)}")
    return values


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {_PREFIX + name.upper() for name in Settings.model_fields}
    for name in environment:
        if name.upper().startswith(_PREFIX) and name.upper() not in known and name not in _NO_SETTINGS:
            raise InvalidConfiguration(f"the variable {name} is not a setting{nearest(name.upper(), known)}")
    source: Any = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in environment.items()}
    found: dict[str, Any] = source()
    # Scripts often unset a variable by making it empty.
    return {name: value for name, value in found.items() if value != ""}


def _explain(error: ValidationError, sources: Mapping[str, str]) -> str:
    """Describes the first error in one line, without the value of a secret."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    text = first["msg"].removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    if not name:
        return text
    field = Settings.model_fields.get(name)
    is_secret = field is not None and "Secret" in str(field.annotation)
    value = "" if is_secret else f" is {first['input']!r}:"
    place = sources.get(name, name)
    is_file = place != name and not place.startswith(("--", _PREFIX))
    return f"{f'{place}: {name}' if is_file else place}{value} {text}"
