"""The quality table shows means with intervals, goals, the lowest language and calibration."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest
from paths import ROOT

sys.path.append(str(ROOT / "benchmarks"))

from cases import Case, Shown
from report import abstention_lines, card, main_table
from summary import CaseSummary, Row, summarise

from shortlist.evaluation.calibration import calibrate
from shortlist.evaluation.intervals import mean_intervals


def summary_of(
    values: list[float], *, langs: Sequence[str] = (), styles: Sequence[str] = (), nothing_fits: Sequence[float] = ()
) -> CaseSummary:
    shown = (Shown("hit@1", 0.5), Shown("hit@1", 0.5, is_lowest_language=True), Shown("hit@1", 0.5, style="vague"))
    queries = [
        {"id": str(number), "lang": lang, "style": style, "measures": {"hit@1": value}, "top_score": value}
        for number, (value, lang, style) in enumerate(
            zip(values, langs or ["en"] * len(values), styles or [""] * len(values), strict=True)
        )
    ]
    found = {"kind": "tools", "documents": 5, "seconds": 1.0, "queries": queries, "nothing_fits": nothing_fits}
    return summarise(Case("tools/toole", shown), {"rerank": found})


@pytest.mark.parametrize(
    ("values", "reached"), [([1.0, 0.0], "yes"), ([1.0, 0.0, 0.0], "no")], ids=["just reached", "missed"]
)
def test_the_table_says_whether_the_goal_is_reached(values: list[float], reached: str) -> None:
    line = list(main_table([summary_of(values)], ["rerank"]))[2]

    assert line.endswith(f"| 0.500 | {reached} |")


def test_a_goal_without_its_method_is_not_measured() -> None:
    row = Row(Shown("recall@50", 0.97, "fused"), {})

    assert row.reached is None


def test_the_lowest_language_is_one_of_enough_queries() -> None:
    langs = ["de"] * 30 + ["fr"] * 30 + ["is"] * 29
    summary = summary_of([1.0] * 30 + [0.0] * 20 + [1.0] * 10 + [0.0] * 29, langs=langs)

    lowest = list(summary.rows)[1].means["rerank"]
    line = list(main_table([summary], ["rerank"]))[3]
    assert (lowest.lang, lowest.num_queries, lowest.value) == ("fr", 30, pytest.approx(1 / 3))
    assert line.startswith("| toole | 5 | 89 | hit@1, lowest language of 30 queries or more | **0.333** [")
    assert line.endswith("] (fr) | 0.500 | no |")


def test_the_card_lists_languages_in_three_columns_by_number_of_queries() -> None:
    summary = summary_of([1.0] * 10, langs=["de"] * 4 + ["fr"] * 3 + ["is"] * 2 + ["ro"])

    lines = [line for line in card([summary], ["rerank"], {}, "") if line]

    head = lines.index("toole by language:") + 1
    assert lines[head] == "|" + " language | queries | hit@1 |" * 3
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[head + 2 :]]
    assert [row[0::3] for row in cells] == [["de", "is", ""], ["fr", "ro", ""]]
    assert [row[1::3] for row in cells] == [["4", "2", ""], ["3", "1", ""]]
    assert cells[0][2] == "1.000 [1.000, 1.000]"


def test_no_language_is_reported_as_lowest_if_none_has_enough_queries() -> None:
    assert list(summary_of([0.0, 1.0]).rows)[1].means == {}


def test_a_style_has_a_row_of_its_own() -> None:
    summary = summary_of([1.0, 1.0, 0.0], styles=["plain", "vague", "vague"])

    line = list(main_table([summary], ["rerank"]))[4]
    assert line.startswith("| toole | 5 | 3 | hit@1, vague | **0.500** [")


def test_what_nothing_fits_has_a_line_of_its_own() -> None:
    (line,) = abstention_lines([summary_of([0.5, 1.0], nothing_fits=[0.1, 0.7])])

    assert line == "Nothing fits, toole (2 queries): AUC 0.750; 50% score less than 0.500, which 95 % of others reach."


@pytest.mark.parametrize("seed", range(5))
def test_intervals_contain_the_mean_and_have_the_theoretical_width(seed: int) -> None:
    values = np.random.default_rng(seed).random((200, 3)) < 0.7

    means, lows, highs = mean_intervals(values.astype(np.float64))

    assert all(low < mean < high for low, mean, high in zip(lows, means, highs, strict=True))
    expected = 2 * 1.96 * np.sqrt(0.7 * 0.3 / 200)
    np.testing.assert_allclose(np.array(highs) - np.array(lows), expected, rtol=0.2)


def test_intervals_are_the_same_every_time() -> None:
    values = np.array([[0.0], [1.0], [1.0], [0.5]])

    assert mean_intervals(values) == mean_intervals(values)


def test_the_calibration_error_is_the_mean_distance_of_scores_from_shares() -> None:
    queries = [
        {"top_score": score, "is_right": right} for score, right in [(0.2, False), (0.2, True), (0.9, True)] * 10
    ]

    found = calibrate(queries)

    # Twenty scores of 0.2, ten of them relevant, and ten of 0.9, all relevant; a bin holds three queries.
    assert sum(found.counts) == 30
    assert len(found.counts) == 10
    assert sum(found.shares) == pytest.approx(20 / 3)
    assert found.ece > 0.2


def test_perfect_scores_have_no_calibration_error() -> None:
    queries = [{"top_score": float(number % 2), "is_right": bool(number % 2)} for number in range(40)]

    assert calibrate(queries).ece == 0


def test_without_scores_there_is_no_calibration() -> None:
    assert calibrate([{"id": "q"}]) is None
