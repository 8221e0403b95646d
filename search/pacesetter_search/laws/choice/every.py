"""Everything that a law can say of a length and a peak: families, tuned families and a free shape, in one order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pacesetter.schedules import Schedule

from pacesetter_search.laws.base import FittedLaw
from pacesetter_search.laws.choice.free import optimise_free
from pacesetter_search.laws.choice.ranking import Ranking, rank_under
from pacesetter_search.laws.choice.tuning import TUNABLE, Tuned, optimise_family
from pacesetter_search.laws.choice.zoo import learning_rates, zoo

FREE = "free"
TUNED = ", tuned"
"""What follows the name of a family whose parameters were made for the law."""


@dataclass(frozen=True, slots=True)
class Choice:
    """All candidates in the order of their final losses, and how to run each."""

    ranking: Ranking
    schedules: Mapping[str, Schedule]

    @property
    def best(self) -> str:
        """The name of the first in order that no law was asked to make: it has been run by somebody."""
        return next(
            one.name
            for one in self.ranking.candidates
            if one.name != FREE and not one.name.endswith(TUNED)
        )


def choose(
    law: FittedLaw,
    steps: int,
    base_lr: float,
    warmup: int = 0,
    *,
    families: Sequence[str] | None = None,
    free: bool = True,
    reference: str = "linear",
) -> Choice:
    """Return the families of the zoo, some of them tuned and a free shape, ranked under a law.

    What was made for the law stands above the rest by that alone: its gain is shrunken as all are, and the law's own
    optimum is no evidence that it is one. :attr:`Choice.best` is the best that was not.

    Args:
        law: In steps of the job.
        steps: Length of the run.
        base_lr: Peak, in the unit of the fitted curves.
        warmup: Steps of the rise.
        families: Which to tune; None: all of :data:`TUNABLE`.
        free: Whether a free shape is looked for.
        reference: The candidate that gains are measured against.

    Raises:
        ValueError: The peak lies above what was fitted, the warm-up leaves nothing of the length, or a name is unknown.
    """
    schedules = zoo(steps, base_lr, warmup)
    wanted = makers(steps, base_lr, warmup, families=families, free=free)
    schedules |= {name: make(law).schedule for name, make in wanted.items()}
    rates = {name: learning_rates(each, base_lr) for name, each in schedules.items()}
    ranking = rank_under(law, rates, reference=reference)
    kept = {name: each for name, each in schedules.items() if name not in ranking.refused}
    return Choice(ranking, kept)


def makers(
    steps: int,
    base_lr: float,
    warmup: int = 0,
    *,
    families: Sequence[str] | None = None,
    free: bool = True,
) -> dict[str, Callable[[FittedLaw], Tuned]]:
    """Return what makes a schedule for a law, by the name that it has among candidates. Arguments as :func:`choose`."""
    found: dict[str, Callable[[FittedLaw], Tuned]] = {
        f"{family}{TUNED}": partial(
            optimise_family, family=family, steps=steps, base_lr=base_lr, warmup=warmup
        )
        for family in (TUNABLE if families is None else families)
    }
    if free:
        found[FREE] = partial(optimise_free, steps=steps, base_lr=base_lr, warmup=warmup)
    return found
