"""Tracks the progress of a training run: tokens read, log lines and checkpoints."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
from precision import MasterOptimizer
from provenance import check_provenance

from shortlist.router.checkpoints.devices import resolve_device
from shortlist.schemas.errors import ShortlistError

__all__ = ["Progress", "begin_run", "schedule"]

CHECKPOINT = "checkpoint.pt"
LOG_SECONDS, SAVE_SECONDS = 60, 300


def begin_run(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Adds the options that all runs share, parses the command line, and prepares torch and the run's folder."""
    for name in ("data", "groups", "base", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--lr", type=float, default=1.5e-4)
    parser.add_argument("--tokens", type=float, default=10e6, help="the number of tokens to train on")
    parser.add_argument("--frozen-layers", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto", help="cpu, cuda or cuda:N; auto uses a GPU if there is one")
    parser.add_argument("--workers", type=int, help="processes that prepare steps; default: 0 on a CPU, else cores - 1")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    try:
        options.device = resolve_device(options.device)
    except ShortlistError as error:
        parser.error(f"--device: {error}")
    if options.workers is None:
        options.workers = 0 if options.device.type == "cpu" else max(1, (os.cpu_count() or 2) - 1)
    options.out.mkdir(parents=True, exist_ok=True)
    note, kept = options.out / "run.provenance", options.out / CHECKPOINT
    check_provenance(note, options, free={"out", "threads", "device", "workers"}, result=[kept])
    return options


def schedule(share: float, *, warm: float = 0.05) -> float:
    """Returns the learning rate's factor: it rises over the first 5 % of a run, then falls linearly to 0.01."""
    return max(share / warm, 0.02) if share < warm else max(0.01, (1 - share) / (1 - warm))


class Progress:
    """Counts steps and tokens, logs every minute, saves every five minutes, and resumes from a checkpoint."""

    def __init__(self, out: Path, limit: float, optimizer: MasterOptimizer) -> None:
        self._out, self._limit, self._optimizer = out, limit, optimizer
        self.step = self.queries = self.tokens = 0
        self._before = 0.0
        self._losses: list[torch.Tensor] = []
        self._resume()
        self._began = self._logged = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """The training time in seconds, including the time before interruptions."""
        return self._before + time.monotonic() - self._began

    @property
    def share(self) -> float:
        """The share of the run's tokens that was read, 0..1."""
        return min(self.tokens / self._limit, 1.0)

    @property
    def is_over(self) -> bool:
        """Whether all tokens were read."""
        return self.tokens >= self._limit

    def advance(self, loss: torch.Tensor, queries: int, tokens: int) -> None:
        """Counts one step; reads the loss only when it is logged, because reading waits for the GPU."""
        self.step += 1
        self.queries += queries
        self.tokens += tokens
        self._losses.append(loss.detach())
        now = time.monotonic()
        if now - self._logged > LOG_SECONDS:
            self._log()
            self._logged = now
        if now - self._saved > SAVE_SECONDS:
            self.save()
            self._saved = now

    def save(self) -> None:
        """Writes a checkpoint; an interrupted write keeps the previous one."""
        state = {
            "averaged": self._optimizer.averaged(), "optimizer": self._optimizer.state_dict(),
            "step": self.step, "queries": self.queries, "tokens": self.tokens, "seconds": self.seconds,
        }  # fmt: skip
        part = self._out / "checkpoint.part"
        torch.save(state, part)
        part.rename(self._out / CHECKPOINT)

    def _log(self) -> None:
        loss = float(torch.stack(self._losses).mean())
        line = {
            "step": self.step, "queries": self.queries, "tokens": self.tokens, "seconds": round(self.seconds),
            "loss": round(loss, 4), "tokens_per_s": round(self.tokens / self.seconds),
        }  # fmt: skip
        self._losses = []
        print(json.dumps(line), flush=True)
        with (self._out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _resume(self) -> None:
        path = self._out / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, weights_only=True, map_location="cpu")
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.queries, self.tokens = state["step"], state["queries"], state["tokens"]
        self._before = state["seconds"]
        print(f"resuming at step {self.step}", flush=True)
