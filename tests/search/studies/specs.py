"""Experiments for tests: specs, ended trials, and the loop that a controller is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pacesetter.protocol import Choice, Cost, ExperimentSpec, Parameter, Range, TrialPlan, Value
from pacesetter_search.studies import Finished, StudyStrategy

LR = Range(low=2.0**-10, high=2.0**-3)
Loss = Callable[[dict[str, Value]], float | None]


def spec(space: Mapping[str, Parameter] | None = None, **changes: Any) -> ExperimentSpec:
    about: dict[str, Any] = {"name": "test", "proxy": "noop", "max_trials": 20, "seed": 3}
    return ExperimentSpec(**{**about, "space": {"lr": LR} if space is None else space, **changes})


def mixed() -> dict[str, Parameter]:
    return {
        "lr": LR,
        "batch": Choice(values=(8, 16, 32)),
        "depth": Range(low=1, high=6, scale="linear", integer=True),
    }


def ended(
    number: int, loss: float | None, parameters: dict[str, Value] | None = None, flops: float = 1.0
) -> Finished:
    return Finished(number, parameters or {"lr": 0.01}, loss, Cost(flops=flops))


def plans(strategy: StudyStrategy, of: ExperimentSpec, count: int) -> list[TrialPlan]:
    """The first ``count`` plans, all pending."""
    return list(strategy.plan(of, (), (), count, of.seed))


def run(
    strategy: StudyStrategy,
    of: ExperimentSpec,
    loss: Loss,
    *,
    at_once: int = 1,
    cost: Callable[[dict[str, Value]], Cost] = lambda _: Cost(flops=1.0),
) -> list[Finished]:
    """Run an experiment to its end with ``at_once`` workers; trials end in the order they began."""
    finished: list[Finished] = []
    pending: list[TrialPlan] = []
    while True:
        asked = at_once - len(pending)
        pending.extend(strategy.plan(of, finished, pending, asked, of.seed))
        if not pending:
            return finished
        plan = pending.pop(0)
        whole = {**of.fixed, **plan.parameters}
        finished.append(Finished(len(finished) + 1, whole, loss(whole), cost(whole)))


def best(finished: Sequence[Finished]) -> Finished:
    return min((one for one in finished if one.loss is not None), key=lambda one: one.loss or 0.0)
