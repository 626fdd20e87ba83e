"""Draws the saved results of the speed benchmarks: rates by size, latency under load, long documents, catalog sizes.

    python benchmarks/speed_plots.py FOLDER --out docs/plots

FOLDER is the folder that the benchmarks were given as `--save`. Results that are missing there are skipped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, NullLocator, PercentFormatter
from plots import SETTINGS, new_panels, save_figure

_OURS, _SECOND, _THIRD, _GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
Points = Sequence[dict[str, Any]]


def main() -> None:
    """Draws every result in the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    drawings = {
        "throughput-built-in": draw_peers, "curves": draw_curves, "serving": draw_serving, "long_document": draw_long,
    }  # fmt: skip
    with rc_context(SETTINGS):
        for name, draw in drawings.items():
            source = options.folder / f"{name}.json"
            if source.is_file():
                draw(json.loads(source.read_text(encoding="utf-8")), options.out / f"speed-{name}.png")
                print(options.out / f"speed-{name}.png")


def draw_peers(found: dict[str, Any], path: Path) -> None:
    """Draws the rate of each library that runs the same weights."""
    rates = sorted(found["pairs_per_second"].items(), key=lambda one: one[1])
    figure, (panel,) = new_panels(1, width=7.5, height=4.2)
    bars = panel.barh(
        [name for name, _ in rates],
        [rate for _, rate in rates],
        color=[_OURS if name.startswith("shortlist") else "#BBBBBB" for name, _ in rates],
    )
    panel.bar_label(bars, fmt="%.0f", padding=4)
    panel.set(xlabel=f"pairs/s, {found['threads']} threads ({found['documents']} documents)")
    save_figure(figure, path)


def draw_curves(found: dict[str, Any], path: Path) -> None:
    """Draws rates by number and length of documents, and the time and prompt tokens by catalog size."""
    figure, panels = new_panels(4)
    plot(panels[0], found["documents"], "tokens_per_second", "tokens/s")
    panels[0].set(xlabel="documents of a request", title="Rate by documents")
    plot(panels[1], found["lengths"], "tokens_per_second", "tokens/s")
    plot(panels[1], found["lengths"], "pairs_per_second", "pairs/s", _SECOND)
    panels[1].set(xlabel="median tokens of a document", title="Rate by length", yscale="log")
    panels[1].legend(frameon=False)
    plot(panels[2], found["catalogs"], "first_ms", "first request", _SECOND)
    plot(panels[2], found["catalogs"], "again_ms", "later requests")
    panels[2].set(xlabel="tools in the catalog", ylabel="ms", title="Time by catalog", yscale="log")
    panels[2].legend(frameon=False)
    plot(panels[3], found["catalogs"], "tokens_of_all", "all tools", _GREY)
    plot(panels[3], found["catalogs"], "tokens_of_selected", "the five selected")
    panels[3].set(xlabel="tools in the catalog", title="Tokens a prompt takes", yscale="log")
    panels[3].legend(frameon=False)
    panels[0].set(ylim=(0, None))
    for panel, name in zip(panels, ("documents", "lengths", "catalogs", "catalogs"), strict=True):
        tick_at(panel, found[name])
    for panel in panels[1:]:
        panel.yaxis.set_major_formatter(EngFormatter(sep=""))
        panel.yaxis.set_minor_locator(NullLocator())
    panels[0].yaxis.set_major_formatter(EngFormatter(sep=""))
    save_figure(figure, path)


def draw_serving(found: dict[str, Any], path: Path) -> None:
    """Draws a server's rate by number of clients, and its latency by load."""
    if "by_clients" not in found:
        return
    figure, panels = new_panels(2, width=4.6)
    plot(panels[0], found["by_clients"], "pairs_per_second", "server")
    panels[0].axhline(found["engine_pairs_per_second"], color=_GREY, linestyle="--", linewidth=1)
    panels[0].annotate(
        "one request after another",
        (1.0, found["engine_pairs_per_second"]),
        xycoords=("axes fraction", "data"),
        color=_GREY,
        ha="right",
        va="top",
    )
    panels[0].set(xlabel="clients at once", ylabel="pairs/s", title="Rate by clients", ylim=(0, None))
    tick_at(panels[0], found["by_clients"])
    for name, color, marker in (("p50", _OURS, "o"), ("p90", _THIRD, "s"), ("p99", _SECOND, "^")):
        plot(panels[1], found["by_load"], name, name, color, marker)
    panels[1].set(xlabel="share of the full rate", ylabel="ms", title="Latency under load", ylim=(0, None))
    panels[1].xaxis.set_major_formatter(PercentFormatter(1))
    panels[1].legend(frameon=False)
    save_figure(figure, path)


def draw_long(found: dict[str, Any], path: Path) -> None:
    """Draws time and memory by the length of a document."""
    figure, panels = new_panels(2, width=4.6)
    points = [one | {"at": one["tokens"] / 1_000} for one in found["points"]]
    plot(panels[0], points, "seconds", "measured")
    slope = points[-1]["seconds"] / points[-1]["at"]
    ends = (0.0, points[-1]["at"])
    panels[0].plot(ends, [slope * at for at in ends], color=_GREY, linestyle="--", linewidth=1, label="linear")
    panels[0].set(xlabel="thousand tokens", ylabel="seconds", title="Time of one document", ylim=(0, None))
    panels[0].legend(frameon=False)
    plot(panels[1], points, "peak_above_idle_mib", "")
    panels[1].set(xlabel="thousand tokens", ylabel="MiB", title="Memory above idle, at most", ylim=(0, None))
    save_figure(figure, path)


def plot(
    panel: Axes, points: Points, field: str, label: str, color: str = _OURS, marker: str = "o", at: str = "at"
) -> None:
    """Draws one curve."""
    panel.plot(
        [one[at] for one in points], [one[field] for one in points], color=color, marker=marker, markersize=4.5,
        linewidth=1.8, label=label,
    )  # fmt: skip
    panel.grid(axis="y", color="#DDDDDD", linewidth=0.8)


def tick_at(panel: Axes, points: Points) -> None:
    """Sets a logarithmic x axis with ticks at no more than about five of the sizes."""
    sizes = [one["at"] for one in points]
    panel.set_xscale("log")
    shown = sizes[:: -(-len(sizes) // 5)]
    panel.set_xticks(shown, [f"{size:,}" for size in shown])
    panel.xaxis.set_minor_locator(NullLocator())


if __name__ == "__main__":
    main()
