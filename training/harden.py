"""Orders the look-alikes (hard negatives) of training groups by the current cross-encoder, hardest first.

`mine.py` finds look-alikes with the first stage; this script scores a query's nearest with the cross-encoder that is
trained next. A look-alike that scores far above every relevant document is left out: in the training sets it is more
often an unmarked relevant document than a mistake. Each pair costs a forward pass, so the script samples the groups; a
set's share is a power of its size.

    python training/harden.py --data DATA --groups build/train/groups.jsonl --model router/models/shortlist-small \
        --out build/train/hard.jsonl
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from documents import Documents, Group, read_groups
from parts import Parts

from shortlist.router.checkpoints.loading import make_engines
from shortlist.router.checkpoints.native import read_folder
from shortlist.router.engine.streams import DirectScorer
from shortlist.router.engine.tokenizer import Pair, TokenIds, Tokenizer

NEAREST = 24
DOCUMENT_TOKENS, QUERY_TOKENS = 64, 64
# A look-alike whose logit is this far above the best relevant document is taken for a relevant one.
ANSWERS_AS_WELL = 1.0
SET_POWER = 0.6
AT_ONCE = 64  # queries

Score = Callable[[Sequence[Pair]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Hardened:
    """The reordered look-alikes of one group, hardest first, and counts for the log."""

    lookalikes: list[str]
    num_left_out: int
    is_mistaken: bool  # whether a kept look-alike scores above every relevant document


def main() -> None:
    """Writes the sampled groups with reordered look-alikes, and the held-out groups unchanged."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "groups", "model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=8_000, help="number of queries over all sets")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    parts = Parts(options)
    if parts.is_done:
        return
    groups = draw(read_groups(options.groups, "train"), options.queries, random.Random(options.seed))
    loaded = read_folder(options.model)
    engines, _ = make_engines(loaded)
    scorer = DirectScorer(engines)
    writer = PairWriter(loaded.tokenizer, Documents(options.data, groups, loaded.tokenizer))
    # Training uses only a query's own candidates if it has any, so the look-alikes of these groups need no order.
    sets = {"apart": [group for group in groups if group.given]}
    sets |= by_set([group for group in groups if not group.given])
    for name, members in sets.items():
        if parts.has(name):
            continue
        parts.put(name, lines_of(members, writer, scorer) if name != "apart" else plain_lines(members))
    parts.put("held out", held_out_lines(options.groups))
    parts.join([*sets, "held out"])


def lines_of(members: Sequence[Group], writer: PairWriter, scorer: DirectScorer) -> list[str]:
    """Reorders the look-alikes of one set's groups, and prints statistics."""
    started = time.monotonic()
    done = [
        one for batch in batches(members) for one in harden(batch, writer, lambda pairs: scorer.score(pairs).logits)
    ]
    print(
        f"{members[0].set}: {len(members)} groups in {time.monotonic() - started:.0f} s,"
        f" {sum(one.is_mistaken for one in done) / len(done):.0%} mistaken,"
        f" {sum(one.num_left_out for one in done) / len(done):.2f} look-alikes left out of each",
        flush=True,
    )
    return [line_of(group, one.lookalikes) for group, one in zip(members, done, strict=True)]


def plain_lines(members: Sequence[Group]) -> list[str]:
    """Writes groups unchanged."""
    return [line_of(group, group.lookalikes) for group in members]


def draw(groups: Sequence[Group], count: int, rng: random.Random) -> list[Group]:
    """Samples about `count` groups; each set's share is proportional to a power of its size."""
    sets = by_set(groups)
    total = sum(len(members) ** SET_POWER for members in sets.values())
    return [
        group
        for members in sets.values()
        for group in rng.sample(members, min(len(members), round(count * len(members) ** SET_POWER / total)))
    ]


def by_set(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Groups the groups by their set."""
    sets: dict[str, list[Group]] = {}
    for group in groups:
        sets.setdefault(group.set, []).append(group)
    return sets


def batches(groups: Sequence[Group]) -> Iterator[Sequence[Group]]:
    """Yields slices of the groups that are scored in one call."""
    for start in range(0, len(groups), AT_ONCE):
        yield groups[start : start + AT_ONCE]


class PairWriter:
    """Makes the pairs of a group's documents; each document is tokenized once."""

    def __init__(self, tokenizer: Tokenizer, documents: Documents) -> None:
        self._tokenizer, self._documents = tokenizer, documents
        self._ids: dict[tuple[str, str], TokenIds] = {}

    def pairs(self, group: Group, identifiers: Sequence[str]) -> list[Pair]:
        """Returns one pair of the group's query with each document."""
        (query,) = self._tokenizer.encode([group.query])
        return [self._tokenizer.make_pair(query[:QUERY_TOKENS], self._document(group.set, one)) for one in identifiers]

    def _document(self, name: str, identifier: str) -> TokenIds:
        key = (name, identifier)
        if key not in self._ids:
            (ids,) = self._tokenizer.encode([self._documents.write_plain(key, DOCUMENT_TOKENS)])
            self._ids[key] = ids[: DOCUMENT_TOKENS + 16]
        return self._ids[key]


def harden(groups: Sequence[Group], writer: PairWriter, score: Score) -> list[Hardened]:
    """Scores the nearest look-alikes of several groups in one call, and reorders them."""
    asked = [[*group.positives, *group.lookalikes[:NEAREST]] for group in groups]
    pairs = [pair for group, ids in zip(groups, asked, strict=True) for pair in writer.pairs(group, ids)]
    logits = iter(score(pairs))
    return [reorder(group, [next(logits) for _ in ids]) for group, ids in zip(groups, asked, strict=True)]


def reorder(group: Group, logits: Sequence[float]) -> Hardened:
    """Orders a group's look-alikes by `logits`, which are those of its relevant documents, then of its nearest."""
    best = max(logits[: len(group.positives)])
    scored = sorted(
        zip(logits[len(group.positives) :], group.lookalikes[:NEAREST], strict=True), key=lambda one: -one[0]
    )
    kept = [(logit, one) for logit, one in scored if logit < best + ANSWERS_AS_WELL]
    return Hardened(
        [*(one for _, one in kept), *group.lookalikes[NEAREST:]],
        len(scored) - len(kept),
        bool(kept) and kept[0][0] > best,
    )


def line_of(group: Group, lookalikes: Sequence[str]) -> str:
    """Writes a group in the format of `mine.py`."""
    fields = {
        "set": group.set, "split": group.split, "query": group.query, "group": group.cluster,
        "positives": list(group.positives), "lookalikes": list(lookalikes), "given": list(group.given),
    }  # fmt: skip
    return json.dumps(fields, ensure_ascii=False) + "\n"


def held_out_lines(path: Path) -> list[str]:
    """Reads the lines of the held-out groups."""
    with path.open(encoding="utf-8") as lines:
        return [line for line in lines if json.loads(line)["split"] != "train"]


if __name__ == "__main__":
    main()
