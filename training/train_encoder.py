r"""Trains the encoder with a contrastive loss, on a CPU or a CUDA GPU; an interrupted run continues.

A step is either a judged pool with its queries (`judged.py`), or queries of a few sets, and several of the same server,
API or database, so that the other queries' documents are hard negatives; each of these also brings a mined look-alike.
A document that is relevant to a query, or reads the same as a relevant one, is never its negative. The embedding table
and the lowest layers stay frozen.

    python training/train_encoder.py --data DATA --groups build/train/groups.jsonl --base build/train/base \
        --out build/train/encoder
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 (its customary name)
from base import load_base_encoder, load_tokenizer, read_base
from batch import choose_trainable, in_order, pack_longest_first
from documents import Documents, Group, draw_query, read_groups
from export import TOKEN_WIDTH, cross_encoder_state
from judged import WISHES, JudgedSets, Pool
from pool_pairs import JUDGED_KINDS, MAX_WISH_TOKENS, vary_wish
from precision import MasterOptimizer
from prefetch import Prefetcher
from schedule import Progress, begin_run, schedule
from torch.nn.utils.rnn import pad_sequence

from shortlist.router.checkpoints.native import read_folder
from shortlist.router.engine.tokenizer import Pair, Tokenizer, join_ends
from shortlist.router.first_stage.embedder import DOCUMENT_PREFIX, QUERY_PREFIX
from shortlist.router.model.attention.backends import AttentionBackend
from shortlist.router.model.encoder import TextEncoder

TEMPERATURE, POOL_TEMPERATURE = 0.02, 0.03
# How much a full MaxSim of either text adds to a logit.
TOKEN_SCALE = 20.0
DOCUMENT_BUDGETS = (32, 56, 80, 104, 128)
PASSAGE_BUDGETS = (96, 128, 192, 256)
MAX_QUERY_TOKENS, MAX_DOCUMENT_TOKENS = 128, 160
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
    """One query of a step: `documents` are (key, text), the first is relevant; `answers` are all relevant keys."""

    set: str
    query: str
    documents: list[tuple[tuple[str, str], str]]
    answers: set[str]
    is_isolated: bool  # documents of other queries of its set are not its negatives


@dataclass(frozen=True, slots=True)
class Step:
    """The data of a step: `texts` are `num_queries` queries, followed by all their documents.

    A row is a query with one relevant document, so a query may have several: `queries` `(rows,)` are their places.
    `allowed` bool `(rows, documents)` marks the documents that enter a row's loss, `targets` `(rows,)` are the places
    of the relevant ones, `weights` `(rows,)` sum to 1; `sets` and `document_sets` are those of queries and documents.
    """

    num_queries: int
    texts: list[Pair]
    queries: npt.NDArray[np.int64]
    allowed: npt.NDArray[np.bool_]
    targets: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    sets: list[str]
    document_sets: list[str]
    temperature: float


def main() -> None:
    """Trains; logs every minute and saves a checkpoint every five minutes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries-per-set", type=int, default=32)
    parser.add_argument("--sets-per-step", type=int, default=2)
    parser.add_argument("--start", type=Path, help="a model folder whose encoder to start from, instead of the base")
    parser.add_argument("--start-share", type=float, default=1.0, help="how far to go from the base to START, 0..1")
    parser.add_argument("--judged", type=float, default=0.0, help="the share of steps that are judged pools, 0..1")
    parser.add_argument("--wishes", type=Path, default=WISHES, help="the folder with more judged pools")
    parser.add_argument(
        "--shared", type=Path, help="a run or model folder of a cross-encoder whose lowest layers to use, frozen"
    )
    train(begin_run(parser))


