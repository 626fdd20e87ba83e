r"""Trains the cross-encoder on groups mined through the whole first stage, on a CPU or a CUDA card, resumable.

Per query, every relevant document is set against the same negatives and against "nothing fits", whose logit is 0
(listwise cross-entropy); the negatives alone must lose to it. A share of binary cross-entropy keeps logits comparable
between queries too. Columns of a database are groups of their own. Embeddings stay frozen, so the table re-packs to its
4 bits without loss; so do the lowest layers, as many as asked for.

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
import torch.nn.functional as F  # noqa: N812 (the name everyone knows it by)
from base import fill, load_tokenizer, read_base
from batch import choose_trainable, in_order, pack_longest_first
from documents import Documents, Group, column_groups, draw_query, read_groups
from drawing import Drawer
from export import FAST_LAYERS, averaged, cross_encoder_state, mean_state
from forms import FORMS, Form
from precision import MasterOptimizer
from schedule import Progress, begin_run, schedule

from shortlist.router.engine.packing import PackedBatch
from shortlist.router.engine.tokenizer import Pair, Tokenizer
from shortlist.router.model.attention.backends import AttentionBackend
from shortlist.router.model.encoder import CrossEncoder

BINARY_SHARE = 0.3
# Of the loss of negatives that do not lose to "nothing fits"; false negatives are among them.
NOTHING_SHARE = 0.3
DOCUMENT_BUDGETS = (48, 72, 96, 128)
MAX_QUERY_TOKENS = 128
MAX_POSITIVES = 4
SET_POWER = 0.45
SET_WEIGHTS = {
    "tools/rotbench": 0.5, "tools/nestful": 0.6, "tables/sede": 0.6, "tables/ehrsql": 0.6,
    "tables/spider/columns": 0.4, "tables/spider_syn/columns": 0.4, "tables/bird_train/columns": 0.4,
}  # fmt: skip
# Of the twelve layers of the teacher, those that a student begins with.
STUDENT_LAYERS = (0, 1, 3, 6, 9, 11)


@dataclass(frozen=True, slots=True)
class Example:
    """One query's pairs; the first `num_positives` are relevant."""

    pairs: list[Pair]
    num_positives: int


def main() -> None:
    """Trains, logging a line a minute and saving a checkpoint every five."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--start", type=Path, nargs="+", help="runs' or model folders to begin with, averaged, instead of the base"
    )
    parser.add_argument(
        "--encoder", type=Path, help="a trained encoder's run whose layers to begin with, not the base's"
    )
    parser.add_argument("--student", action="store_true", help="train six layers on the logits of the run at --start")
    parser.add_argument("--queries-per-step", type=int, default=8)
    parser.add_argument("--num-negatives", type=int, default=7, help="irrelevant documents of each query")
    parser.add_argument(
        "--any-form", action="store_true", help="write each query's documents in a form drawn at random"
    )
    train(begin_run(parser))


def train(options: argparse.Namespace) -> None:
    """Trains until its tokens are read."""
    examples = Examples(options, load_tokenizer(options.base))
    drawer = Drawer(examples.draw, options.workers)
    model = make_model(options.base, options.start or (), options.encoder)
    teacher = model if options.student else None
    if teacher:
        model = make_student(teacher)
    frozen = 0 if teacher else options.frozen_layers
    for module in (model.words, model.positions, model.token_types, model.embedding_norm, *list(model.layers)[:frozen]):
        module.requires_grad_(False)
    if teacher:
        as_bf16(teacher.eval().requires_grad_(False).to(options.device))
    model.to(options.device)
    optimizer = MasterOptimizer(model, lr=options.lr, head=(model.head_dense, model.head_out))
    progress = Progress(options.out, options.tokens, optimizer)
    attention = choose_trainable(options.device, model.config)
    for chosen in drawer.steps(progress.step):
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
    drawer.close()
    progress.save()


def mean_loss(logits: torch.Tensor, wanted: torch.Tensor | None, examples: Sequence[Example]) -> torch.Tensor:
    """Returns the mean over queries; with a teacher's logits (`wanted`) mostly the distance to them."""
    table, filled = in_rows(logits, examples)
    num_positives = torch.tensor([example.num_positives for example in examples], device=logits.device)
    relevant = torch.arange(table.shape[1], device=logits.device) < num_positives[:, None]
    losses = label_losses(table, filled, relevant)
    if wanted is not None:
        losses = 0.3 * losses + distillation_losses(table, in_rows(wanted, examples)[0], filled)
    return losses.mean()


