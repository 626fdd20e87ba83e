"""Makes command-line flags from the server's settings, and reads the settings from them; the `config` command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shortlist.server.cli.output import print_values

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from shortlist.server.configuration import Effective

__all__ = ["SettingsParser", "add_config_parser", "add_settings_parser", "effective_settings"]

_NO_FLAG = ("SecretStr",)  # secrets must not show in the list of processes


class SettingsParser(argparse.ArgumentParser):
    """A parser with the settings as flags, added when it is used: an install of the client alone lacks pydantic."""

    _is_filled = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses, as argparse does."""
        if not self._is_filled:
            self._is_filled = True
            _add_flags(self)
        return super().parse_known_args(args, namespace)


def add_config_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `config`."""
    parser = add_settings_parser(
        subparsers,
        "config",
        help="print the server's settings and the source of each",
        description="Prints the settings that `serve` would use, and the source of each: the file, the environment, "
        "a flag or the default. Secrets are masked.",
    )
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=_run_config)


def add_settings_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], name: str, *, help: str, description: str
) -> argparse.ArgumentParser:
    """Adds a command that takes the settings as flags."""
    usual_class = subparsers._parser_class
    subparsers._parser_class = SettingsParser
    try:
        parser = subparsers.add_parser(name, help=help, description=description)
    finally:
        subparsers._parser_class = usual_class
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file of settings (default: $SHORTLIST_CONFIG)"
    )
    return parser


def effective_settings(args: argparse.Namespace) -> Effective:
    """Reads the settings from the arguments, the environment and the file.

    Raises:
        InvalidConfiguration: one of them is invalid.
    """
    from shortlist.server.configuration import load_settings
    from shortlist.server.settings import Settings

    flags = {name: value for name, value in vars(args).items() if name in Settings.model_fields}
    return load_settings(flags, file=args.config)


def _add_flags(parser: argparse.ArgumentParser) -> None:
    from shortlist.server.settings import Settings

    group = parser.add_argument_group("settings (also read from the file, and from the environment as SHORTLIST_NAME)")
    for name, field in Settings.model_fields.items():
        if not any(kind in str(field.annotation) for kind in _NO_FLAG):
            _add_flag(group, name, field)


def _add_flag(group: argparse._ArgumentGroup, name: str, field: FieldInfo) -> None:
    flag = f"--{name.replace('_', '-')}"
    text = (field.description or "").replace("%", "%%")
    if field.annotation is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
        return
    has_default = field.default not in (None, ())
    group.add_argument(
        flag,
        default=argparse.SUPPRESS,
        metavar=name.rsplit("_", 1)[-1].upper(),
        help=f"{text} (default: {field.default})" if has_default else text,
    )


def _run_config(args: argparse.Namespace) -> int:
    from shortlist.server.configuration import describe

    print_values(describe(effective_settings(args)), as_json=args.json)
    return 0
