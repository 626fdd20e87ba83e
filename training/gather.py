r"""Scores held-out queries with the cross-encoder and saves the features, so that fitting needs no model.

A query's candidates are the best of the first stage, and a few other documents drawn at random, from which the fit
makes small catalogs. The columns of held-out databases are scored too. `gather_judged.py` does the same for the judged
sets.

    python training/gather.py --data DATA --first-stage build/train/first_stage.pt --groups build/train/fused.jsonl \
        --model router/models/shortlist-small --out build/train/features.pt
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from shortlist import Router
from shortlist.evaluation.columns import gold_columns, tables_of_groups
from shortlist.evaluation.dataset import Dataset, DatasetQuery, load_dataset, load_queries
from shortlist.evaluation.ranking import dataset_item
from shortlist.router.checkpoints.loading import make_engines
from shortlist.router.checkpoints.native import LoadedModel, read_folder
from shortlist.router.engine.streams import DirectScorer
from shortlist.router.first_stage.candidates import Candidates
from shortlist.router.first_stage.embedder import RetrievalSettings
from shortlist.schemas.document import Table, Tool
from shortlist.schemas.serialise import split_name

CANDIDATES = 50
SPARE = 12  # more of the best, to replace the relevant ones in catalogs without them
RANDOM = 10
COLUMN_SETS = ("tables/spider", "tables/spider_syn", "tables/bird_train")


def main() -> None:
    """Gathers the features of every set and saves them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--first-stage", type=Path, nargs="+", required=True, help="the files that mine.py --features saved"
    )
    for name in ("data", "groups", "model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--variant", help="the variant of the model")
    parser.add_argument("--queries", type=int, default=20, help="queries per set")
    parser.add_argument("--column-queries", type=int, default=80, help="queries per set for columns")
    options = parser.parse_args()
    router = router_of(read_folder(options.model, variant=options.variant))
    first_stage: dict[str, Any] = {}
    for path in options.first_stage:
        first_stage |= torch.load(path, weights_only=True)
    gathered: list[dict[str, Any]] = []
    for name, kept in first_stage.items():
        started = time.monotonic()
        queries = random.Random(name).sample(kept["queries"], len(kept["queries"]))[: options.queries]
        data = load_dataset(options.data / name, only=set(kept["ids"]))
        if [document.id for document in data.documents] != kept["ids"]:
            raise SystemExit(f"{name}: the first stage's features belong to other documents; mine them again")
        whole = Candidates([dataset_item(document.item, place) for place, document in enumerate(data.documents)])
        gathered += [score_query(router, data, name, query, whole) for query in queries]
        print(f"{name}: {len(queries)} queries in {time.monotonic() - started:.0f} s", flush=True)
    columns = [one for name in COLUMN_SETS for one in score_columns(router, options, name)]
    torch.save({"candidates": gathered, "columns": columns}, options.out)


def router_of(loaded: LoadedModel) -> Router:
    """Makes a Router of a loaded model, as a server does."""
    engines, info = make_engines(loaded)
    return Router(loaded, engines, DirectScorer(engines), info)


def score_query(router: Router, data: Dataset, name: str, query: dict[str, Any], whole: Candidates) -> dict[str, Any]:
    """Returns a query's features `(candidates, 7)` as in fit_score.py, labels, and which read like a relevant one."""
    assert router.embedder is not None
    known = query["features"].float()
    chosen = choose_candidates(query, whole, router.embedder.settings)
    items = Candidates([dataset_item(data.documents[place].item, place) for place in chosen])
    by_words = items.first_stage(query["query"], None)  # mine.py has saved the other features
    _, features = router.features(query["query"], items, data.kind, found=by_words)
    relevant = set(query["relevant"])
    answers = [data.documents[place].item for place in relevant]
    logits = torch.tensor([one.logit for one in features])
    cosines, shares, *covered = known[:, torch.tensor(chosen)]
    return {
        "set": name, "query": query["query"], "lang": query["lang"],
        "features": torch.stack([logits, cosines, shares, shares * query["best_match"], *covered], 1),
        "labels": torch.tensor([float(place in relevant) for place in chosen]),
        "alike": torch.tensor([any(reads_alike(data.documents[p].item, a) for a in answers) for p in chosen]),
        "links": links_of(whole, chosen),
        "num_relevant": len(relevant), "num_ranked": min(known.shape[1], CANDIDATES + SPARE),
    }  # fmt: skip


