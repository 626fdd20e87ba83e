"""Compares the time to choose a few of many tools or tables, and how well it is done, by several ways side by side.

    python benchmarks/choose.py --data DATA [--tools FILE] [--sizes 20,175,1000] [--rounds 3] [--save FOLDER]

Each way is prepared with a catalog, and then asked warm queries, in rounds in which all take turns. The catalogs are of
`examples/tools` up to 175 tools, and of FILE (JSON lines with `tool`, as in a set's corpus) beyond. The quality is that
of the same ways on the judged dev sets under DATA (wishes with some 36 tools, questions over real schemas), on queries
drawn once with seed 0. `--quick` times Shortlist alone over 175 tools and prints the line CHOOSE.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from choosers import OURS, Choosers, Named
from peers import Exports, weights_digest
from rounds import run_rounds
from saving import add_saving, save

from shortlist import Catalog
from shortlist.evaluation.dataset import load_dataset
from shortlist.evaluation.ranking import Pools
from shortlist.router.checkpoints.loading import load_model
from shortlist.schemas.conversation import query_text, read_query
from shortlist.schemas.errors import ShortlistError
from shortlist.schemas.options import Kind

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TOOL_QUERIES = (
    "refund a card payment", "email the report to Ada", "which meetings do I have tomorrow", "rotate the API key",
    "reserva una sala para seis personas", "was kostet das Paket nach Wien", "close the ticket and thank the customer",
    "convert 20 euro to yen", "add a column for the due date to the sheet", "who is on call this weekend",
)  # fmt: skip
TABLE_QUERIES = (
    "unpaid invoices by city", "which products sold best last month", "employees hired in 2024", "late shipments",
    "durchschnittliche Bewertung je Kategorie", "open tickets of each customer",
)  # fmt: skip
QUICK_SIZE = 175
MOST_CHARS = 1_000  # of a judged query
# The judged sets, each with its kind and scope.
SETS: tuple[tuple[str, Kind, str], ...] = (
    ("tools/tasks", "tools", "corpus"),
    ("tables/real_schemas", "tables", "group"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One judged query with its catalog, and the places of the needed and of the acceptable items."""

    query: str
    catalog: Catalog
    needed: frozenset[int]
    acceptable: frozenset[int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints the results; returns the exit status."""
    options = parse(arguments)
    try:
        save(measure(options), "choose", quick_lines if options.quick else table, options)
    except ShortlistError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the folder with tools/ and tables/; without it no quality")
    parser.add_argument("--tools", type=Path, help="the corpus.jsonl of a larger catalog")
    parser.add_argument("--sizes", default="20,175,1000,7523", help="numbers of tools")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=60, help="judged queries of each set")
    parser.add_argument("--quick", action="store_true", help=f"Shortlist alone, {QUICK_SIZE} tools")
    parser.add_argument("--base", type=Path, default=Path("build/train/base"), help="the folder of the embedder's base")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="the folder for exported models")
    add_saving(parser)
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Times all ways over all catalogs, and measures their quality."""
    loaded = load_model("built-in")
    exports = Exports(loaded, options.out / f"{loaded.name}-{loaded.version}-{weights_digest(loaded)}")
    choosers = Choosers(exports, options.base, options.out, document_tokens=loaded.document_tokens)
    known = [one for one in choosers.installed() if not options.quick or one.name == OURS]
    found: dict[str, Any] = {"model": f"{loaded.name} {loaded.version}", "ms": {}, "quality": {}}
    for name, catalog, queries in catalogs(options):
        print(f"timing {name}", file=sys.stderr, flush=True)
        usable = [one for one in known if len(catalog.items) <= one.most]
        found["ms"][name] = timed(usable, catalog, queries, options.rounds)
    if options.data and not options.quick:
        for name, kind, scope in SETS:
            print(f"measuring the quality on {name}", file=sys.stderr, flush=True)
            asked = list(judged(options.data / name, kind, scope, options.queries))
            found["quality"][name] = {one.name: quality(one, asked) for one in known}
    return found


def catalogs(options: argparse.Namespace) -> Iterator[tuple[str, Catalog, Sequence[str]]]:
    """Yields the catalogs to time: tools of several numbers, and the example schema."""
    examples = [path.read_text(encoding="utf-8") for path in sorted((EXAMPLES / "tools").glob("*.json"))]
    few = list(Catalog.of_tools(examples).items)
    random.Random(0).shuffle(few)
    sizes = [QUICK_SIZE] if options.quick else [int(size) for size in options.sizes.split(",")]
    many = read_corpus(options.tools, max(sizes)) if options.tools else []
    for size in sizes:
        items = few[:size] if size <= len(few) else many[:size]
        if len(items) == size:
            yield f"{size:,} tools", numbered("tools", items), TOOL_QUERIES
    if not options.quick:
        tables = Catalog.of_tables((EXAMPLES / "schema.sql").read_text(encoding="utf-8"))
        yield f"{len(tables.items)} tables", tables, TABLE_QUERIES


def read_corpus(path: Path, most: int) -> list[Any]:
    """Reads the items of a set's tools."""
    with path.open(encoding="utf-8") as lines:
        texts = [json.dumps(json.loads(line)["tool"]) for line, _ in zip(lines, range(most), strict=False)]
    return list(Catalog.of_tools(texts).items)


def numbered(kind: Kind, items: Sequence[Any]) -> Catalog:
    """Makes a catalog of items, whose indices are their places."""
    placed = tuple(replace(item, index=place) for place, item in enumerate(items))
    digest = "\n".join(f"{item.name} {item.words}" for item in placed).encode()
    return Catalog(kind, placed, digest=digest)


def timed(ways: Sequence[Named], catalog: Catalog, queries: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Returns the milliseconds of each warm query by way."""
    times: dict[str, list[float]] = {one.name: [] for one in ways}

    def run(one: Named) -> Any:
        choose = one.make(catalog)

        def ask() -> None:
            for query in queries:
                began = time.perf_counter()
                choose(query)
                times[one.name].append((time.perf_counter() - began) * 1_000)

        return ask

    run_rounds({one.name: run(one) for one in ways}, rounds)
    return {name: found[len(queries) :] for name, found in times.items()}  # without the round to warm up


def judged(folder: Path, kind: Kind, scope: str, number: int) -> Iterator[Asked]:
    """Draws judged queries, several of each catalog, so that few catalogs have to be prepared."""
    data = load_dataset(folder)
    queries = [query for query in data.split("dev") if query.relevant]
    pools = Pools(data, queries, scope)
    by_pool: dict[tuple[str, ...], list[Any]] = {}
    for query in queries:
        by_pool.setdefault(tuple(query.candidates or (query.group,)), []).append(query)
    names = sorted(by_pool)
    random.Random(0).shuffle(names)
    drawn = [(name, query) for name in names for query in by_pool[name][:3]][:number]
    made: dict[tuple[str, ...], tuple[Catalog, list[str]]] = {}
    for name, query in drawn:
        if name not in made:
            items = pools.of(query).items
            made[name] = numbered(kind, items), [data.documents[item.index].id for item in items]
        catalog, ids = made[name]
        needed, acceptable = (
            frozenset(place for place, one in enumerate(ids) if one in wanted)
            for wanted in (query.relevant, query.acceptable)
        )
        # Peers cut a long text at its end, where a conversation has its wish.
        yield Asked(query_text(read_query(query.query))[-MOST_CHARS:], catalog, needed, acceptable)


def quality(way: Named, asked: Sequence[Asked]) -> dict[str, float]:
    """Returns hit@1 (acceptable items count), and recall@5 and complete@5 of the needed ones, as means."""
    prepared: dict[bytes, Any] = {}
    values = []
    for one in asked:
        if one.catalog.digest not in prepared:
            prepared = {one.catalog.digest: way.make(one.catalog)}
        order = list(prepared[one.catalog.digest](one.query))
        recall = len(one.needed & set(order[:5])) / len(one.needed)
        values.append([order[0] in one.needed | one.acceptable, recall, recall == 1])
    means = np.mean(np.asarray(values, float), 0).tolist() if values else [0.0] * 3
    return dict(zip(("hit@1", "recall@5", "complete@5"), means, strict=True))


def quick_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Writes the line of --quick, which scripts can parse."""
    for name, times in found["ms"].items():
        yield f"CHOOSE {name.split()[0].replace(',', '')} {np.percentile(times[OURS], 50):.1f}"


def table(found: Mapping[str, Any]) -> Iterator[str]:
    """Writes p50 and p99 by catalog, and the quality, a row for each way."""
    ways = list(next(iter(found["ms"].values())))
    qualities = [(name, key) for name in found["quality"] for key in ("hit@1", "recall@5", "complete@5")]
    yield f"{found['model']}; milliseconds of a warm query, p50 · p99"
    yield ""
    yield "| | " + " | ".join([*found["ms"], *(f"{name.split('/')[1]} {key}" for name, key in qualities)]) + " |"
    yield "|---|" + "---:|" * (len(found["ms"]) + len(qualities))
    for way in ways:
        cells = [
            f"{np.percentile(times[way], 50):,.1f} · {np.percentile(times[way], 99):,.1f}" if way in times else "–"
            for times in found["ms"].values()
        ]
        cells += [f"{found['quality'][name][way][key]:.3f}" for name, key in qualities]
        yield f"| {way} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
