"""What a strategy of experiments is asked: every trial that ended, every other one, and how many are wanted.

Free of the database, which the process of slow strategies does not load.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pacesetter.protocol import ExperimentSpec, TrialPlan
from pacesetter_search.studies import Finished, StudyStrategy


@dataclass(frozen=True, slots=True)
class Question:
    """What a strategy is asked, and where the experiment stood then."""

    experiment: str
    strategy: str
    parameters: dict[str, Any]
    spec: ExperimentSpec
    finished: tuple[Finished, ...]
    pending: tuple[TrialPlan, ...]
    most: int
    planned: int
    revision: int
    over: bool = False
    """Whether nothing more is planned."""

    def ask(self, strategy: StudyStrategy) -> tuple[TrialPlan, ...]:
        """Return the strategy's answer.

        Raises:
            ValueError: It asks for something that is not in the space.
        """
        plans = tuple(
            strategy.plan(self.spec, self.finished, self.pending, self.most, self.spec.seed)
        )
        check_plans(self.spec, plans, self.most, points=not strategy.searches_inside)
        return plans


def check_plans(
    spec: ExperimentSpec, plans: Sequence[TrialPlan], most: int, *, points: bool = True
) -> None:
    """Raise ValueError if a strategy asks for more than it was asked for, or for what is not in the space.

    Args:
        spec: The experiment.
        plans: What the strategy answered.
        most: How many were wanted.
        points: Whether each trial is a point of the space; one that is a search of its own is told the space instead.
    """
    if len(plans) > most:
        raise ValueError(f"it planned {len(plans)} trials, and {most} were wanted")
    for plan in plans:
        if points and plan.parameters.keys() != spec.space.keys():
            raise ValueError(
                f"it planned values for {sorted(plan.parameters)}, and the space has {sorted(spec.space)}"
            )
