r"""Trains the cross-encoder on mined groups, on a CPU, resumable.

Per query, every relevant document is set against the same negatives (listwise cross-entropy), plus a share of binary
cross-entropy that keeps logits comparable between queries. Word embeddings stay frozen, so they re-pack to their 4 bits
without loss; so do the lowest layers, which saves a third of the time.

    python training/train.py --data DATA --groups build/train/groups.jsonl --base build/train/base \
        --out build/train/run1
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone knows it by)
from base import load_base
from torch import nn

from shortlist.router.attention import BucketedAttention
from shortlist.router.dataset import load_dataset
from shortlist.router.encoding import Pair, Tokenizer
from shortlist.router.model import CrossEncoder
from shortlist.router.packing import pack
from shortlist.schemas.document import Table, Tool
from shortlist.schemas.serialise import table_document, tool_document

BINARY_SHARE = 0.3
DOCUMENT_BUDGETS = (40, 64, 80, 112)
MAX_QUERY_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Example:
    """One query's pairs; the first `num_positives` are relevant."""

    pairs: list[Pair]
    num_positives: int


def main() -> None:
    """Trains, logging a line a minute and saving a checkpoint every five."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "groups", "base", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--lr", type=float, default=1.5e-4)
    parser.add_argument("--minutes", type=float, default=75, help="the schedule ends here, whatever was read by then")
    parser.add_argument("--groups-per-step", type=int, default=8)
    parser.add_argument("--frozen-layers", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    Training(options).run()


class Training:
    """One run: the model, its optimizer and the place in the data."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.model, self.tokenizer = load_base(options.base)
        prepare(self.model, options.frozen_layers)
        self.optimizer = make_optimizer(self.model, options.lr)
        self.base_lrs = [group["lr"] for group in self.optimizer.param_groups]
        self.step = self.num_pairs = 0
        self.elapsed = 0.0
        self.attention = BucketedAttention(trainable=True)
        self.resume()

    def run(self) -> None:
        """Trains until the time is up."""
        examples = Examples(self.options.data, self.options.groups, self.tokenizer, self.options.seed)
        stream = examples.stream(skip=self.step * self.options.groups_per_step)
        began = time.monotonic() - self.elapsed
        logged = saved = self.elapsed
        losses: list[float] = []
        self.model.train()
        while self.elapsed < self.options.minutes * 60:
            group = [next(stream) for _ in range(self.options.groups_per_step)]
            losses.append(self.update(group))
            self.elapsed = time.monotonic() - began
            if self.elapsed - logged > 60:
                self.log(losses)
                logged, losses = self.elapsed, []
            if self.elapsed - saved > 300:
                self.save()
                saved = self.elapsed
        self.save()

    def update(self, examples: Sequence[Example]) -> float:
        """Takes one step over some queries and returns their mean loss."""
        pairs = [pair for example in examples for pair in example.pairs]
        order = sorted(range(len(pairs)), key=lambda index: -len(pairs[index]))
        sorted_logits = self.model(pack([pairs[index] for index in order]), self.attention)
        logits = torch.empty_like(sorted_logits).index_copy(0, torch.tensor(order), sorted_logits)
        loss = torch.stack(
            [
                group_loss(part, example.num_positives)
                for part, example in zip(logits.split([len(e.pairs) for e in examples]), examples, strict=True)
            ]
        ).mean()
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.grad is not None], 1.0)
        scale = schedule(self.elapsed / (self.options.minutes * 60))
        for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = lr * scale
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.num_pairs += len(pairs)
        return float(loss.detach())

    def log(self, losses: Sequence[float]) -> None:
        """Prints and keeps one line."""
        line = {
            "step": self.step, "pairs": self.num_pairs, "seconds": round(self.elapsed),
            "loss": round(sum(losses) / max(len(losses), 1), 4), "pairs_per_s": round(self.num_pairs / self.elapsed, 1),
        }  # fmt: skip
        print(json.dumps(line), flush=True)
        with (self.options.out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Writes a checkpoint, whole or not at all."""
        state = {
            "model": {k: v for k, v in self.model.state_dict().items() if not k.startswith("words.")},
            "optimizer": self.optimizer.state_dict(),
            "step": self.step, "pairs": self.num_pairs, "elapsed": self.elapsed,
        }  # fmt: skip
        part = self.options.out / "checkpoint.part"
        torch.save(state, part)
        part.rename(self.options.out / "checkpoint.pt")

    def resume(self) -> None:
        """Goes on from a checkpoint of this run, if there is one."""
        path = self.options.out / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.model.load_state_dict(state["model"], strict=False)
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.num_pairs, self.elapsed = state["step"], state["pairs"], state["elapsed"]
            print(f"resuming at step {self.step}", flush=True)


class Examples:
    """Writes groups out as pairs, each time in a form drawn anew."""

    def __init__(self, data: Path, groups: Path, tokenizer: Tokenizer, seed: int) -> None:
        self.tokenizer, self.seed = tokenizer, seed
        self.groups = [
            g for g in map(json.loads, groups.open(encoding="utf-8")) if g["split"] == "train" and g["positives"]
        ]
        self.items: dict[tuple[str, str], Tool | Table] = {}
        for name in sorted({group["set"] for group in self.groups}):
            needed = {i for g in self.groups if g["set"] == name for i in (*g["positives"], *g["negatives"])}
            for document in load_dataset(data / name).documents:
                if document.id in needed:
                    self.items[name, document.id] = document.item
        print(f"{len(self.groups)} groups, {len(self.items)} documents", flush=True)

    def stream(self, skip: int) -> Iterator[Example]:
        """Yields examples for ever, shuffled anew each pass; the first `skip` are passed over unread."""
        epoch = 0
        while True:
            order = list(self.groups)
            random.Random(f"{self.seed} order {epoch}").shuffle(order)
            for place, group in enumerate(order):
                if skip > 0:
                    skip -= 1
                    continue
                yield self.example(group, random.Random(f"{self.seed} {epoch} {place}"))
            epoch += 1

    def example(self, group: dict[str, Any], rng: random.Random) -> Example:
        """Writes the documents of one group within one budget, and pairs them with the query."""
        budget = rng.choice(DOCUMENT_BUDGETS)
        ids = [*group["positives"], *group["negatives"]]
        texts = [self.write(self.items[group["set"], i], budget, rng) for i in ids]
        query, *documents = self.tokenizer.encode([group["query"], *texts])
        pairs = [self.tokenizer.make_pair(query[:MAX_QUERY_TOKENS], d[: budget + 16]) for d in documents]
        return Example(pairs, len(group["positives"]))

    def write(self, item: Tool | Table, budget: int, rng: random.Random) -> str:
        """Writes one document."""
        if isinstance(item, Tool):
            return tool_document(item, count_tokens=self.tokenizer.count, budget_tokens=budget)
        return table_document(item, count_tokens=self.tokenizer.count, budget_tokens=budget)


def group_loss(logits: torch.Tensor, num_positives: int) -> torch.Tensor:
    """Sets each relevant document against all negatives, and each pair against its own label."""
    negatives = logits[num_positives:]
    lists = torch.stack([torch.cat([logits[i : i + 1], negatives]) for i in range(num_positives)])
    listwise = F.cross_entropy(lists, torch.zeros(num_positives, dtype=torch.long))
    labels = torch.zeros_like(logits)
    labels[:num_positives] = 1
    return listwise + BINARY_SHARE * F.binary_cross_entropy_with_logits(logits, labels)


def prepare(model: CrossEncoder, frozen_layers: int) -> None:
    """Freezes the embeddings and the lowest layers, and starts the head near the identity."""
    for module in (
        model.words,
        model.positions,
        model.token_types,
        model.embedding_norm,
        *list(model.layers)[:frozen_layers],
    ):
        module.requires_grad_(False)
    with torch.no_grad():
        model.head_dense.weight.copy_(torch.eye(model.config.hidden_size))
        model.head_dense.bias.zero_()
        model.head_out.weight.normal_(std=0.02)
        model.head_out.bias.zero_()


def make_optimizer(model: CrossEncoder, lr: float) -> torch.optim.Optimizer:
    """Decays matrices only; the new head learns faster."""
    head = {id(p) for m in (model.head_dense, model.head_out) for p in m.parameters()}
    trained = [p for p in model.parameters() if p.requires_grad and id(p) not in head]
    return torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.dim() > 1], "lr": lr, "weight_decay": 0.01},
            {"params": [p for p in trained if p.dim() == 1], "lr": lr, "weight_decay": 0.0},
            {"params": [p for p in model.parameters() if id(p) in head], "lr": 5 * lr, "weight_decay": 0.0},
        ],
        fused=True,
    )


def schedule(progress: float) -> float:
    """Warms up over 5 % of the time, then falls linearly to a hundredth."""
    warm = 0.05
    return max(progress / warm, 0.02) if progress < warm else max(0.01, (1 - progress) / (1 - warm))


if __name__ == "__main__":
    main()
