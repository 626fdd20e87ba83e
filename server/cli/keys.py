"""The `keys` command: makes, lists and revokes API keys in the file that `serve --keys-file` reads."""

from __future__ import annotations

import argparse
import json
import math
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shortlist.schemas.errors import InvalidInput
from shortlist.server.cli.numbers import count, number
from shortlist.server.cli.output import print_rows

if TYPE_CHECKING:
    from shortlist.server.auth.keys import KeyEntry

__all__ = ["add_parser"]

_LIMITS = ("rate", "burst", "max_calls")
_COLUMNS = ("id", "name", "created", "expires", *_LIMITS)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `keys`."""
    parser = subparsers.add_parser(
        "keys",
        help="make, list and revoke API keys",
        description="Makes, lists and revokes API keys. The file holds only hashes of keys; a server reads it when it "
        "starts and on SIGHUP.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_add(commands)
    _add_list(commands)
    _add_revoke(commands)


def _add_add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "add",
        help="make a key and print it",
        description="Makes a key and prints it to stdout, once. A name may have several keys, for rotation.",
    )
    parser.add_argument("name", metavar="NAME", type=_name, help="name of the caller, as shown in logs")
    _add_file(parser, "file of keys; made if missing")
    parser.add_argument("--rate", type=_rate, metavar="R", help="requests per second; 0 = no limit")
    parser.add_argument(
        "--burst", type=count, metavar="N", help="requests that may be sent at once after a pause; 0 = twice the rate"
    )
    parser.add_argument("--max-calls", type=count, metavar="N", help="concurrent requests; 0 = no limit")
    parser.add_argument(
        "--expires",
        type=_moment,
        metavar="WHEN",
        help="last valid day (UTC), like 2030-12-31, or a time with its offset",
    )
    parser.set_defaults(run=_run_add)


def _add_list(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("list", help="list the keys", description="Lists the keys by id, and their limits.")
    _add_file(parser, "file of keys")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=_run_list)


def _add_revoke(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("revoke", help="remove a key", description="Removes a key from the file.")
    _add_file(parser, "file of keys")
    parser.add_argument("id", metavar="ID", help="id of the key, from `keys list`")
    parser.set_defaults(run=_run_revoke)


def _add_file(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument("--file", type=Path, required=True, metavar="FILE", help=help)


def _run_add(args: argparse.Namespace) -> int:
    from shortlist.server.auth.keys import KeysFile, locked, new_key, read_keys, write_keys

    limits = {name: getattr(args, name) for name in _LIMITS}
    key, entry = new_key(args.name, expires=args.expires, **limits)
    with locked(args.file):
        held = read_keys(args.file).keys if args.file.exists() else ()
        write_keys(args.file, KeysFile(keys=(*held, entry)))
    print(key)
    has_expired = entry.has_expired(datetime.now(UTC))
    when = "has already expired" if has_expired else "becomes valid once the server gets a SIGHUP"
    _note(f"made key {entry.id} for {entry.name}; it is not shown again, and it {when}")
    others = [other for other in held if other.name == entry.name]
    if any(getattr(other, name) != limits[name] for other in others for name in _LIMITS):
        _note(f"other keys of {entry.name} have different limits; all share one allowance, so give them equal limits")
    return 0


def _run_list(args: argparse.Namespace) -> int:
    from shortlist.server.auth.keys import read_keys

    listed = [_listed(entry) for entry in read_keys(args.file).keys]
    if args.json:
        print(json.dumps({"keys": listed}, indent=2))
    else:
        header = [column.replace("_", "-") for column in _COLUMNS]
        print_rows([header, *([_shown(row[column]) for column in _COLUMNS] for row in listed)])
    return 0


def _run_revoke(args: argparse.Namespace) -> int:
    from shortlist.server.auth.keys import KeysFile, locked, read_keys, write_keys

    with locked(args.file):
        held = read_keys(args.file).keys
        kept = tuple(entry for entry in held if entry.id != args.id)
        if len(kept) == len(held):
            raise InvalidInput(f"no key in {args.file} has this id; `shortlist keys list` shows them", field="ID")
        write_keys(args.file, KeysFile(keys=kept))
    _note(f"revoked key {args.id}; the server rejects it once it gets a SIGHUP")
    return 0


def _listed(entry: KeyEntry) -> dict[str, Any]:
    fields = entry.model_dump(mode="json", include=set(_COLUMNS))
    return {column: fields[column] for column in _COLUMNS} | {"is_expired": entry.has_expired(datetime.now(UTC))}


def _shown(value: object) -> str:
    return "-" if value is None else str(value)


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _name(text: str) -> str:
    import re

    from shortlist.server.auth.keys import NAME_PATTERN

    if not re.match(NAME_PATTERN, text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid name; use letters, digits and . _ @ -, at most 64")
    return text


def _rate(text: str) -> float:
    rate = number(text)
    if not 0.0 <= rate < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a valid rate; give 0 or more requests per second")
    return rate


def _moment(text: str) -> datetime:
    try:
        day = date.fromisoformat(text) + timedelta(days=1)
    except (ValueError, OverflowError):
        return _time(text)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError(
            f"{text} is neither a date like 2030-12-31 nor a time like 2030-12-31T18:00:00+01:00"
        )
    return moment
