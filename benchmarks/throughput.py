"""Compares Shortlist's speed with other libraries (peers) on the same weights, texts and threads, in one process.

    python benchmarks/throughput.py [--shape built-in|base|large] [--documents 64] [--rounds 5] [--quick] [--device D]

Prints how many times as long as Shortlist each peer takes in the same round (median, least, greatest), and the share of
the machine's bfloat16 peak that Shortlist reaches from texts to scores. With `--shape large` the peers run the shape of
bge-reranker-v2-m3 (24 layers of 1,024) while Shortlist runs XLM-R base, since a user may choose between these two.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import PEERS, Exports, Peer, Score, installed, ours, weights_digest
from rounds import PEAK_OPERATIONS, Spread, compare, measure_peak, run_rounds, spread
from saving import add_saving, save
from workload import Workload, make_workload, multiplications

from shortlist.router.checkpoints.loading import load_model
from shortlist.router.checkpoints.native import LoadedModel
from shortlist.router.model.encoder import CrossEncoder, ModelConfig
from shortlist.schemas.errors import ShortlistError

OURS, OURS_FP32, PEAK = "shortlist", "shortlist fp32", "peak"
_QUICK_SECONDS = 40.0  # without the imports, which take long on some machines
_MOSTLY_BEST = 4  # pairs per batch; usually the fastest size for workloads like this one (docs/benchmarks.md)
SHAPES = {
    # XLM-R base: the shape of jina-reranker-v2-base-multilingual and of bge-reranker-base.
    "base": {"num_layers": 12, "hidden_size": 768, "num_heads": 12, "intermediate_size": 3_072},
    # XLM-R large: the shape of bge-reranker-v2-m3.
    "large": {"num_layers": 24, "hidden_size": 1_024, "num_heads": 16, "intermediate_size": 4_096},
}
# The peers that load a folder in the hub's format and run on any device.
PLAIN_PEERS = ("sentence-transformers", "sentence-transformers bf16")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints the results; returns the exit status."""
    options = parse(arguments)
    try:
        save(measure(options), f"throughput-{options.shape}", quick_lines if options.quick else table, options)
    except ShortlistError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="built-in", choices=("built-in", *SHAPES))
    parser.add_argument("--device", default="cpu", help="cpu or cuda; on cuda sentence-transformers is the only peer")
    parser.add_argument("--documents", type=int, default=64, help="how many; log-normal lengths, median 110 tokens")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--quick", action="store_true", help="16 documents, up to 3 rounds in a minute; prints RATIO, PEAK_SHARE lines"
    )
    parser.add_argument("--peers", default="", help="only these, separated by commas")
    add_saving(parser)
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="the folder for exported models")
    options = parser.parse_args(arguments)
    if options.quick:
        options.documents, options.rounds = 16, 3
    return options


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Makes the subjects, times them in rounds, and compares the order of their scores."""
    until = time.perf_counter() + (_QUICK_SECONDS if options.quick else math.inf)
    notice = partial(print, file=sys.stderr, flush=True) if sys.stderr.isatty() else lambda text: None
    loaded = load_model("built-in") if options.shape == "built-in" else random_model("base")
    theirs = random_model("large") if options.shape == "large" else loaded
    exports, their_exports = (
        Exports(model, options.out / f"{model.name}-{model.version}-{weights_digest(model)}", device=options.device)
        for model in (loaded, theirs)
    )
    workload = make_workload(loaded.tokenizer, options.documents, max_tokens=loaded.model.config.max_pair_tokens - 40)
    scorers: dict[str, Callable[[], Sequence[float]]] = {
        OURS: bind(ours("auto")(exports), workload, 0),
        OURS_FP32: bind(ours("float32")(exports), workload, 0),
    }
    batch_sizes = {}
    for peer in chosen(options):
        notice(f"preparing {peer.name}")
        batch_sizes[peer.name], scorers[peer.name] = at_its_best(peer, their_exports, workload, options.quick)
    peak = measure_peak(torch.bfloat16, options.device)
    scores: dict[str, Sequence[float]] = {}
    subjects = {name: partial(keep_scores, scores, name, score) for name, score in scorers.items()}
    seconds = run_rounds(subjects | {PEAK: peak}, options.rounds, until=until, notice=notice)
    found = summarise(seconds, scores, batch_sizes, workload, loaded)
    return found | {"device": options.device, "peers_model": theirs.name}


def keep_scores(scores: dict[str, Sequence[float]], name: str, score: Callable[[], Sequence[float]]) -> None:
    """Runs a scorer and keeps its scores, so that comparing them needs no further run."""
    scores[name] = score()


def chosen(options: argparse.Namespace) -> list[Peer]:
    """Returns the installed peers that can run this shape on this device, or those named by --peers."""
    wanted = [name.strip() for name in options.peers.split(",") if name.strip()]
    if not wanted and (options.shape == "large" or options.device != "cpu"):
        wanted = [*PLAIN_PEERS]
    return [peer for peer in installed(PEERS) if not wanted or peer.name in wanted]


def at_its_best(
    peer: Peer, exports: Exports, workload: Workload, is_quick: bool
) -> tuple[int, Callable[[], Sequence[float]]]:
    """Returns the fastest batch size, by one timed run each after a warm-up, and its scorer.

    With `is_quick` it returns the size that is usually the fastest, without a run.
    """
    score = peer.make(exports)
    is_known = is_quick and _MOSTLY_BEST in peer.batch_sizes
    bound = {size: bind(score, workload, size) for size in ((_MOSTLY_BEST,) if is_known else peer.batch_sizes)}
    if len(bound) == 1:
        return next(iter(bound.items()))
    best = min(bound, key=lambda size: seconds_of(bound[size]))
    return best, bound[best]


def bind(score: Score, workload: Workload, batch_size: int) -> Callable[[], Sequence[float]]:
    """Returns a function that scores the workload once."""
    return lambda: score(workload.query, workload.documents, batch_size)


def seconds_of(run: Callable[[], object]) -> float:
    """Returns the seconds of the second of two runs."""
    run()
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def summarise(
    seconds: Mapping[str, Sequence[float]],
    scores: Mapping[str, Sequence[float]],
    batch_sizes: Mapping[str, int],
    workload: Workload,
    loaded: LoadedModel,
) -> dict[str, Any]:
    """Computes ratios, rates, the share of the peak, and each subject's rank correlation with Shortlist in float32."""
    operations = multiplications(loaded.model.config, workload.pair_tokens)
    shares = [
        operations / own / (PEAK_OPERATIONS / peak) for own, peak in zip(seconds[OURS], seconds[PEAK], strict=True)
    ]
    ratios = compare({name: values for name, values in seconds.items() if name != PEAK}, OURS)
    return {
        "model": f"{loaded.name} {loaded.version}",
        "documents": len(workload.documents),
        "tokens": sum(workload.pair_tokens),
        "threads": torch.get_num_threads(),
        "rounds": len(seconds[OURS]),
        "pairs_per_second": {n: len(workload.documents) / spread(v).median for n, v in seconds.items() if n != PEAK},
        "ratios": {name: asdict(found) for name, found in ratios.items()},
        "peak_share": asdict(spread(shares)),
        "peak_gflops": PEAK_OPERATIONS / spread(seconds[PEAK]).median / 1e9,
        "batch_sizes": dict(batch_sizes),
        "agreement": {name: rank_correlation(found, scores[OURS_FP32]) for name, found in scores.items()},
    }


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Computes Spearman's rank correlation of scores without ties."""
    ranks = [np.argsort(np.argsort(np.asarray(scores))) for scores in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def quick_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Writes the lines of --quick, which scripts can parse."""
    for name, ratio in found["ratios"].items():
        yield f"RATIO {name.replace(' ', '-')} {ratio['median']:.2f}"
    yield f"PEAK_SHARE {found['peak_share']['median']:.2f}"


def table(found: Mapping[str, Any]) -> Iterator[str]:
    """Writes a Markdown table below a line that describes what was timed."""
    yield (
        f"{found['model']} on {found['device']}: {found['documents']} documents, {found['tokens']:,} tokens, "
        f"{found['threads']} threads, {found['rounds']} rounds; bfloat16 peak {found['peak_gflops']:,.0f} GFLOP/s; "
        f"share of it {Spread(**found['peak_share'])}"
    )
    if found["peers_model"] != found["model"].split()[0]:
        yield f"Peers run {found['peers_model']}, so they rank in another order."
    yield ""
    yield "| | batch | pairs/s | times as long as shortlist: median [least, greatest] | rank correlation with float32 |"
    yield "|---|---:|---:|---:|---:|"
    for name, rate in found["pairs_per_second"].items():
        ratio = found["ratios"].get(name)
        times = Spread(**ratio) if ratio else ""
        batch = found["batch_sizes"].get(name) or ""
        yield f"| {name} | {batch} | {rate:.1f} | {times} | {found['agreement'][name]:.4f} |"


def random_model(shape: str) -> LoadedModel:
    """Makes a model of the given shape with random weights and the built-in model's tokenizer."""
    built_in = load_model("built-in")
    torch.manual_seed(0)
    config = ModelConfig(
        **SHAPES[shape], vocabulary_size=250_037, max_pair_tokens=1_024, position_offset=2, num_token_types=1,
        layer_norm_eps=1e-5,
    )  # fmt: skip
    model = CrossEncoder(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.normal_(0.0, 0.02)  # XLM-R's initialisation
    return LoadedModel(
        model=model,
        tokenizer=built_in.tokenizer,
        name=f"xlm-r-{shape}-random",
        version="0",
        license="none",
        default_query_tokens=512,
        default_pair_tokens=1_024,
        document_tokens=512,
    )


if __name__ == "__main__":
    sys.exit(main())
