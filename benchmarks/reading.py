"""Checks that Shortlist loses no table, column, key or comment of the SQL scripts in a folder, and invents none.

    python benchmarks/reading.py SCRIPTS [--counts FILE] [--given] [--show 20] [--json]

What a script defines is said by libpg_query for PostgreSQL, by SQLite and DuckDB for their own scripts, and for every
other dialect by numbers that were counted by hand:

    {"shop.sql": {"dialect": "mysql", "tables": 12, "columns": 80, "primary keys": 12, "foreign keys": 9,
                  "table comments": 0, "column comments": 3}, "crm.sql": {"dialect": "postgres"}}

The columns of views are not counted by hand. A script without a dialect there has the one that Shortlist detects.
Shortlist reads every script without being given its dialect, or with --given as it is named there.

libpg_query comes with pglast, which is GPL-3.0-or-later, and is no dependency of Shortlist: install it beside it with
`pip install --target build/reading-tools pglast duckdb` and put that folder into PYTHONPATH. Scripts whose reader is
not installed are read, but not checked.

Comments: those that COMMENT declares must be found; `--` comments that Shortlist takes up as well are not counted. The
exit status is 1 if anything is lost or invented.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from facts import KINDS, Difference, TableFacts, compare, count, facts_of_all
from reading_engines import read_duckdb, read_sqlite
from reading_postgres import read_postgres

from shortlist.schemas.document import ParsedTables
from shortlist.schemas.errors import ShortlistError
from shortlist.schemas.sql.parse import parse_tables

Reader = Callable[[str], tuple[list[TableFacts], list[str]]]
# By dialect: the name of the reader, the package that it needs, and the reader.
READERS: dict[str, tuple[str, str, Reader]] = {
    "postgres": ("libpg_query", "pglast", read_postgres),
    "sqlite": ("SQLite", "sqlite3", read_sqlite),
    "duckdb": ("DuckDB", "duckdb", read_duckdb),
}
_COMMENTS = KINDS[4:]
_NAMED = 5  # of each group of differences


@dataclass(frozen=True, slots=True)
class Result:
    """What one script has, and what Shortlist made of it; `checked_by` is empty if there is nothing to compare with.

    `lost` and `invented` count by kind; `differences` name what is counted, unless only numbers are known.
    """

    name: str
    dialect: str
    parsed: ParsedTables
    found: Mapping[str, int]
    checked_by: str = ""
    expected: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    invented: Mapping[str, int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads and compares all scripts, and prints the table; returns the exit status."""
    options = parse(arguments)
    try:
        results = list(read_all(options.scripts, load_counts(options.counts), is_given=options.given))
    except (OSError, ValueError, ShortlistError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(as_json(results), indent=2) if options.json else "\n".join(lines(results, options.show)))
    return int(any(sum(result.lost.values()) + sum(result.invented.values()) for result in results))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("scripts", type=Path, metavar="SCRIPTS", help="a folder of *.sql files")
    parser.add_argument("--counts", type=Path, metavar="FILE", help="dialects and hand-made counts, as JSON")
    parser.add_argument("--given", action="store_true", help="tell Shortlist the dialect of each script")
    parser.add_argument("--show", type=int, default=20, metavar="N", help="differences shown per script (default: 20)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args(arguments)


def load_counts(path: Path | None) -> Mapping[str, Mapping[str, Any]]:
    """Returns the counts by the name of the script."""
    if path is None:
        return {}
    try:
        counts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(counts, dict) or not all(isinstance(entry, dict) for entry in counts.values()):
        raise ValueError(f"{path} must be an object that maps the name of each script to an object")
    for name, entry in counts.items():
        given = [kind for kind in KINDS if type(entry.get(kind)) is int]
        if missing := [kind for kind in KINDS if kind not in given and (given or kind in entry)]:
            raise ValueError(f"{path}: {name} has no number for {', '.join(missing)}; give all six or none")
    return counts


def read_all(folder: Path, counts: Mapping[str, Mapping[str, Any]], *, is_given: bool) -> Iterator[Result]:
    """Reads the scripts of a folder by name, and says on stderr how far it is."""
    scripts = sorted(folder.glob("*.sql"))
    if not scripts:
        raise ValueError(f"{folder} holds no *.sql files")
    for number, path in enumerate(scripts, 1):
        print(f"{number}/{len(scripts)} {path.name}", file=sys.stderr, flush=True)
        yield read(path, counts.get(path.name, {}), is_given=is_given)


def read(path: Path, entry: Mapping[str, Any], *, is_given: bool = False) -> Result:
    """Reads one script in both ways; `entry` holds its dialect and counts, or nothing."""
    script = path.read_text(encoding="utf-8", errors="replace")
    parsed = parse_tables(script, dialect=entry.get("dialect") if is_given else None)
    dialect = entry.get("dialect") or parsed.dialect
    found = list(facts_of_all(parsed.tables))
    result = Result(path.name, dialect or "generic", parsed, count(found))
    if KINDS[0] in entry:
        return check_numbers(result, {kind: entry[kind] for kind in KINDS})
    if dialect not in READERS:
        return replace(result, notes=("not checked: there are no counts",))
    name, package, reader = READERS[dialect]
    if find_spec(package) is None:
        return replace(result, notes=(f"not checked: {package} is not installed",))
    tables, notes = reader(script)
    return check_facts(replace(result, checked_by=name, notes=tuple(notes)), tables, found)


def check_numbers(result: Result, expected: Mapping[str, int]) -> Result:
    """Compares with counts made by hand."""
    lost = {kind: max(0, expected[kind] - result.found[kind]) for kind in KINDS}
    invented = {kind: max(0, result.found[kind] - expected[kind]) for kind in KINDS if kind not in _COMMENTS}
    return replace(result, checked_by="hand", expected=expected, lost=lost, invented=invented)


def check_facts(result: Result, expected: Sequence[TableFacts], found: Sequence[TableFacts]) -> Result:
    """Compares with what a parser or engine says."""
    differences = tuple(compare(expected, found))
    return replace(
        result,
        expected=count(expected),
        lost=Counter(one.kind for one in differences if one.is_lost),
        invented=Counter(one.kind for one in differences if not one.is_lost),
        differences=differences,
    )


def lines(results: Sequence[Result], show: int) -> Iterator[str]:
    """Yields the Markdown table, then what is lost or invented in each script."""
    yield f"| script | dialect | read as | checked by | {' | '.join(KINDS)} |"
    yield "|---|---|---|---|" + "---:|" * len(KINDS)
    for result in results:
        cells = [result.name, result.dialect, result.parsed.dialect or "generic", result.checked_by or "nothing"]
        yield f"| {' | '.join(cells + [cell(result, kind) for kind in KINDS])} |"
    num_lost = sum(sum(result.lost.values()) for result in results)
    num_invented = sum(sum(result.invented.values()) for result in results)
    num_checked = sum(bool(result.checked_by) for result in results)
    yield f"\nscripts: {len(results)}, checked: {num_checked}, lost (−): {num_lost:,}, invented (+): {num_invented:,}"
    for result in results:
        yield from details(result, show)


def cell(result: Result, kind: str) -> str:
    """Writes what a script has of one kind, and how many of them are lost (−) and invented (+)."""
    parts = [str(result.expected.get(kind, result.found[kind]))]
    parts += [f"−{result.lost[kind]}"] if result.lost.get(kind) else []
    parts += [f"+{result.invented[kind]}"] if result.invented.get(kind) else []
    return " ".join(parts)


def details(result: Result, show: int) -> Iterator[str]:
    """Yields the differences of one script, and the statements that either side could not read."""
    told = [*grouped(result.differences), *unparsed(result), *result.notes]
    if told and show:
        yield f"\n{result.name}"
        yield from (f"- {one}" for one in told[:show])
    if len(told) > show > 0:
        yield f"- and {len(told) - show} more"


def grouped(differences: Sequence[Difference]) -> Iterator[str]:
    """Yields a line for all differences of a table and kind, and one for all tables."""
    groups: dict[str, list[str]] = {}
    for one in differences:
        groups.setdefault(one.heading, []).append(one.what or one.table)
    for heading, group in groups.items():
        more = f" and {len(group) - _NAMED} more" if len(group) > _NAMED else ""
        yield f"{heading}: {', '.join(group[:_NAMED])}{more}"


def unparsed(result: Result) -> list[str]:
    """Says which statements Shortlist could not read."""
    return [f"line {one.line}: Shortlist: {one.name}: {one.reason}" for one in result.parsed.unparsed]


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Returns all results as JSON values."""
    return {
        result.name: {
            "dialect": result.dialect,
            "read_as": result.parsed.dialect,
            "checked_by": result.checked_by,
            "expected": dict(result.expected),
            "found": dict(result.found),
            "lost": {kind: number for kind, number in result.lost.items() if number},
            "invented": {kind: number for kind, number in result.invented.items() if number},
            "differences": [f"{one.heading}: {one.what or one.table}" for one in result.differences],
            "unparsed": unparsed(result),
            "notes": list(result.notes),
        }
        for result in results
    }


if __name__ == "__main__":
    raise SystemExit(main())
