"""The `shortlist` command: parses the arguments, runs a subcommand and returns its exit code.

Exit codes: 0 success, 1 failure (one line on stderr describes it), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import os
import sys
from collections.abc import Callable, Sequence

from shortlist.schemas.errors import InvalidConfiguration, ShortlistError
from shortlist.server.cli import doctor, evaluation, export, health, keys, select, serve, settings
from shortlist.server.cli.output import drop_output

__all__ = ["build_parser", "main"]

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code; wrong usage raises SystemExit(2), as in argparse."""
    # Read when torch is loaded: threads of OpenMP that wait for each other sleep, and leave their cores to others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.stdout is None:  # some supervisors start a process without it
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lasts
    args = _parse(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        code = run(args)
        sys.stdout.flush()
    except InvalidConfiguration as error:
        return _fail(str(error), code=2)
    except ShortlistError as error:
        return _fail(str(error))
    except BrokenPipeError:
        drop_output()  # the reader stopped early (`| head`)
        return 0
    except KeyboardInterrupt:
        return _fail("interrupted")
    except Exception as error:  # the process boundary: an unexpected error is one line too
        _log.debug("unexpected error", exc_info=error)
        return _fail(f"unexpected {type(error).__name__}: {error}")
    return code


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of all subcommands."""
    parser = argparse.ArgumentParser(
        prog="shortlist", description="Picks the few tools or tables a language model needs for a query."
    )
    parser.add_argument("--version", action="version", version=f"shortlist {importlib.metadata.version('shortlist')}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    serve.add_parser(subparsers)
    settings.add_config_parser(subparsers)
    health.add_parser(subparsers)
    keys.add_parser(subparsers)
    doctor.add_parser(subparsers)
    select.add_parsers(subparsers)
    evaluation.add_parser(subparsers)
    export.add_parser(subparsers)
    return parser


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the arguments, including a PATH after an option; argparse reads positionals only before the first."""
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    own = getattr(args, "parser", parser)
    if rest and ("paths" not in args or any(part.startswith("-") and part != "-" for part in rest)):
        own.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.paths = [*args.paths, *rest]
    return args


def _fail(message: str, *, code: int = 1) -> int:
    print(f"shortlist: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
