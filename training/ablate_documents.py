r"""Compares forms of a document (prose, compact, JSON, DDL; whole and with parts left out) on held-out queries.

Each query ranks its relevant documents and its 40 nearest look-alikes. A model prefers the form that it was trained on,
so the forms are scored by a cross-encoder that was trained on all of them (`--run`, trained from the base with
`--any-form`). Without `--run` the encoder of the folder at `--model` scores them; use a folder with the base's encoder.

    python training/train.py ... --any-form --tokens 4e6 --out build/train/forms
    python training/ablate_documents.py --data DATA --groups build/train/groups.jsonl --base build/train/base \
        --model router/models/shortlist-small --run build/train/forms
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from documents import Group, read_groups
from export import load_cross_encoder
from forms import FORMS, Form
from gather import router_of

from shortlist import Router
from shortlist.evaluation.dataset import load_dataset
from shortlist.router.catalogs.catalog import Item, item_of_document
from shortlist.router.checkpoints.native import LoadedModel, read_folder
from shortlist.router.first_stage.candidates import Candidates
from shortlist.schemas.document import Table, Tool

SETS = (
    "tools/sealtools", "tools/mcp", "tools/openapi", "tools/openapi_zh", "tools/pyfunc", "tools/toolalpaca",
    "tables/spider", "tables/spider_syn", "tables/bird_train", "tables/ehrsql", "tables/archer",
)  # fmt: skip
MEASURES = ("hit@1", "recall@5")
RESAMPLES = 1000


def main() -> None:
    """Ranks the documents of every query in every form; prints a table for tools and one for tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "groups", "model"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--base", type=Path, help="the base's folder; needed with --run")
    parser.add_argument("--run", type=Path, help="the run of the cross-encoder that scores the forms")
    parser.add_argument("--queries", type=int, default=40, help="per set")
    options = parser.parse_args()
    loaded = read_folder(options.model)
    if options.run:
        loaded = replace(loaded, model=load_cross_encoder(options.base, options.run))
    router = router_of(loaded)
    groups = read_groups(options.groups, "dev")
    for kind, forms in FORMS.items():
        found: dict[str, list[np.ndarray]] = {form: [] for form in forms}  # by set, (queries, measures)
        for name in (one for one in SETS if one.startswith(kind)):
            pool = [group for group in groups if group.set == name]
            chosen = random.Random(name).sample(pool, min(options.queries, len(pool)))
            wanted = {one for group in chosen for one in (*group.positives, *group.lookalikes)}
            items = {d.id: d.item for d in load_dataset(options.data / name, only=wanted).documents}
            for title, form in forms.items():
                measured = [measure(router, loaded, group, items, form, by_encoder=not options.run) for group in chosen]
                found[title].append(np.array(measured))
        report(kind, found)


def measure(
    router: Router,
    loaded: LoadedModel,
    group: Group,
    items: dict[str, Tool | Table],
    form: Form,
    *,
    by_encoder: bool,
) -> tuple[float, float]:
    """Returns hit@1 and recall@5 of one query."""
    ids = sorted({*group.positives, *group.lookalikes[:40]})
    count, budget = loaded.tokenizer.count, loaded.document_tokens
    documents = [item_of_document(form(items[one])(count, budget), place) for place, one in enumerate(ids)]
    scores = (cosines if by_encoder else logits)(router, group.query, documents)
    order = [ids[place] for place in np.argsort(-np.array(scores), kind="stable")]
    positives = set(group.positives)
    return float(order[0] in positives), len(positives & set(order[:5])) / len(positives)


def logits(router: Router, query: str, documents: Sequence[Item]) -> list[float]:
    """Scores documents with the cross-encoder."""
    items = Candidates(documents)
    _, features = router.features(query, items, "tools", found=items.first_stage(query, None))
    return [one.logit for one in features]


def cosines(router: Router, query: str, documents: Sequence[Item]) -> list[float]:
    """Scores documents with the encoder."""
    if router.embedder is None:
        raise SystemExit("the model has no encoder")
    vectors = np.stack([one.vector for one in router.embedder.embed_documents(documents) if one is not None])
    scores: list[float] = (vectors @ router.embedder.embed_queries([query])[0].vector).tolist()
    return scores


def report(kind: str, found: dict[str, list[np.ndarray]]) -> None:
    """Prints the mean of each form over sets, and its difference from the first form over the same queries."""
    ours = next(iter(found.values()))
    print(f"\n| {kind} | " + " | ".join(f"{name} | difference" for name in MEASURES) + " |")
    print("|---|" + "---:|" * 2 * len(MEASURES), flush=True)
    for title, by_set in found.items():
        cells = []
        for place in range(len(MEASURES)):
            low, high = interval([mine[:, place] - other[:, place] for mine, other in zip(by_set, ours, strict=True)])
            mean = np.mean([one[:, place].mean() for one in by_set])
            cells.append(f"{mean:.3f} | " + ("" if by_set is ours else f"[{low:+.3f}, {high:+.3f}]"))
        print(f"| {title} | " + " | ".join(cells) + " |", flush=True)


def interval(differences: Sequence[np.ndarray]) -> tuple[float, float]:
    """Returns the 95 % interval of the mean over sets, by the bootstrap over the queries of each set."""
    rng = np.random.default_rng(0)
    means = [
        np.mean([rng.choice(one, len(one)).mean() for one in differences])  # every set weighs the same
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


if __name__ == "__main__":
    main()
