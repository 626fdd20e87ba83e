r"""Trains the cross-encoder on groups mined with the first stage, on a CPU or a CUDA GPU; an interrupted run continues.

The loss is a listwise cross-entropy: each relevant document competes with the query's negatives and with "nothing
fits", whose logit is 0. In a second term the negatives alone compete with "nothing fits". A share of binary
cross-entropy keeps logits comparable between queries. The columns of a database form groups too. With `--judged`, a
share of the queries comes from judged pools (`judged.py`): their negatives are known to be wrong, so they weigh more
against "nothing fits", and for some of these queries nothing does fit. The embedding table stays frozen, so that it
re-packs to 4 bits without loss; the lowest `--frozen-layers` layers stay frozen as well.

    python training/train.py --data DATA --groups build/train/fused.jsonl --base build/train/base \
        --out build/train/cross
    python training/train.py ... --out build/train/fast --student --start build/train/cross --tokens 3e6
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 (its customary name)
from base import fill, load_tokenizer, read_base
from batch import choose_trainable, in_order, pack_longest_first
from documents import Documents, Group, column_groups, draw_query, read_groups
from export import FAST_LAYERS, averaged, cross_encoder_state, mean_state, student_state
from forms import FORMS, Form
from judged import WISHES, JudgedSets
from pool_pairs import PoolPairs
from precision import MasterOptimizer
from prefetch import Prefetcher
from schedule import Progress, begin_run, schedule

from shortlist.router.engine.packing import PackedBatch
from shortlist.router.engine.tokenizer import Pair, Tokenizer
from shortlist.router.model.attention.backends import AttentionBackend
from shortlist.router.model.encoder import CrossEncoder

BINARY_SHARE = 0.3
# The weight of the loss of negatives that beat "nothing fits"; it is low, because some are unmarked relevant documents.
NOTHING_SHARE = 0.3
DOCUMENT_BUDGETS = (48, 72, 96, 128)
MAX_QUERY_TOKENS = 128
MAX_POSITIVES = 4
SET_POWER = 0.45
SET_WEIGHTS = {
    "tools/rotbench": 0.5, "tools/nestful": 0.6, "tables/sede": 0.6, "tables/ehrsql": 0.6,
    "tables/spider/columns": 0.4, "tables/spider_syn/columns": 0.4, "tables/bird_train/columns": 0.4,
}  # fmt: skip
# The layers of the teacher's twelve from which the student's start.
STUDENT_LAYERS = (0, 1, 3, 6, 9, 11)


@dataclass(frozen=True, slots=True)
class Example:
    """One query's pairs; the first `num_positives` are relevant.

    `nothing_share` is the weight of the loss of its negatives against "nothing fits".
    """

    pairs: list[Pair]
    num_positives: int
    nothing_share: float = NOTHING_SHARE


def main() -> None:
    """Trains; logs every minute and saves a checkpoint every five minutes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--start", type=Path, nargs="+", help="runs or model folders to start from, averaged, instead of the base"
    )
    parser.add_argument("--encoder", type=Path, help="the run of a trained encoder to start from, instead of the base")
    parser.add_argument("--student", action="store_true", help="train six layers on the logits of the run at --start")
    parser.add_argument("--student-start", type=Path, help="the student's run or model folder to start from, instead")
    parser.add_argument("--queries-per-step", type=int, default=8)
    parser.add_argument("--num-negatives", type=int, default=7, help="irrelevant documents per query")
    parser.add_argument("--judged", type=float, default=0.0, help="the share of queries from judged pools, 0..1")
    parser.add_argument("--wishes", type=Path, default=WISHES, help="the folder with more judged pools")
    parser.add_argument("--ranks", type=Path, help="the orders of judged pools that rank_pools.py writes")
    parser.add_argument(
        "--any-form", action="store_true", help="write each query's documents in a form drawn at random"
    )
    train(begin_run(parser))


