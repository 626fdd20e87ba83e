"""A scorer that needs no model and keeps what it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shortlist.router.engine.protocols import CancelToken, PairScores
from shortlist.router.engine.tokenizer import Pair


@dataclass
class Recorder:
    """A scorer whose logit is the last token of a pair's chunk; keeps the calls."""

    calls: list[list[Pair]] = field(default_factory=list)
    keep: bool = True
    num_pairs: int = 0

    def score(self, pairs: Sequence[Pair], *, cancel: CancelToken | None = None) -> PairScores:
        if self.keep:
            self.calls.append(list(pairs))
        self.num_pairs += len(pairs)
        return PairScores([float(pair.input_ids[-2]) / 100 for pair in pairs], sum(map(len, pairs)), 1.0, 2.0)
