"""``population``: one trial whose worker trains several members at once and moves their rates as they go.

PBT [Jaderberg2017, arXiv 1711.09846] or PB2 [ParkerHolder2020, arXiv 2002.02518], as Ray Tune has them. What comes of
it is a schedule. Both are greedy in time: a rate that pays only after a decay loses to one that pays at once.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

from pacesetter.protocol import ExperimentSpec, Range, TrialPlan
from pydantic import Field

from pacesetter_search.contract import Parameters
from pacesetter_search.studies.contract import Progress, StudyStrategy

PREFIX = "population:"
"""Of the proxies that train a population: what comes after it is what the members train."""
LR = "lr"
FOUND = ("checkpoint_every", "floor", "schedule", "warmup")
"""What of a proxy's parameters the population sets by itself."""


class PopulationParameters(Parameters):
    """Parameters of ``population``."""

    scheduler: Literal["pb2", "pbt"] = "pb2"
    """Who moves rates: ``pb2`` by a model of what they bring, which pays with few members; ``pbt`` at random."""
    members: Annotated[int, Field(ge=2, le=64)] = 4
    """Trained at once, each in a process of its own."""
    intervals: Annotated[int, Field(ge=2, le=1000)] = 8
    """Stretches of a run, between which rates move."""
    quantile: Annotated[float, Field(gt=0.0, le=0.5)] = 0.25
    """Share of the members that copy one of the best as many at the end of each stretch."""


class Population(StudyStrategy):
    """Has one trial train a population with Ray Tune's PB2 or PBT, and finds a schedule rather than a peak."""

    name: ClassVar[str] = "population"
    needs: ClassVar[str] = (
        "a proxy `population:...`, `lr` alone in the space, `steps` fixed, a worker with Ray"
    )
    searches_inside: ClassVar[bool] = True
    parameters_type: ClassVar[type[Parameters]] = PopulationParameters

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._given = (
            parameters if isinstance(parameters, PopulationParameters) else PopulationParameters()
        )

    def obstacles(self, spec: ExperimentSpec) -> Iterator[str]:
        """Yield what no population can be made of."""
        if not spec.proxy.startswith(PREFIX):
            yield (
                f"the proxy {spec.proxy!r} is one training: give {PREFIX}byte_lm, {PREFIX}cnn or {PREFIX}mlp, which "
                "workers with Ray run"
            )
        if spec.coordinates:
            yield "a population has no one rate to check `coordinates` at: leave them out"
        lr = spec.space.get(LR)
        if spec.space.keys() != {LR} or not isinstance(lr, Range) or lr.low <= 0.0 or lr.integer:
            yield (
                f"a population moves the learning rate alone: give a space of a range {LR!r} above 0 and nothing else, "
                "and put the rest into `fixed`"
            )
        taken = sorted(spec.fixed.keys() & {*FOUND, *self._names()})
        if taken:
            yield f"`fixed` has {', '.join(taken)}, which the population sets by itself: leave it out"
        steps = spec.fixed.get("steps")
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < self._given.intervals:
            yield (
                f"`fixed` has no whole number of `steps` that could be cut into {self._given.intervals} intervals: "
                "give the steps of a member, or fewer `intervals`"
            )

    def propose(self, progress: Progress, most: int) -> Sequence[TrialPlan]:
        """Return the trial, once."""
        del most
        lr = progress.spec.space[LR]
        if progress.planned or not isinstance(lr, Range):
            return ()
        given = self._given
        values = (given.scheduler, given.members, given.intervals, given.quantile, lr.low, lr.high)
        return [
            TrialPlan(
                parameters=dict(zip(self._names(), values, strict=True)),
                why=f"the population: {given.members} members, whose rates {given.scheduler} moves between "
                f"{given.intervals} intervals",
                numbers={"members": given.members, "intervals": given.intervals},
            )
        ]

    @staticmethod
    def _names() -> tuple[str, ...]:
        return ("scheduler", "members", "intervals", "quantile", "lr_low", "lr_high")