def choose_candidates(query: dict[str, Any], whole: Candidates, settings: RetrievalSettings) -> list[int]:
    """Returns the places of the first stage's best candidates, followed by some random others."""
    scores = narrowing_scores(query["features"].float(), settings)
    joined = whole.best_joined(scores.numpy())
    if joined is not None:
        scores += settings.join_weight * torch.from_numpy(joined)
    order = torch.argsort(-scores, stable=True).tolist()
    rest = order[CANDIDATES + SPARE :]
    return order[: CANDIDATES + SPARE] + random.Random(query["query"]).sample(rest, min(RANDOM, len(rest)))


def links_of(whole: Candidates, chosen: Sequence[int]) -> torch.Tensor:
    """Returns the pairs of candidates that join, `(links, 2)`.

    Joins are resolved in the whole corpus, because a foreign key refers to the nearest table of its name.
    """
    at = {place: index for index, place in enumerate(chosen)}
    found = [(at[place], at[other]) for place in chosen for other in whole.links(place) if other in at]
    return torch.tensor(found, dtype=torch.long).view(-1, 2)


def narrowing_scores(known: torch.Tensor, settings: RetrievalSettings) -> torch.Tensor:
    """Returns the first-stage scores of a request, without joins, from the features `(5, documents)` of mine.py."""
    cosines, shares, of_query, of_document, _ = known
    return cosines + settings.lexical_weight * shares + settings.maxsim_weight * (of_query + of_document)


def reads_alike(one: Tool | Table, other: Tool | Table) -> bool:
    """Tells whether two documents are alike to a caller: they have the same name, or mostly the same words."""
    if split_name(one.name) == split_name(other.name):
        return True
    mine, theirs = _words(one), _words(other)
    return len(mine & theirs) >= 0.6 * max(min(len(mine), len(theirs)), 1)


def _words(item: Tool | Table) -> set[str]:
    if isinstance(item, Tool):
        return set(re.findall(r"\w+", f"{split_name(item.name)} {item.description}".lower()))
    return set(split_name(item.name).split()) | {split_name(column.name) for column in item.columns}


def score_columns(router: Router, options: argparse.Namespace, name: str) -> list[dict[str, Any]]:
    """Scores the columns of held-out databases for their questions; features `(columns, 3)` as in ColumnFeatures."""
    held_out = {
        (group["query"], group["group"])
        for group in map(json.loads, options.groups.open(encoding="utf-8"))
        if group["set"] == name and group["split"] == "dev"
    }
    databases = tables_of_groups(load_dataset(options.data / name))
    queries = [
        query
        for query in load_queries(options.data / name)
        if (query.text, query.group) in held_out and gold_columns(query)
    ]
    chosen = random.Random(name).sample(queries, min(options.column_queries, len(queries)))
    return [{"set": name} | _score_question(router, query, databases[query.group]) for query in chosen]


def _score_question(router: Router, query: DatasetQuery, tables: Sequence[Table]) -> dict[str, Any]:
    features, gold = router.column_features(query.text, tables), gold_columns(query)
    names = [f"{table.name}.{column.name}".lower() for table in tables for column in table.columns]
    features = [[one.logit, one.lexical_match, one.join_need] for one in features]
    labels = [float(column in gold) for column in names]
    return {"group": query.group, "features": torch.tensor(features), "labels": torch.tensor(labels)}


if __name__ == "__main__":
    main()
