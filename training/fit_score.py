"""Fits how the cross-encoder's logit and BM25 make one score, on queries held out of training.

Two steps: the direction by listwise likelihood over each query's candidates, then scale and bias by binary
cross-entropy, every query weighing the same, so that a score reads as a probability.

    python training/fit_score.py --data DATA --groups build/train/groups.jsonl --model router/models/shortlist-small
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone knows it by)

from shortlist.router import Router
from shortlist.router.candidates import ItemSet
from shortlist.router.dataset import load_dataset
from shortlist.router.evaluation import dataset_item
from shortlist.router.run import Clock, Run
from shortlist.router.selection import Rules

# Large corpora and tiny sets are left out: the first for time, the second for noise.
SETS = (
    "tools/toole", "tools/sealtools", "tools/ha_intents", "tools/sgd", "tools/mcp", "tools/acebench_en",
    "tools/acebench_zh", "tools/rotbench", "tools/toolrl_rlla", "tables/spider", "tables/spider_syn",
    "tables/bird_train", "tables/statbot_swiss",
)  # fmt: skip
CANDIDATES = 50

Query = tuple[str, torch.Tensor, torch.Tensor]  # set, features (candidates, 2), labels (candidates,)


def main() -> None:
    """Gathers evidence, fits, reports, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "groups", "model"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=16, help="per set")
    parser.add_argument("--evidence", type=Path, help="keep the gathered evidence here, and read it if it is there")
    options = parser.parse_args()
    if options.evidence and options.evidence.exists():
        gathered = torch.load(options.evidence, weights_only=True)
    else:
        gathered = gather(options)
        if options.evidence:
            torch.save(gathered, options.evidence)
    direction = fit_direction(gathered)
    weights = fit_scale(gathered, direction)
    report(gathered, direction)
    described_path = options.model / "shortlist.json"
    described = json.loads(described_path.read_text(encoding="utf-8"))
    described["score_weights"] = {name: round(value, 4) for name, value in weights.items()}
    described_path.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    print(described["score_weights"])


def gather(options: argparse.Namespace) -> list[Query]:
    """Runs both stages for the held-out queries of each set."""
    router = Router.load(options.model)
    groups = [group for group in map(json.loads, options.groups.open(encoding="utf-8")) if group["split"] == "dev"]
    gathered = []
    for name in SETS:
        data = load_dataset(options.data / name)
        items = ItemSet([dataset_item(document.item, place) for place, document in enumerate(data.documents)])
        chosen = [group for group in groups if group["set"] == name][: options.queries]
        for group in chosen:
            run = Run(group["query"], Rules(), CANDIDATES, Clock())
            places, evidence, _ = router.gather_evidence(run, items, frozenset())
            features = torch.tensor([[e.logit, e.lexical_share] for e in evidence])
            labels = torch.tensor([float(data.documents[place].id in group["positives"]) for place in places])
            gathered.append((name, features, labels))
        print(f"{name}: {len(chosen)} queries", flush=True)
    return gathered


def fit_direction(gathered: list[Query]) -> torch.Tensor:
    """Maximises the likelihood of each relevant candidate among the irrelevant ones; returns `(2,)`."""
    weights = torch.tensor([1.0, 1.0], requires_grad=True)
    found = [(features, labels) for _, features, labels in gathered if 0 < labels.sum() < len(labels)]

    def loss() -> torch.Tensor:
        return torch.stack([listwise(features @ weights, labels) for features, labels in found]).mean()

    minimise(loss, [weights])
    return weights.detach()


def fit_scale(gathered: list[Query], direction: torch.Tensor) -> dict[str, float]:
    """Fits scale and bias so that scores read as probabilities."""
    scale, bias = torch.tensor(1.0, requires_grad=True), torch.tensor(0.0, requires_grad=True)

    def loss() -> torch.Tensor:
        parts = [
            F.binary_cross_entropy_with_logits(scale * (features @ direction) + bias, labels)
            for _, features, labels in gathered
        ]
        return torch.stack(parts).mean()

    minimise(loss, [scale, bias])
    logit, share = (float(value) for value in scale.detach() * direction)
    return {"bias": float(bias.detach()), "logit": logit, "lexical_share": share}


def listwise(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns the mean cross-entropy of each relevant candidate against all irrelevant ones."""
    others = torch.logsumexp(scores[labels == 0], 0)
    relevant = scores[labels == 1]
    return (torch.logaddexp(relevant, others) - relevant).mean()


def minimise(loss: Any, parameters: list[torch.Tensor]) -> None:
    """Runs L-BFGS to convergence; the problems are convex."""
    optimizer = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value: torch.Tensor = loss()
        value.backward()
        return value

    optimizer.step(closure)


def report(gathered: list[Query], direction: torch.Tensor) -> None:
    """Prints hit@1 and recall@5 per set for BM25, the logit alone and both."""
    views = {"bm25": torch.tensor([0.0, 1]), "logit": torch.tensor([1.0, 0]), "both": direction}
    print(f"{'set':<22}" + "".join(f"{name + ' hit@1/R@5':>20}" for name in views))
    for name in dict.fromkeys(one for one, _, _ in gathered):
        found = [(f, y) for one, f, y in gathered if one == name and y.sum() > 0]
        cells = []
        for view in views.values():
            orders = [(y[torch.argsort(-(f @ view), stable=True)], y) for f, y in found]
            hit = sum(float(ranked[0]) for ranked, _ in orders) / len(orders)
            recall = sum(float(ranked[:5].sum() / y.sum()) for ranked, y in orders) / len(orders)
            cells.append(f"{hit:.2f} / {recall:.2f}")
        print(f"{name:<22}" + "".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    main()