def train(options: argparse.Namespace) -> None:
    """Trains until all tokens are read."""
    examples = Examples(options, load_tokenizer(options.base))
    prefetcher = Prefetcher(examples.draw, options.workers)
    model = make_model(options.base, options.start or (), options.encoder)
    teacher = model if options.student else None
    if teacher:
        model = make_student(teacher)
        if options.student_start:
            fill(model, student_state(options.base, options.student_start))
    frozen = 0 if teacher else options.frozen_layers
    for module in (model.words, model.positions, model.token_types, model.embedding_norm, *list(model.layers)[:frozen]):
        module.requires_grad_(False)
    if teacher:
        as_bf16(teacher.eval().requires_grad_(False).to(options.device))
    model.to(options.device)
    optimizer = MasterOptimizer(model, lr=options.lr, head=(model.head_dense, model.head_out))
    progress = Progress(options.out, options.tokens, optimizer)
    attention = choose_trainable(options.device, model.config)
    for chosen in prefetcher.steps(progress.step):
        if progress.is_over:
            break
        pairs = [pair for example in chosen for pair in example.pairs]
        packed, order = pack_longest_first(pairs, model.config.max_pair_tokens)
        batch = packed.to(options.device)
        logits = in_order(model(batch, attention), order)
        wanted = in_order(score(teacher, batch, attention), order) if teacher else None
        loss = mean_loss(logits, wanted, chosen)
        loss.backward()
        optimizer.step(schedule(progress.share))
        progress.advance(loss, len(chosen), sum(len(pair) for pair in pairs))
    prefetcher.close()
    progress.save()


def mean_loss(logits: torch.Tensor, wanted: torch.Tensor | None, examples: Sequence[Example]) -> torch.Tensor:
    """Returns the mean loss over queries; with a teacher's logits (`wanted`), mostly the distance to them."""
    table, filled = in_rows(logits, examples)
    num_positives = torch.tensor([example.num_positives for example in examples], device=logits.device)
    relevant = torch.arange(table.shape[1], device=logits.device) < num_positives[:, None]
    shares = torch.tensor([example.nothing_share for example in examples], device=logits.device)
    losses = label_losses(table, filled, relevant, shares)
    if wanted is not None:
        losses = 0.3 * losses + distillation_losses(table, in_rows(wanted, examples)[0], filled)
    return losses.mean()


def in_rows(logits: torch.Tensor, examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads `(pairs,)` to `(queries, most pairs)` with 0; also returns the mask of real values."""
    sizes = torch.tensor([len(example.pairs) for example in examples])
    filled = torch.arange(int(sizes.max())) < sizes[:, None]
    # Computed on the CPU: counting a mask's values on a GPU would make the CPU wait.
    places = filled.flatten().nonzero().flatten().to(logits.device)
    table = logits.new_zeros(filled.numel()).index_copy(0, places, logits)
    return table.view(filled.shape), filled.to(logits.device)


def label_losses(
    table: torch.Tensor, filled: torch.Tensor, relevant: torch.Tensor, nothing_shares: torch.Tensor
) -> torch.Tensor:
    """Returns the loss of each query `(queries,)` from its labels; the first three arguments are `(queries, pairs)`.

    It sums the listwise loss of the relevant documents, the loss of the negatives against "nothing fits", and the
    binary loss of each pair.
    """
    negatives = table.masked_fill(relevant | ~filled, -torch.inf)
    nothing = torch.logsumexp(F.pad(negatives, (1, 0)), 1)  # minus the logit of "nothing fits", 0
    listwise = torch.logaddexp(table, nothing[:, None]) - table
    binary = F.binary_cross_entropy_with_logits(table, relevant.float(), reduction="none")
    return mean_where(relevant, listwise) + nothing_shares * nothing + BINARY_SHARE * mean_where(filled, binary)


def distillation_losses(table: torch.Tensor, wanted: torch.Tensor, filled: torch.Tensor) -> torch.Tensor:
    """Returns the distance to a teacher: the cross-entropy of the softmaxes, and the distance of the logits."""
    own, theirs = (one.masked_fill(~filled, -torch.inf) for one in (table, wanted))
    surprise = torch.log_softmax(own, 1).masked_fill(~filled, 0.0)
    order = -(torch.softmax(theirs, 1) * surprise).sum(1)
    return order + 0.05 * mean_where(filled, (table - wanted).square())


def mean_where(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Returns each row's mean over the masked values, 0 where there are none."""
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1)


def score(model: CrossEncoder, batch: PackedBatch, attention: AttentionBackend) -> torch.Tensor:
    """Scores without gradients."""
    with torch.no_grad():
        return model(batch, attention)  # type: ignore[no-any-return]


def make_model(base: Path, starts: Sequence[Path], encoder: Path | None = None) -> CrossEncoder:
    """Builds the model to start from: the mean of runs and model folders, or an encoder with a head near the identity.

    The encoder is the base unless `encoder` names the run of a trained one.
    """
    if encoder and starts:
        raise SystemExit("--start and --encoder exclude each other; give one of them")
    config, words, weights = read_base(base)
    if encoder:
        trained = {name: tensor for name, tensor in averaged(encoder).items() if name in weights}
        if lacking := weights.keys() - trained.keys():
            raise SystemExit(f"{encoder} is not a run of an encoder: it lacks {min(lacking)}")
        weights = trained
    model = CrossEncoder(config, words)
    if starts:
        fill(model, mean_state([cross_encoder_state(base, start) for start in starts]))
        return model
    fill(model, weights, absent="head_")
    with torch.no_grad():
        model.head_dense.weight.copy_(torch.eye(config.hidden_size))
        model.head_dense.bias.zero_()
        model.head_out.weight.normal_(std=0.02)
        model.head_out.bias.zero_()
    return model


