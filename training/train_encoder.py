r"""Trains the retrieval encoder contrastively, on a CPU, resumable.

A step holds queries of a few sets, those of one server, API or database side by side, so that the other queries'
documents are look-alikes; each query brings a mined look-alike of its own too. A document that answers a query, or that
reads the same as one that does, is never a negative of it. Embeddings and the lowest layers stay frozen.

    python training/train_encoder.py --data DATA --groups build/train/groups.jsonl --base build/train/base \
        --out build/train/encoder
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone knows it by)
from base import load_base_encoder
from documents import Documents, Group, draw_query, read_groups
from precision import MasterOptimizer
from schedule import Progress, begin_run, schedule

from shortlist.router.attention import BucketedAttention
from shortlist.router.dense import DOCUMENT_PREFIX, QUERY_PREFIX
from shortlist.router.encoding import Pair, Tokenizer
from shortlist.router.packing import pack

TEMPERATURE = 0.02
DOCUMENT_BUDGETS = (32, 56, 80, 104, 128)
MAX_QUERY_TOKENS = 128
CLUSTER = 6
# A set is drawn in proportion to this power of its number of queries, times its weight.
SET_POWER = 0.45
SET_WEIGHTS = {
    "tools/rotbench": 0.4,
    "tools/nestful": 0.6,
    "tables/sede": 0.6,
    "tables/ehrsql": 0.6,
    "tools/ha_intents": 0.7,
}


@dataclass(frozen=True, slots=True)
class Example:
    """One query of a step: `documents` are (key, text), the first answers it; `answers` are all keys that do."""

    set: str
    query: str
    documents: list[tuple[tuple[str, str], str]]
    answers: set[str]
    is_isolated: bool  # its negatives are those it was given, not what others of the set ask for


def main() -> None:
    """Trains, logging a line a minute and saving a checkpoint every five."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries-per-set", type=int, default=32)
    parser.add_argument("--sets-per-step", type=int, default=2)
    train(begin_run(parser))


def train(options: argparse.Namespace) -> None:
    """Trains until the time is up."""
    model, tokenizer = load_base_encoder(options.base)
    for module in (model.words, model.positions, model.token_types, model.embedding_norm):
        module.requires_grad_(False)
    for layer in list(model.layers)[: options.frozen_layers]:
        layer.requires_grad_(False)
    optimizer = MasterOptimizer(model, lr=options.lr)
    progress = Progress(options.out, options.minutes, optimizer)
    batches = Batches(options, tokenizer)
    attention = BucketedAttention(trainable=True)
    while not progress.is_over:
        examples = batches.draw(random.Random(f"{options.seed} {progress.step}"))
        query_texts = [QUERY_PREFIX + example.query for example in examples]
        documents = [(key, DOCUMENT_PREFIX + text) for example in examples for key, text in example.documents]
        pairs = frame(tokenizer, query_texts, MAX_QUERY_TOKENS) + frame(tokenizer, [t for _, t in documents], 160)
        order = sorted(range(len(pairs)), key=lambda index: -len(pairs[index]))
        vectors = model(pack([pairs[index] for index in order]), attention)
        vectors = torch.empty_like(vectors).index_copy(0, torch.tensor(order), vectors)
        queries, keyed = vectors[: len(examples)], vectors[len(examples) :]
        logits = queries @ keyed.T / TEMPERATURE
        allowed, targets = masks(examples, documents)
        loss = F.cross_entropy(logits.masked_fill(~allowed, -1e4), targets)
        loss.backward()
        optimizer.step(schedule(progress.share))
        progress.advance(float(loss.detach()), len(examples), sum(len(pair) for pair in pairs))
    progress.save()


def frame(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[Pair]:
    """Encodes texts, each by itself."""
    return [tokenizer.make_single(ids[:max_tokens]) for ids in tokenizer.encode(texts)]


def masks(
    examples: Sequence[Example], documents: Sequence[tuple[tuple[str, str], str]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Says which documents count for which query `(queries, documents)`, and where each one's own is."""
    allowed = torch.ones(len(examples), len(documents), dtype=torch.bool)
    targets, place = [], 0
    for row, example in enumerate(examples):
        own = range(place, place + len(example.documents))
        texts = {example.documents[0][1]}
        for column, ((name, identifier), text) in enumerate(documents):
            if column == place or (column in own and identifier not in example.answers):
                continue
            if name == example.set and (example.is_isolated or identifier in example.answers or text in texts):
                allowed[row, column] = False
        targets.append(place)
        place = own.stop
    return allowed, torch.tensor(targets)


class Batches:
    """Draws the queries of a step."""

    def __init__(self, options: argparse.Namespace, tokenizer: Tokenizer) -> None:
        groups = read_groups(options.groups, "train")
        self.documents = Documents(options.data, groups, tokenizer)
        self.sets: dict[str, list[Group]] = {}
        self.clusters: dict[tuple[str, str], list[Group]] = {}
        for group in groups:
            self.sets.setdefault(group.set, []).append(group)
            if group.cluster:
                self.clusters.setdefault((group.set, group.cluster), []).append(group)
        self.names = sorted(self.sets)
        self.weights = [len(self.sets[name]) ** SET_POWER * SET_WEIGHTS.get(name, 1.0) for name in self.names]
        self.per_set, self.sets_per_step = options.queries_per_set, options.sets_per_step
        print(f"{len(groups)} groups, {len(self.documents.items)} documents", flush=True)

    def draw(self, rng: random.Random) -> list[Example]:
        """Draws some queries of each of a few sets."""
        examples = []
        for name in rng.choices(self.names, self.weights, k=self.sets_per_step):
            budget = rng.choice(DOCUMENT_BUDGETS)
            examples += [self._example(group, budget, rng) for group in self._neighbours(name, rng)]
        return examples

    def _neighbours(self, name: str, rng: random.Random) -> list[Group]:
        pool = self.sets[name]
        chosen: dict[str, Group] = {}
        for _ in range(4 * self.per_set):
            if len(chosen) >= min(self.per_set, len(pool)):
                break
            first = rng.choice(pool)
            near = self.clusters.get((name, first.cluster), [first])
            for group in [first, *rng.sample(near, min(len(near), CLUSTER - 1))]:
                chosen.setdefault(group.query, group)
        return list(chosen.values())[: self.per_set]

    def _example(self, group: Group, budget: int, rng: random.Random) -> Example:
        query, answers = draw_query(group, self.sets[group.set], rng)
        target = rng.choice(answers)
        lookalikes = [one for one in (group.given or group.lookalikes) if one not in answers]
        # The nearest look-alikes teach most, but are also those most often right after all.
        near = lookalikes if group.given else lookalikes[:6] if rng.random() < 0.5 else lookalikes[6:]
        ids = [target, *rng.sample(near, min(1, len(near)))]
        texts = [self.documents.write((group.set, one), budget, rng) for one in ids]
        keyed = [((group.set, one), text) for one, text in zip(ids, texts, strict=True)]
        return Example(group.set, query, keyed, set(answers), bool(group.given))


if __name__ == "__main__":
    main()
