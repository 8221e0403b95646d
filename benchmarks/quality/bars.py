"""The bars that the search has to clear, as rows of a report."""

import math
from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.quality.board import Board
from benchmarks.quality.figures import Standing
from benchmarks.reporting import Report

OURS = "zero_tuning: no rate"
PLACEBO = "placebo: no rate"
HORIZON, BASE = "autolrs horizon: right rate", "base schedule: right rate"
SIMPLE = ("untuned default", "3-point sweep")

LM_COST, LM_RATIO, WORST_RATIO = 1.30, 0.010, 0.08
NEAR_RATIO, NEAR_TASKS = 0.02, 7
QUADRATIC = "noisy-quadratic"
"""Stands beside the others: its optimum is known and no law of learning is in it."""


def add_bars(report: Report, board: Board) -> None:
    """Add one row a bar."""
    standings = [one for one in board.standings() if one.task != QUADRATIC]
    lm_like = {found.task.name for found in board.references if found.task.lm_like}
    ours = [one for one in standings if one.contender == OURS]
    if ours:
        _steps(report, ours, 1.0 + board.plan.cap)
        _zero_tuning(report, ours, lm_like)
        for task in (one.task for one in ours):
            _against(report, board, task)
        _lost(report, [one for one in standings if one.contender.startswith("zero_tuning")])
        _coverage(report, ours)
    _horizon(report, board)


def _steps(report: Report, ours: Sequence[Standing], allowed: float) -> None:
    steps = max(one.steps for one in ours)
    bar = f"<= {allowed:g}"
    report.row(f"{OURS}: most steps used", steps, "x budget", bar, steps <= allowed + 1e-9)


def _zero_tuning(report: Report, ours: Sequence[Standing], lm_like: set[str]) -> None:
    for one in ours:
        ratio = _percent(one.log_ratio.mean)
        bar = LM_RATIO if one.task in lm_like else WORST_RATIO
        name = f"{OURS}: {one.task}"
        report.row(f"{name}: loss above best", ratio, "%", f"<= {100 * bar:g}", ratio <= 100 * bar)
        if one.cost is not None:
            bound = one.task in lm_like
            report.row(
                f"{name}: compute-equivalent cost",
                one.cost,
                "x",
                f"<= {LM_COST}" if bound else None,
                one.cost <= LM_COST if bound else None,
            )
    near = sum(_percent(one.log_ratio.mean) <= 100 * NEAR_RATIO for one in ours)
    wanted = math.ceil(len(ours) * NEAR_TASKS / 8)
    report.row(f"{OURS}: tasks within 2 %", near, "tasks", f"goal {wanted}", near >= wanted)


def _against(report: Report, board: Board, task: str) -> None:
    for other in SIMPLE:
        gap = board.against(task, OURS, other)
        if gap is not None:
            name = f"{OURS}: {task}: loss above {other}"
            report.row(name, _percent(gap.mean), "%", "< 0", gap.mean < 0.0)
    gap = board.against(task, OURS, PLACEBO)
    if gap is not None:
        probed = any(found.steps > found.main_steps for found in board.scores[task, OURS].values())
        met = gap.clearly_below_zero if probed else not gap.clearly_above_zero
        bar = "< -2 se, as it probed" if probed else "no worse by 2 se"
        report.row(f"{OURS}: {task}: loss above placebo", _percent(gap.mean), "%", bar, met)


def _lost(report: Report, standings: Sequence[Standing]) -> None:
    runs, lost = sum(one.log_ratio.seeds for one in standings), sum(one.lost for one in standings)
    # No event in n trials puts the rate below 3 / n with 95 % confidence.
    bound = 3.0 / runs if lost == 0 else (lost + 3.0 * math.sqrt(lost)) / runs
    report.row("zero_tuning from any start: runs lost", lost, f"of {runs}", "0", lost == 0)
    report.row(
        "zero_tuning from any start: share lost is below", 100.0 * bound, "%", "<= 3", bound <= 0.03
    )


def _coverage(report: Report, ours: Sequence[Standing]) -> None:
    held, given = sum(one.covered or 0 for one in ours), sum(one.intervals for one in ours)
    if given:
        share = 100.0 * held / given
        report.row(
            f"{OURS}: 90 % intervals that held the best rate", share, "%", "80 to 100", share >= 80
        )


def _horizon(report: Report, board: Board) -> None:
    gaps = list(_gaps(board))
    if not gaps:
        return
    middle = _percent(median(gaps))
    report.row(f"{HORIZON}: loss above its base, median task", middle, "%", "<= 0.5", middle <= 0.5)


def _gaps(board: Board) -> Iterator[float]:
    for reference in board.references:
        gap = board.against(reference.task.name, HORIZON, BASE)
        if gap is not None:
            yield gap.mean


def _percent(log_ratio: float) -> float:
    return 100.0 * math.expm1(log_ratio)
