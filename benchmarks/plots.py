"""Draws recall by depth, and reliability diagrams of the scores. This module and `speed_plots.py` need matplotlib."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from cases import DEPTHS, HEADINGS
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter
from summary import CaseSummary

from shortlist.evaluation.calibration import Calibration

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers and dashes do the same in grey print.
_STYLES = {
    "rerank": ("#0072B2", "o", "-", 2.2),
    "fused": ("#009E73", "s", "-", 1.5),
    "encoder": ("#E69F00", "^", "--", 1.5),
    "base": ("#CC79A7", "D", "--", 1.5),
    "bm25": ("#000000", "x", ":", 1.5),
}
_COLUMNS = 4
SETTINGS = {"font.size": 13, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 14}


def draw_recall(summaries: Sequence[CaseSummary], methods: Sequence[str], path: Path) -> None:
    """Draws recall@k of each method, one panel per set, and the legend in a separate panel."""
    num_columns = min(_COLUMNS, len(summaries) + 1)
    num_rows = math.ceil((len(summaries) + 1) / num_columns)
    with matplotlib.rc_context(SETTINGS):
        figure, grid = pyplot.subplots(
            num_rows, num_columns, figsize=(3.1 * num_columns, 2.7 * num_rows), sharey=True, squeeze=False
        )
        panels = list(grid.flat)
        for panel, summary in zip(panels, summaries, strict=False):
            _draw_case(panel, summary, methods)
        for panel in panels[len(summaries) :]:
            panel.set_axis_off()
        handles, labels = panels[0].get_legend_handles_labels()
        panels[len(summaries)].legend(
            handles[::-1], labels[::-1], loc="center", frameon=False, title="Recall in the first k"
        )
        save_figure(figure, path)


def draw_calibration(calibrations: Mapping[str, Calibration], path: Path) -> None:
    """Draws a reliability diagram for each kind; on the dashed line a score equals the share of relevant documents."""
    with matplotlib.rc_context(SETTINGS):
        figure, grid = pyplot.subplots(1, len(calibrations), figsize=(4.2 * len(calibrations), 4.2), squeeze=False)
        for panel, (kind, found) in zip(grid.flat, calibrations.items(), strict=True):
            panel.plot([0, 1], [0, 1], color="#999999", linestyle="--", linewidth=1)
            panel.plot(found.scores, found.shares, color="#0072B2", marker="o", linewidth=1.5)
            panel.set(title=f"{kind}: ECE {found.ece:.3f}, n = {sum(found.counts):,}", xlim=(0, 1.02), ylim=(0, 1.02))
            panel.set(xlabel="score of the top document", ylabel="share relevant", aspect="equal")
            panel.set_xticks([0, 0.5, 1])
            panel.set_yticks([0, 0.5, 1])
        save_figure(figure, path)


def _draw_case(panel: Axes, summary: CaseSummary, methods: Sequence[str]) -> None:
    # Draw ours last, on top of the others.
    for method in sorted((one for one in methods if one in summary.overall), key=list(_STYLES).index, reverse=True):
        color, marker, dashes, width = _STYLES[method]
        values = [summary.overall[method][f"recall@{depth}"].value for depth in DEPTHS]
        panel.plot(
            DEPTHS, values, color=color, marker=marker, markersize=4.5, linestyle=dashes, linewidth=width,
            label=HEADINGS[method],
        )  # fmt: skip
    panel.set(title=summary.case.short_name, xscale="log", ylim=(0, 1.04))
    panel.set_xticks(DEPTHS, [str(depth) for depth in DEPTHS])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(PercentFormatter(1))
    panel.tick_params(labelleft=True)
    panel.grid(axis="y", color="#DDDDDD", linewidth=0.8)


def new_panels(number: int, *, width: float = 3.8, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """Makes a row of panels; `width` and `height` of each are in inches."""
    figure, grid = pyplot.subplots(1, number, figsize=(width * number, height), squeeze=False)
    return figure, list(grid.flat)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure to a file and closes it."""
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