def in_rows(logits: torch.Tensor, examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """Lays `(pairs,)` out as `(queries, most pairs)`, 0 where nothing is, and says where something is."""
    sizes = torch.tensor([len(example.pairs) for example in examples])
    filled = torch.arange(int(sizes.max())) < sizes[:, None]
    # Found on the host: counting what a mask holds makes it wait for a card.
    places = filled.flatten().nonzero().flatten().to(logits.device)
    table = logits.new_zeros(filled.numel()).index_copy(0, places, logits)
    return table.view(filled.shape), filled.to(logits.device)


def label_losses(table: torch.Tensor, filled: torch.Tensor, relevant: torch.Tensor) -> torch.Tensor:
    """Sets each relevant document against nothing and the negatives, nothing against these, each pair by itself.

    All are `(queries, pairs)`; returns `(queries,)`.
    """
    negatives = table.masked_fill(relevant | ~filled, -torch.inf)
    nothing = torch.logsumexp(F.pad(negatives, (1, 0)), 1)  # less its own logit, 0
    listwise = torch.logaddexp(table, nothing[:, None]) - table
    binary = F.binary_cross_entropy_with_logits(table, relevant.float(), reduction="none")
    return mean_where(relevant, listwise) + NOTHING_SHARE * nothing + BINARY_SHARE * mean_where(filled, binary)


def distillation_losses(table: torch.Tensor, wanted: torch.Tensor, filled: torch.Tensor) -> torch.Tensor:
    """Draws the order towards the teacher's (cross-entropy of the softmaxes) and the logits themselves."""
    own, theirs = (one.masked_fill(~filled, -torch.inf) for one in (table, wanted))
    surprise = torch.log_softmax(own, 1).masked_fill(~filled, 0.0)
    order = -(torch.softmax(theirs, 1) * surprise).sum(1)
    return order + 0.05 * mean_where(filled, (table - wanted).square())


def mean_where(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Returns each row's mean of the values that the mask takes."""
    return (values * mask).sum(1) / mask.sum(1)


def score(model: CrossEncoder, batch: PackedBatch, attention: AttentionBackend) -> torch.Tensor:
    """Scores without keeping what a backward pass needs."""
    with torch.no_grad():
        return model(batch, attention)  # type: ignore[no-any-return]


def make_model(base: Path, starts: Sequence[Path], encoder: Path | None = None) -> CrossEncoder:
    """Builds what to begin with: the mean of runs and model folders, or an encoder under a head near the identity.

    Without a trained `encoder` that is the base.
    """
    if encoder and starts:
        raise SystemExit("--start and --encoder are two beginnings: give one")
    config, words, weights = read_base(base)
    if encoder:
        trained = {name: tensor for name, tensor in averaged(encoder).items() if name in weights}
        if lacking := weights.keys() - trained.keys():
            raise SystemExit(f"{encoder} is no encoder's run: it lacks {min(lacking)}")
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
    """Takes half of the teacher's layers and everything else."""
    student = CrossEncoder(replace(teacher.config, num_layers=FAST_LAYERS), teacher.words)
    state = {name: t.clone() for name, t in teacher.state_dict().items() if not name.startswith(("layers.", "words."))}
    for mine, theirs in enumerate(STUDENT_LAYERS):
        for name, tensor in teacher.layers[theirs].state_dict().items():
            state[f"layers.{mine}.{name}"] = tensor.clone()
    student.load_state_dict(state, strict=False)
    return student


def as_bf16(model: CrossEncoder) -> None:
    """Casts everything but the table."""
    for name, module in model.named_children():
        if name != "words":
            module.to(torch.bfloat16)


class Examples:
    """Draws queries by set, and writes their documents out anew each time."""

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
        print(f"{len(groups)} groups, {len(self._documents.items)} documents", flush=True)
        print({n: len(self._sets[n]) for n in self._names}, flush=True)

    def draw(self, step: int) -> list[Example]:
        """Draws a step's queries, of any sets."""
        rng = random.Random(f"{self._seed} {step}")
        names = rng.choices(self._names, self._weights, k=self._count)
        return [self._example(rng.choice(self._sets[name]), rng) for name in names]

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
    """Draws from the nearest look-alikes, from those further down, and from what the query was given."""
    wrong = [one for one in group.lookalikes if one not in answers]
    given = [one for one in group.given if one not in answers]
    if given:
        return rng.sample(given, min(len(given), count))
    near, far = wrong[:8], wrong[8:]
    # The very nearest are also those most often right after all, so one in two of them sits out.
    chosen = rng.sample(near, min(4, len(near)))
    return chosen + rng.sample(far, min(count - len(chosen), len(far)))


if __name__ == "__main__":
    main()