def train(options: argparse.Namespace) -> None:
    """Trains until all tokens are read."""
    prefetcher = Prefetcher(Batches(options, load_tokenizer(options.base)).draw, options.workers)
    model = make_encoder(options.base, options.start, options.start_share)
    if options.shared:
        share_layers(model, options)
    for module in (model.words, model.positions, model.token_types, model.embedding_norm):
        module.requires_grad_(False)
    for layer in list(model.layers)[: options.frozen_layers]:
        layer.requires_grad_(False)
    assert model.token_out is not None
    model.to(options.device)
    optimizer = MasterOptimizer(model, lr=options.lr, head=(model.token_out,))
    progress = Progress(options.out, options.tokens, optimizer)
    attention = choose_trainable(options.device, model.config)
    for step in prefetcher.steps(progress.step):
        if progress.is_over:
            break
        vectors, tokens = encode(model, step.texts, attention)
        loss = step_loss(vectors, tokens, step)
        loss.backward()
        optimizer.step(schedule(progress.share))
        progress.advance(loss, step.num_queries, sum(map(len, step.texts)))
    prefetcher.close()
    progress.save()


def step_loss(vectors: torch.Tensor, tokens: Sequence[torch.Tensor], step: Step) -> torch.Tensor:
    """Returns the loss of the vectors over all unmasked documents, plus the token loss within each set."""
    count, device = step.num_queries, vectors.device
    allowed, targets = torch.from_numpy(step.allowed).to(device), torch.from_numpy(step.targets).to(device)
    rows, weights = torch.from_numpy(step.queries).to(device), torch.from_numpy(step.weights).to(device)
    logits = (vectors[:count] @ vectors[count:].T / step.temperature).float()[rows]
    loss = F.cross_entropy(logits.masked_fill(~allowed, -1e4), targets, reduction="none") @ weights
    return loss + token_loss(tokens[:count], tokens[count:], step)


def make_encoder(base: Path, start: Path | None, share: float = 1.0) -> TextEncoder:
    """Builds the encoder to train from the base, or from weights `share` of the way from the base to a model folder's.

    Its head for token vectors, which the base lacks, is new or the folder's.
    """
    model, _ = load_base_encoder(base, token_width=TOKEN_WIDTH)
    if start:
        known = read_folder(start).encoder
        assert known is not None
        state = {name: tensor for name, tensor in known.state_dict().items() if not name.startswith("words.")}
        missing, _ = model.load_state_dict(state, strict=False)
        if any(not name.startswith(("token_out", "words.")) for name in missing):
            raise SystemExit(f"{start} lacks {missing}")
        if share < 1:
            mix_with_base(model, base, share)
        model.words = read_base(base)[1]
    return model


def mix_with_base(model: TextEncoder, base: Path, share: float) -> None:
    """Moves an encoder's weights towards the base's, to `share` of the way from there (Wortsman et al. 2022)."""
    _, _, weights = read_base(base)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name in weights:
                tensor.lerp_(weights[name].to(tensor.dtype), 1 - share)


def share_layers(model: TextEncoder, options: argparse.Namespace) -> None:
    """Copies the cross-encoder's lowest layers into the encoder, as many as stay frozen."""
    state = cross_encoder_state(options.base, options.shared)
    for number, layer in enumerate(list(model.layers)[: options.frozen_layers]):
        prefix = f"layers.{number}."
        layer.load_state_dict({name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)})


