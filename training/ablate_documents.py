r"""Compares forms of a document on held-out queries: prose, compact, JSON, DDL, with and without their parts.

Each query's pool is what answers it and its 40 nearest look-alikes. Forms are ranked by an encoder (give the untrained
base's folder for an impartial judge: a trained model prefers the form that it was trained on), or with
`--cross-encoder` by the model's cross-encoder instead.

    python training/ablate_documents.py --data DATA --groups build/train/fused.jsonl --model MODEL [--cross-encoder]
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from documents import Group, read_groups

from shortlist.router import Router
from shortlist.router.candidates import Item, ItemSet
from shortlist.router.dataset import load_dataset
from shortlist.router.run import Clock, Run
from shortlist.router.selection import Rules
from shortlist.schemas.document import Table, Tool
from shortlist.schemas.serialise import CountTokens, split_name, table_document, tool_document

SETS = (
    "tools/sealtools", "tools/mcp", "tools/openapi", "tools/openapi_zh", "tools/pyfunc", "tools/toolalpaca",
    "tables/spider", "tables/spider_syn", "tables/bird_train", "tables/ehrsql", "tables/archer",
)  # fmt: skip
Write = Callable[[CountTokens | None, int | None], str]


def main() -> None:
    """Ranks every pool in every form and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "groups", "model"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=40, help="per set")
    parser.add_argument("--cross-encoder", action="store_true", help="rank by the cross-encoder instead of the encoder")
    options = parser.parse_args()
    router = Router.load(options.model)
    groups = read_groups(options.groups, "dev")
    for kind, forms in (("tools", TOOL_FORMS), ("tables", TABLE_FORMS)):
        found = {form: {"hit@1": [], "recall@5": []} for form in forms}  # type: dict[str, dict[str, list[float]]]
        for name in (one for one in SETS if one.startswith(kind)):
            pool = [group for group in groups if group.set == name]
            chosen = random.Random(name).sample(pool, min(options.queries, len(pool)))
            wanted = {one for group in chosen for one in (*group.positives, *group.lookalikes)}
            items = {d.id: d.item for d in load_dataset(options.data / name, only=wanted).documents}
            for form, write in forms.items():
                measured = [measure(router, group, items, write, options.cross_encoder) for group in chosen]
                for place, measure_name in enumerate(("hit@1", "recall@5")):
                    found[form][measure_name].append(sum(one[place] for one in measured) / len(measured))
        print(f"\n| {kind} | hit@1 | recall@5 |\n|---|---:|---:|")
        for form, values in found.items():
            cells = [f"{sum(values[name]) / len(values[name]):.3f}" for name in ("hit@1", "recall@5")]
            print(f"| {form} | {cells[0]} | {cells[1]} |", flush=True)


def measure(
    router: Router,
    group: Group,
    items: dict[str, Tool | Table],
    write: Callable[[Tool | Table], Write],
    cross_encoder: bool,
) -> tuple[float, float]:
    """Returns hit@1 and recall@5 of one query."""
    ids = sorted({*group.positives, *group.lookalikes[:40]})
    documents = [Item(one, place, "", "", "", write(items[one])) for place, one in enumerate(ids)]
    scores = score(router, group.query, documents, cross_encoder)
    order = [ids[place] for place in np.argsort(-np.array(scores), kind="stable")]
    positives = set(group.positives)
    return float(order[0] in positives), len(positives & set(order[:5])) / len(positives)


def score(router: Router, query: str, documents: Sequence[Item], cross_encoder: bool) -> list[float]:
    """Scores documents by one of the two models."""
    if cross_encoder:
        run = Run(query, Rules(), 0, Clock())
        items = ItemSet(documents)
        _, evidence, _ = router.gather_evidence(run, items, frozenset(), items.first_stage(query, None))
        return [one.logit for one in evidence]
    if router.embedder is None:
        raise SystemExit("the model has no encoder")
    vectors = np.stack([one.vector for one in router.embedder.embed_documents(documents) if one is not None])
    wanted = router.embedder.embed_queries([query])[0].vector
    scores: list[float] = (vectors @ wanted).tolist()
    return scores


