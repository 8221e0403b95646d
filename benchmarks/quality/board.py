"""Runs everything that a table needs: references, then all contenders on the same fresh seeds."""

from dataclasses import dataclass

from benchmarks.quality.contenders import Contender, Steered
from benchmarks.quality.contests import Contest, contests
from benchmarks.quality.engine import SHAPES, ShapeName
from benchmarks.quality.figures import Estimate, Standing, estimate, log_ratios, standing
from benchmarks.quality.pool import Pool
from benchmarks.quality.score import Score, score
from benchmarks.quality.tasks.base import Task
from benchmarks.quality.tuned import Reference, tuned_references

FIRST_FRESH_SEED = 100
"""Seeds from here on have chosen nothing."""
SLOW_KINDS = ("language",)
"""Kinds that get half of the seeds: their runs take ten times as long, and vary less."""
BELIEF_SHAPE: ShapeName = "wsd50"
"""Shape that the search's belief about the best rate is about."""


@dataclass(frozen=True)
class Plan:
    """What to run."""

    tasks: tuple[Task, ...]
    contenders: tuple[Contender, ...]
    seeds: int = 10
    scale: float = 1.0
    """The budget, over the task's own."""
    cap: float = 0.15
    """Steps beyond the budget that a contender may use, over the budget."""
    shapes: tuple[ShapeName, ...] = SHAPES

    def fresh_seeds(self, task: Task) -> tuple[int, ...]:
        """Return the seeds to score on."""
        count = max(2, self.seeds // 2) if task.kind in SLOW_KINDS else self.seeds
        return tuple(range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + count))


@dataclass(frozen=True)
class Board:
    """Everything that was measured."""

    plan: Plan
    references: list[Reference]
    scores: dict[tuple[str, str], dict[int, Score]]
    """By task and contender, then by seed."""
    failures: tuple[str, ...] = ()
    """Contests that raised an error; their seeds are missing."""

    def losses(self, task: str, contender: str) -> dict[int, float]:
        """Return losses on B by seed; empty where the contender did not run."""
        return {seed: found.B for seed, found in self.scores.get((task, contender), {}).items()}

    def standings(self) -> list[Standing]:
        """Return the figures, task by task."""
        return [
            self._standing(reference, contender)
            for reference in self.references
            for contender in self.plan.contenders
            if (reference.task.name, contender.name) in self.scores
        ]

    def against(self, task: str, contender: str, other: str) -> Estimate | None:
        """Return the log ratio of two contenders' losses, paired by seed; None where one of them did not run."""
        ours, theirs = self.losses(task, contender), self.losses(task, other)
        ratios = log_ratios(ours, theirs)
        return estimate(ratios) if ratios else None

    def _standing(self, reference: Reference, contender: Contender) -> Standing:
        task = reference.task.name
        paid = None
        if isinstance(contender, Steered) and contender.placebo_of is not None:
            paid = self.scores.get((task, contender.placebo_of))
        return standing(
            contender.name,
            reference,
            self.scores[task, contender.name],
            paid=paid,
            best=reference.best_by_shape.get(BELIEF_SHAPE),
        )


def measure(pool: Pool, plan: Plan) -> Board:
    """Run what the cache does not have, and return everything."""
    references = tuned_references(pool, plan.tasks, plan.scale, plan.fresh_seeds, plan.shapes)
    rounds: list[tuple[Reference, Contender, list[Contest]]] = [
        (reference, contender, contests(contender, reference, seeds, plan.cap))
        for reference in references
        for seeds in [plan.fresh_seeds(reference.task)]
        for contender in plan.contenders
    ]
    results, failures = pool.attempt([work for _, _, found in rounds for work in found])
    scores = {}
    for reference, contender, found in rounds:
        done = [(work.seed, results[work.address]) for work in found if work.address in results]
        if done:
            by_seed = {seed: score(result) for seed, result in done}
            scores[reference.task.name, contender.name] = by_seed
    return Board(plan, references, scores, tuple(failures))
