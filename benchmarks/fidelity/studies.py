"""Runs experiments as the controller does: a strategy is asked whenever one of two processes is free."""

from collections.abc import Mapping
from dataclasses import dataclass

from pacesetter.protocol import ExperimentSpec, Parameter, Range, StrategyChoice, TrialPlan, Value
from pacesetter_search.studies import Finished, get_study_strategy

from benchmarks.fidelity.trials import CONTEXT, DEPTH, PROXY, SLOTS, Trials, flops_of

LR = Range(low=2.0**-10, high=2.0**-3)
BASE_WIDTH = 32
"""Where muP changes nothing: that of the transfer benchmark."""
MOST_TRIALS = 200
"""Beyond what any budget here buys."""


@dataclass(frozen=True, slots=True)
class _Running:
    end: float
    number: int
    plan: TrialPlan


def experiment(
    name: str,
    strategy: str,
    parameters: Mapping[str, object],
    space: Mapping[str, Parameter],
    fixed: Mapping[str, Value],
    max_flops: float | None = None,
) -> ExperimentSpec:
    """Return an experiment on the byte LM under muP.

    Args:
        name: Of it.
        strategy: Who plans.
        parameters: Of the strategy.
        space: Beside the learning rate.
        fixed: Beside what all studies here share.
        max_flops: Nothing is planned once they are spent.
    """
    return ExperimentSpec(
        name=name,
        proxy=PROXY,
        space={"lr": LR, **space},
        fixed=common(fixed),
        strategy=StrategyChoice(name=strategy, parameters=dict(parameters)),
        max_trials=MOST_TRIALS,
        max_flops=max_flops,
        regime="pretrain",
    )


def common(more: Mapping[str, Value]) -> dict[str, Value]:
    """Return the parameters of a trial with what all trials here share."""
    form: dict[str, Value] = {"parametrization": "mup", "base_width": BASE_WIDTH}
    return {**form, "depth": DEPTH, "context": CONTEXT, **more}


def run(spec: ExperimentSpec, trials: Trials) -> list[Finished]:
    """Run an experiment to its end, two trials at a time.

    Which of two ends first is settled by their FLOPs and not by the machine, so that the same plan comes out again.

    Raises:
        ValueError: Its strategy cannot plan it.
    """
    strategy = get_study_strategy(spec.strategy.name or "random")
    planner = strategy.from_document(spec.strategy.parameters)
    obstacles = list(planner.obstacles(spec))
    if obstacles:
        raise ValueError(f"{spec.name}: {'; '.join(obstacles)}")
    finished: list[Finished] = []
    running: list[_Running] = []
    now, planned = 0.0, 0
    while True:
        pending = [one.plan for one in running]
        for plan in planner.plan(spec, finished, pending, SLOTS - len(running), spec.seed):
            whole, planned = {**spec.fixed, **plan.parameters}, planned + 1
            trials.start(whole)
            running.append(_Running(now + flops_of(whole), planned, plan))
        if not running:
            return finished
        first = min(running, key=lambda one: (one.end, one.number))
        running.remove(first)
        whole, now = {**spec.fixed, **first.plan.parameters}, first.end
        result = trials.result(whole)
        finished.append(Finished(first.number, whole, result.loss, result.cost))
