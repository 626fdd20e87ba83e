"""The `doctor` command: says before a server starts what would keep it from serving, or from serving well."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from shortlist.schemas.errors import InvalidConfiguration
from shortlist.server.cli.settings import add_settings_parser, effective_settings

if TYPE_CHECKING:
    from shortlist.server.doctor import Finding

__all__ = ["add_parser"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `doctor`."""
    parser = add_settings_parser(
        subparsers,
        "doctor",
        help="check settings, machine and model before serving",
        description="Checks what `serve` would need with these settings: files, certificates, ports, the machine, and "
        "the model by ranking with it. Exit code 0: it would serve, warnings aside; 1: something is wrong.",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    findings = []
    for finding in _findings(args):
        findings.append(finding)
        if not args.json:
            _print(finding)
    if args.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        print(
            ", ".join(f"{sum(one.status == status for one in findings)} {status}" for status in ("ok", "warn", "fail"))
        )
    return int(any(finding.status == "fail" for finding in findings))


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    from shortlist.server.doctor import Finding, examine

    try:
        effective = effective_settings(args)
    except InvalidConfiguration as error:
        yield Finding("settings", "fail", str(error), "correct it; `shortlist config` shows what was set where")
        return
    yield Finding("settings", "ok", f"{len(effective.sources)} differ from the defaults")
    yield from examine(effective.settings)


def _print(finding: Finding) -> None:
    print(f"{finding.status:4}  {finding.name:15}  {finding.text}", flush=True)
    if finding.remedy:
        print(f"{'':4}  {'':15}  to mend it: {finding.remedy}", flush=True)