def encode(
    model: TextEncoder, texts: Sequence[Pair], attention: AttentionBackend
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Returns the vectors of the texts `(texts, hidden)`, and the token vectors of each `(tokens, width + 1)`."""
    batch, order = pack_longest_first(texts, model.config.max_pair_tokens)
    vectors, tokens = model.encode(batch.to(model.positions.weight.device), attention)
    assert tokens is not None
    by_text = dict(zip(order, tokens.split(batch.lengths), strict=False))
    return in_order(vectors, order), [by_text[index] for index in range(len(texts))]


def token_loss(queries: Sequence[torch.Tensor], documents: Sequence[torch.Tensor], step: Step) -> torch.Tensor:
    """Returns the loss of MaxSim over documents of the query's own set; those of other sets are too easy to help."""
    device, losses = queries[0].device, []
    allowed, weights = torch.from_numpy(step.allowed).to(device), torch.from_numpy(step.weights).to(device)
    targets = torch.from_numpy(step.targets)
    row_sets = [step.sets[query] for query in step.queries]
    for name in dict.fromkeys(step.sets):
        asked = [place for place, one in enumerate(step.sets) if one == name]
        at = {place: index for index, place in enumerate(asked)}
        rows = torch.tensor([row for row, one in enumerate(row_sets) if one == name])
        columns = torch.tensor([column for column, one in enumerate(step.document_sets) if one == name])
        matches = match_tokens([queries[place] for place in asked], [documents[column] for column in columns])
        logits = TOKEN_SCALE * matches.float()[[at[int(step.queries[row])] for row in rows]]
        logits = logits.masked_fill(~allowed[rows][:, columns], -1e4)
        own = torch.searchsorted(columns, targets[rows]).to(device)
        losses.append(F.cross_entropy(logits, own, reduction="none") @ weights[rows])
    return torch.stack(losses).sum()


def match_tokens(queries: Sequence[torch.Tensor], documents: Sequence[torch.Tensor]) -> torch.Tensor:
    """Returns MaxSim `(queries, documents)`, the sum of both directions.

    Each token contributes its best match, times its weight (ColBERT; Khattab and Zaharia 2020, arXiv:2004.12832).
    """
    query, document = (pad_sequence(list(one), batch_first=True) for one in (queries, documents))
    width = query.shape[2] - 1
    # Two more coordinates make each product with padding less than every product of tokens; padding has the weight 0.
    nothing = [pad_sequence([t.new_zeros(len(t), 1) for t in one], True, -4.0) for one in (queries, documents)]
    ones = [torch.ones_like(one) for one in nothing]
    forward, back = BestMatches.apply(
        torch.cat([query[:, :, :width], ones[0], nothing[0]], 2),
        torch.cat([document[:, :, :width], nothing[1], ones[1]], 2),
    )  # type: ignore[no-untyped-call]
    return (forward * query[:, :, None, width]).sum(1) + (back * document[:, :, width]).sum(2)


class BestMatches(torch.autograd.Function):
    """The best product of each token with the other text: `(queries, query tokens, documents)`, and the reverse.

    The backward pass keeps only the places of the best products; all products would be the largest tensor of a step.
    """

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, document: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes the token vectors of both, `(texts, tokens, width)`."""
        alike = (query.flatten(0, 1) @ document.flatten(0, 1).T).view(*query.shape[:2], *document.shape[:2])
        forward, back = alike.max(3), alike.max(1)
        ctx.save_for_backward(query, document, forward.indices, back.indices)
        return forward.values, back.values

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the gradients of both."""
        query, document, forward_at, back_at = ctx.saved_tensors
        alike = grads[0].new_zeros(*query.shape[:2], *document.shape[:2])
        alike.scatter_(3, forward_at.unsqueeze(3), grads[0].unsqueeze(3))
        alike.scatter_add_(1, back_at.unsqueeze(1), grads[1].unsqueeze(1))
        flat = alike.view(query.shape[0] * query.shape[1], -1)
        return (flat @ document.flatten(0, 1)).view_as(query), (flat.T @ query.flatten(0, 1)).view_as(document)


def frame(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[Pair]:
    """Tokenizes texts separately."""
    return [tokenizer.make_single(ids[:max_tokens]) for ids in tokenizer.encode(texts)]


def masks(
    examples: Sequence[Example], documents: Sequence[tuple[tuple[str, str], str]]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Returns the mask of documents that enter each query's loss `(queries, documents)`, and each query's target."""
    allowed = np.ones((len(examples), len(documents)), np.bool_)
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
    return allowed, np.array(targets, np.int64)


def pool_step(pool: Pool, tokenizer: Tokenizer, rng: random.Random) -> Step:
    """Makes a step of a judged pool: a row for each needed document, without the other right ones among its rivals."""
    budget = rng.choice(PASSAGE_BUDGETS if pool.kind == "documents" else DOCUMENT_BUDGETS[1:])
    wishes = [wish for wish in pool.wishes if wish.needed]
    asked = tokenizer.encode([QUERY_PREFIX + vary_wish(wish.text, rng) for wish in wishes])
    texts = [tokenizer.make_single(join_ends(ids, MAX_WISH_TOKENS)) for ids in asked]
    written = [DOCUMENT_PREFIX + one.write(tokenizer, budget) for one in pool.documents]
    texts += frame(tokenizer, written, budget + 4)
    pairs = [(query, target) for query, wish in enumerate(wishes) for target in wish.needed]
    allowed = np.ones((len(pairs), len(written)), np.bool_)
    for row, (query, target) in enumerate(pairs):
        wish = wishes[query]
        allowed[row, [*wish.needed, *wish.acceptable, *wish.unknown]] = False
        allowed[row, target] = True
    weights = np.array([1 / (len(wishes[query].needed) * len(wishes)) for query, _ in pairs], np.float32)
    queries, targets = np.array([query for query, _ in pairs]), np.array([target for _, target in pairs])
    sets, document_sets = ["pool"] * len(wishes), ["pool"] * len(written)
    return Step(len(wishes), texts, queries, allowed, targets, weights, sets, document_sets, POOL_TEMPERATURE)


class Batches:
    """Draws the queries of a step."""

    def __init__(self, options: argparse.Namespace, tokenizer: Tokenizer) -> None:
        groups = read_groups(options.groups, "train")
        self.tokenizer, self.seed = tokenizer, options.seed
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
        self.judged_share = options.judged
        self.judged = JudgedSets(options.data, "train", wishes=options.wishes) if options.judged else None
        print(f"{len(groups)} groups, {len(self.documents.items)} documents", flush=True)

    def draw(self, step: int) -> Step:
        """Draws a judged pool, or several queries from each of a few sets."""
        rng = random.Random(f"{self.seed} {step}")
        if self.judged and rng.random() < self.judged_share:
            return pool_step(self.judged.draw(rng.choices(*JUDGED_KINDS)[0], rng), self.tokenizer, rng)
        examples: list[Example] = []
        for name in rng.choices(self.names, self.weights, k=self.sets_per_step):
            budget = rng.choice(DOCUMENT_BUDGETS)
            examples += [self._example(group, budget, rng) for group in self._neighbours(name, rng)]
        query_texts = [QUERY_PREFIX + example.query for example in examples]
        documents = [(key, DOCUMENT_PREFIX + text) for example in examples for key, text in example.documents]
        texts = frame(self.tokenizer, query_texts, MAX_QUERY_TOKENS)
        texts += frame(self.tokenizer, [text for _, text in documents], MAX_DOCUMENT_TOKENS)
        allowed, targets = masks(examples, documents)
        rows, weights = np.arange(len(examples)), np.full(len(examples), 1 / len(examples), np.float32)
        sets, document_sets = [one.set for one in examples], [name for (name, _), _ in documents]
        return Step(len(examples), texts, rows, allowed, targets, weights, sets, document_sets, TEMPERATURE)

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
        query, answers = draw_query(group, self.sets[group.set], rng, self.documents)
        target = rng.choice(answers)
        lookalikes = [one for one in (group.given or group.lookalikes) if one not in answers]
        # The nearest look-alikes teach most, but are also the most often unmarked relevant documents.
        near = lookalikes if group.given else lookalikes[:6] if rng.random() < 0.5 else lookalikes[6:]
        ids = [target, *rng.sample(near, min(1, len(near)))]
        texts = [self.documents.write((group.set, one), budget, rng) for one in ids]
        keyed = [((group.set, one), text) for one, text in zip(ids, texts, strict=True)]
        return Example(group.set, query, keyed, set(answers), bool(group.given))


if __name__ == "__main__":
    main()