def make_student(teacher: CrossEncoder) -> CrossEncoder:
    """Returns the weights of half of the teacher's layers, and all its other weights."""
    student = CrossEncoder(replace(teacher.config, num_layers=FAST_LAYERS), teacher.words)
    state = {name: t.clone() for name, t in teacher.state_dict().items() if not name.startswith(("layers.", "words."))}
    for mine, theirs in enumerate(STUDENT_LAYERS):
        for name, tensor in teacher.layers[theirs].state_dict().items():
            state[f"layers.{mine}.{name}"] = tensor.clone()
    student.load_state_dict(state, strict=False)
    return student


def as_bf16(model: CrossEncoder) -> None:
    """Casts all weights except the embedding table."""
    for name, module in model.named_children():
        if name != "words":
            module.to(torch.bfloat16)


class Examples:
    """Draws queries by set, and writes their documents in a new variation each time."""

    def __init__(self, options: argparse.Namespace, tokenizer: Tokenizer) -> None:
        groups = read_groups(options.groups, "train")
        self._tokenizer = tokenizer
        self._documents = Documents(options.data, groups, tokenizer)
        self._any_form = options.any_form
        self._seed, self._count, self._num_negatives = options.seed, options.queries_per_step, options.num_negatives
        groups += column_groups(options.data, options.groups, self._documents)
        self._sets: dict[str, list[Group]] = {}
        for group in groups:
            self._sets.setdefault(group.set, []).append(group)
        self._names = sorted(self._sets)
        self._weights = [len(self._sets[name]) ** SET_POWER * SET_WEIGHTS.get(name, 1.0) for name in self._names]
        self._judged_share = options.judged
        self._judged = (
            PoolPairs(
                JudgedSets(options.data, "train", wishes=options.wishes), tokenizer, options.ranks, self._num_negatives
            )
            if options.judged
            else None
        )
        print(f"{len(groups)} groups, {len(self._documents.items)} documents", flush=True)
        print({n: len(self._sets[n]) for n in self._names}, flush=True)

    def draw(self, step: int) -> list[Example]:
        """Draws the queries of a step, from all sets."""
        rng = random.Random(f"{self._seed} {step}")
        return [self._draw_one(rng) for _ in range(self._count)]

    def _draw_one(self, rng: random.Random) -> Example:
        if self._judged and rng.random() < self._judged_share:
            return Example(*self._judged.draw(rng))
        (name,) = rng.choices(self._names, self._weights)
        return self._example(rng.choice(self._sets[name]), rng)

    def _example(self, group: Group, rng: random.Random) -> Example:
        text, answers = draw_query(group, self._sets[group.set], rng, self._documents)
        positives = rng.sample(answers, min(len(answers), MAX_POSITIVES))
        budget = rng.choice(DOCUMENT_BUDGETS)
        ids = [*positives, *draw_negatives(group, answers, self._num_negatives, rng)]
        form = self._draw_form(group, rng)
        texts = [self._documents.write((group.set, one), budget, rng, form=form) for one in ids]
        query, *documents = self._tokenizer.encode([text, *texts])
        pairs = [self._tokenizer.make_pair(query[:MAX_QUERY_TOKENS], d[: budget + 16]) for d in documents]
        return Example(pairs, len(positives))

    def _draw_form(self, group: Group, rng: random.Random) -> Form | None:
        forms = FORMS.get(group.set.split("/")[0]) if self._any_form and not group.set.endswith("/columns") else None
        return rng.choice(list(forms.values())) if forms else None


def draw_negatives(group: Group, answers: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """Draws negatives from the query's own candidates if it has any, otherwise from near and farther look-alikes."""
    wrong = [one for one in group.lookalikes if one not in answers]
    given = [one for one in group.given if one not in answers]
    if given:
        return rng.sample(given, min(len(given), count))
    near, far = wrong[:8], wrong[8:]
    # Of the nearest eight use at most four, because they are the most often unmarked relevant documents.
    chosen = rng.sample(near, min(4, len(near)))
    return chosen + rng.sample(far, min(count - len(chosen), len(far)))


if __name__ == "__main__":
    main()
