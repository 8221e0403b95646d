"""What a contender reached on one task and seed, and what it spent."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.quality.engine import Outcome


@dataclass(frozen=True)
class Score:
    """Losses on both splits; those of the untrained model at most, see :class:`benchmarks.quality.engine.Outcome`."""

    A: float
    B: float
    lost: bool
    steps: int
    """Every optimizer step taken, probes and runs that were thrown away included."""
    main_steps: int
    """Steps of the run whose end is scored."""
    seconds: dict[str, float]
    """By column of the ledger; one column ``main`` for what has no ledger."""
    log2_lr: float | None = None
    """Peak rate of the first parameter group that was chosen."""
    interval: tuple[float, float] | None = None
    """90 % interval that the contender gave for log2 of the best rate, before it ran."""
    decisions: dict[str, int] = field(default_factory=dict)
    """How often each kind of decision was taken."""
    beside_steps: int = 0
    """That workers took for it at the same time."""
    job: str | None = None
    """Of the controller, where there was one."""


def scored(
    outcome: Outcome,
    *,
    searched: int = 0,
    search_seconds: float = 0.0,
    log2_lr: float | None = None,
) -> Score:
    """Return the score of a training, after ``searched`` steps of search."""
    return Score(
        A=outcome.A,
        B=outcome.B,
        lost=outcome.lost,
        steps=outcome.steps + searched,
        main_steps=outcome.steps,
        seconds={"main": outcome.seconds, "probe": round(search_seconds, 3)},
        log2_lr=log2_lr,
    )


def score(result: dict[str, Any]) -> Score:
    """Return a score from its JSON values."""
    interval = result["interval"]
    return Score(**{**result, "interval": None if interval is None else tuple(interval)})