def tool_prose(change: Callable[[Tool], Tool]) -> Callable[[Tool], Write]:
    """Our own form of a changed tool."""
    return lambda tool: lambda count, budget: tool_document(change(tool), count_tokens=count, budget_tokens=budget)


def table_prose(change: Callable[[Table], Table]) -> Callable[[Table], Write]:
    """Our own form of a changed table."""
    return lambda table: lambda count, budget: table_document(change(table), count_tokens=count, budget_tokens=budget)


def plain(text: Callable[[Tool | Table], str]) -> Callable[[Tool | Table], Write]:
    """A form that is cut at the budget, wherever that falls."""
    return lambda item: lambda _count, _budget: text(item)


def tool_json(tool: Tool) -> str:
    """The schema as an API would get it."""
    properties = {p.path: {"type": p.type, "description": p.description} for p in tool.parameters}
    return json.dumps(
        {"name": tool.name, "description": tool.description, "parameters": {"properties": properties}},
        ensure_ascii=False,
    )


def tool_signature(tool: Tool) -> str:
    """A Python signature with the description as its docstring."""
    arguments = ", ".join(f"{p.path}: {p.type or 'any'}" for p in tool.parameters if p.depth == 0)
    return f"{tool.name}({arguments})  # {tool.description}"


def table_ddl(table: Table) -> str:
    """A CREATE TABLE statement, comments left out."""
    lines = [f"{column.name} {column.type}" for column in table.columns]
    lines += [f"foreign key ({', '.join(k.columns)}) references {k.target_table}" for k in table.foreign_keys]
    return f"CREATE TABLE {table.full_name} ({', '.join(lines)})"


def table_compact(table: Table) -> str:
    """The form that many text-to-SQL prompts use."""
    return f"{table.full_name}({', '.join(column.name for column in table.columns)})"


def unsplit(name: str) -> str:
    """Hides from the writer that a name has parts."""
    return split_name(name).replace(" ", "")


TOOL_FORMS = {
    "prose (ours)": tool_prose(lambda t: t),
    "prose, no types": tool_prose(lambda t: replace(t, parameters=tuple(replace(p, type="") for p in t.parameters))),
    "prose, no enums or defaults": tool_prose(
        lambda t: replace(t, parameters=tuple(replace(p, enum=(), default=None) for p in t.parameters))
    ),
    "prose, no parameter descriptions": tool_prose(
        lambda t: replace(t, parameters=tuple(replace(p, description="") for p in t.parameters))
    ),
    "prose, no parameters": tool_prose(lambda t: replace(t, parameters=())),
    "prose, no description": tool_prose(lambda t: replace(t, description="")),
    "prose, names not split": tool_prose(lambda t: replace(t, name=unsplit(t.name))),
    "prose, no namespace": tool_prose(lambda t: replace(t, namespace="")),
    "signature": plain(tool_signature),
    "JSON": plain(tool_json),
}
TABLE_FORMS = {
    "prose (ours)": table_prose(lambda t: t),
    "prose, no types": table_prose(lambda t: replace(t, columns=tuple(replace(c, type="") for c in t.columns))),
    "prose, no comments": table_prose(
        lambda t: replace(t, comment="", columns=tuple(replace(c, comment="", enum=()) for c in t.columns))
    ),
    "prose, no foreign keys": table_prose(lambda t: replace(t, foreign_keys=())),
    "prose, no columns": table_prose(lambda t: replace(t, columns=())),
    "prose, names not split": table_prose(
        lambda t: replace(t, name=unsplit(t.name), columns=tuple(replace(c, name=unsplit(c.name)) for c in t.columns))
    ),
    "compact": plain(table_compact),
    "DDL": plain(table_ddl),
}


if __name__ == "__main__":
    main()
