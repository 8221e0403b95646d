"""``asha``: many points for few steps, the best of them for more [Li2020, arXiv 1810.05934].

Trials that are compared at a step have to stand where they would stand at any budget: on a constant rate. Under a
schedule that decays, a high rate looks worse than a low one until its decay, and the best ones would be dropped first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pacesetter.protocol import ExperimentSpec, Range, TrialPlan, Value
from pacesetter.schedules import Tier
from pydantic import Field

from pacesetter_search.contract import Parameters
from pacesetter_search.studies.cells import number
from pacesetter_search.studies.contract import Progress, StudyStrategy
from pacesetter_search.studies.random_search import covering
from pacesetter_search.studies.space import Key, Space

CONSTANT = "constant"


class AshaParameters(Parameters):
    """Parameters of ``asha``."""

    eta: Annotated[int, Field(ge=2, le=10)] = 3
    """One of so many is run on, for so many times the steps where the space gives a range of them."""
    steps: str = "steps"
    """What the proxy calls its steps."""
    schedule: str = "schedule"
    """What the proxy calls its schedule, which has to be fixed as constant."""


@dataclass(frozen=True, slots=True)
class Rung:
    """Points at one number of steps: those that were planned, and losses of those that ended, by number."""

    planned: frozenset[Key]
    losses: tuple[tuple[float, int, Key, dict[str, Value]], ...]
    ended: int

    def promotable(self, eta: int, above: "Rung") -> dict[str, Value] | None:
        """Return the best point among its best ``1 / eta`` that the rung above does not have."""
        for _, _, key, point in self.losses[: self.ended // eta]:
            if key not in above.planned:
                return point
        return None


class Asha(StudyStrategy):
    """Tries many points for few steps and runs the best of them for more; for constant rates alone."""

    name: ClassVar[str] = "asha"
    tier: ClassVar[Tier] = "experimental"
    needs: ClassVar[str] = "a constant schedule, and steps in the space"
    slow: ClassVar[bool] = True
    """Quick, but what it plans ahead of need it would not plan once trials have ended."""
    parameters_type: ClassVar[type[Parameters]] = AshaParameters

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._wanted = parameters if isinstance(parameters, AshaParameters) else AshaParameters()

    def obstacles(self, spec: ExperimentSpec) -> Iterator[str]:
        """Yield a schedule that decays, and steps of which there are no two."""
        schedule = spec.fixed.get(self._wanted.schedule)
        if schedule != CONSTANT:
            told = "is in the space" if self._wanted.schedule in spec.space else f"is {schedule!r}"
            yield (
                f"{self._wanted.schedule!r} {told}, and asha compares runs before they have ended: under a schedule "
                "that decays a high rate looks worse until its decay, and the best rates are dropped first; fix it as "
                f'"{CONSTANT}", or choose the strategy rungs'
            )
        try:
            steps = self._levels(spec)
        except ValueError as error:
            yield str(error)
            return
        if len(steps) < 2:
            yield (
                f"the space has no two values of {self._wanted.steps!r}; give it several, or a range that is "
                f"{self._wanted.eta} times as long as its shortest"
            )

    def propose(self, progress: Progress, most: int) -> Sequence[TrialPlan]:
        """Return points to be run on, those of the highest rung first, and else new ones for the fewest steps."""
        levels = self._levels(progress.spec)
        rest = Space.of(
            {name: one for name, one in progress.spec.space.items() if name != self._wanted.steps}
        )
        ladder = [self._rung(progress, rest, steps) for steps in levels]
        points = covering(rest, self._points(progress.spec, len(levels)), progress.seed)
        new = [point for point in points if rest.key(point) not in ladder[0].planned]
        plans: list[TrialPlan] = []
        while len(plans) < most:
            chosen = self._promoted(ladder) or ((new.pop(0), 0) if new else None)
            if chosen is None:
                break
            point, place = chosen
            before = ladder[place]
            ladder[place] = Rung(before.planned | {rest.key(point)}, before.losses, before.ended)
            plans.append(self._plan(point, place, levels, ladder))
        return plans

    def _promoted(self, ladder: Sequence[Rung]) -> tuple[dict[str, Value], int] | None:
        for place in range(len(ladder) - 2, -1, -1):
            point = ladder[place].promotable(self._wanted.eta, ladder[place + 1])
            if point is not None:
                return point, place + 1
        return None

    def _plan(
        self,
        point: dict[str, Value],
        place: int,
        levels: Sequence[Value],
        ladder: Sequence[Rung],
    ) -> TrialPlan:
        why = "a new point for the fewest steps"
        if place:
            below = ladder[place - 1]
            why = f"among the best of {below.ended} at {levels[place - 1]} {self._wanted.steps}: run on"
        return TrialPlan(
            parameters={**point, self._wanted.steps: levels[place]},
            why=why,
            numbers={"rung": place + 1, "rungs": len(levels)},
        )

    def _rung(self, progress: Progress, rest: Space, steps: Value) -> Rung:
        name = self._wanted.steps
        ended = [one for one in progress.finished if one.parameters[name] == steps]
        pending = [one for one in progress.pending if one.parameters[name] == steps]
        keys = {rest.key(one.parameters) for one in ended}
        keys |= {rest.key(one.parameters) for one in pending}
        losses = [
            (one.score, one.number, rest.key(one.parameters), self._point(rest, one.parameters))
            for one in ended
            if one.score is not None
        ]
        losses.sort(key=lambda each: each[:2])
        return Rung(frozenset(keys), tuple(losses), sum(one.status == "done" for one in ended))

    def _point(self, rest: Space, parameters: dict[str, Value]) -> dict[str, Value]:
        return {name: parameters[name] for name in rest.names}

    def _points(self, spec: ExperimentSpec, rungs: int) -> int:
        """Return how many points begin, so that there are trials left to run the best of them to the end."""
        share = sum(self._wanted.eta**-place for place in range(rungs))
        return max(1, int(spec.max_trials / share))

    def _levels(self, spec: ExperimentSpec) -> list[Value]:
        """Return the numbers of steps, rising.

        Raises:
            ValueError: A choice of them is no number above 0.
        """
        steps = spec.space.get(self._wanted.steps)
        if steps is None:
            return []
        if not isinstance(steps, Range):
            return sorted(steps.values, key=lambda value: number(value, self._wanted.steps))
        found, level = list[Value](), max(round(steps.low), 1)
        while level <= steps.high:
            found.append(level)
            level *= self._wanted.eta
        return found
