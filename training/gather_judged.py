r"""Gathers the features of judged queries, whose answers in the pool are all known, for `fit_score.py`.

The sets are tools/tasks (with the queries that nothing fits), tables/real_schemas (the tables of the query's database),
and the pools of passages in benchmarks/passage_pools.json.gz. Of a database, the best 50 tables are scored.

    python training/gather_judged.py --data DATA --model router/models/shortlist-small --out build/train/judged.pt
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from gather import CANDIDATES, router_of
from judged import SCHEMAS, TASKS

from shortlist import Router
from shortlist.evaluation.dataset import Dataset, DatasetQuery, load_dataset
from shortlist.evaluation.ranking import Pools
from shortlist.router.checkpoints.native import read_folder
from shortlist.router.first_stage.candidates import Candidates

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from passage_pools import PARALLEL, pooled, read_pools

KINDS = ("tools", "tables", "documents")


def main() -> None:
    """Gathers the features of every judged query and saves them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--variant", help="the variant of the model")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--limit", type=int, help="gather only so many queries of each set, drawn at random")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    router = router_of(read_folder(options.model, variant=options.variant))
    gathered: list[dict[str, Any]] = []
    for name, data, scope in judged_sets(options.data, options.kinds):
        started = time.monotonic()
        queries = data.split("dev")
        pools = Pools(data, queries, scope)
        if options.limit and len(queries) > options.limit:
            queries = tuple(random.Random(0).sample(queries, options.limit))
        gathered += [score_query(router, name, data, query, pools.of(query)) for query in queries]
        print(f"{name}: {len(queries)} queries in {time.monotonic() - started:.0f} s", flush=True)
    torch.save({"candidates": gathered, "columns": []}, options.out)


def judged_sets(data: Path, kinds: list[str]) -> Iterator[tuple[str, Dataset, str]]:
    """Yields each set with its name, and the scope of its pools."""
    if "tools" in kinds:
        yield TASKS, load_dataset(data / TASKS), "corpus"
    if "tables" in kinds:
        yield SCHEMAS, load_dataset(data / SCHEMAS), "group"
    if "documents" in kinds:
        for name, pools in read_pools().items():
            if name == PARALLEL:  # for tests only
                continue
            yield f"docs/{name}", pooled(load_dataset(data / "docs" / name), pools), "corpus"


def score_query(router: Router, name: str, data: Dataset, query: DatasetQuery, items: Candidates) -> dict[str, Any]:
    """Returns a query's features `(candidates, 7)` as in fit_score.py, labels, and which would do as well."""
    text = router.query_text(query.query)
    places, features = router.features(text, items, data.kind, max_candidates=CANDIDATES)
    ids = [data.documents[items.items[place].index].id for place in places]
    pool = " ".join([name, query.group, *(query.candidates or ())[:3]])
    links = [(at, other) for at, linked in enumerate(items.links_among(places)) for other in linked]
    return {
        "set": name, "pool": pool, "query": text, "lang": query.lang, "style": query.style, "group": query.group,
        "features": torch.tensor([
            [one.logit, one.cosine, one.lexical_share, one.lexical_match, one.query_maxsim, one.document_maxsim,
             one.part_cosine] for one in features
        ]),
        "mentioned": torch.tensor([one.is_mentioned for one in features]),
        "labels": torch.tensor([float(one in query.relevant) for one in ids]),
        "alike": torch.tensor([one in query.acceptable for one in ids]),
        "links": torch.tensor(links, dtype=torch.long).view(-1, 2),
        "num_relevant": len(query.relevant), "num_ranked": len(places),
    }  # fmt: skip


if __name__ == "__main__":
    main()
