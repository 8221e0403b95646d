"""The experiment that begins with a job, where the job stands in one, and what one says of it."""

import math

from pacesetter.protocol import (
    Choice,
    ExperimentSpec,
    Parameter,
    ProxySearch,
    Range,
    StrategyChoice,
    Workload,
)
from pacesetter.protocol.base import Name

from pacesetter_search.contract import JobFacts
from pacesetter_search.strategies.zero_tuning import prior as priors
from pacesetter_search.strategies.zero_tuning import shapes
from pacesetter_search.studies import Names, Place
from pacesetter_search.transfer.practice import field_default

RUNGS = (1 / 16, 1 / 8, 1 / 4)
"""Horizons of rungs, as shares of the job's.

With four workers the seven, three and three rates of ``rungs`` have spoken when the job has done an eighth, a quarter
and half of its budget, if its proxies take as long a step as it does. An eighth is within the usual cap of a new start;
without the first rung they spoke first at a quarter.
"""

FEWEST_STEPS = 10
"""Of a rung: a shorter schedule is warm-up and nothing else."""

AROUND_GIVEN, AROUND_FIELD = 4.0, 5.0
"""Octaves on either side of the rate that was given, or of practice's default where nobody chose one."""


def begun_with(name: str, job: JobFacts) -> ExperimentSpec:
    """Return the experiment that begins with a job.

    Args:
        name: Of the job.
        job: One whose proxies are to be run.

    Raises:
        ValueError: The job's steps are not known, or too few.
    """
    search = job.proxies
    if search is None or search.proxy is None:
        raise ValueError("the job names no proxy to run")
    names = names_of(search.strategy)
    space: dict[Name, Parameter] = dict(search.space)
    if names.lr not in space and names.lr not in search.fixed:
        space[names.lr] = rates(job)
    if names.steps not in space and names.steps not in search.fixed:
        space[names.steps] = Choice(values=_horizons(job))
    return ExperimentSpec(
        name=f"{name[:180]}: its proxies",
        proxy=search.proxy,
        space=space,
        fixed=search.fixed,
        strategy=_strategy(search, job, names, space),
        max_trials=search.max_trials,
        max_flops=search.max_flops,
        seed=job.seed,
        regime=job.regime,
        workload=_workload(job),
    )


def _workload(job: JobFacts) -> Workload:
    """Return what a job says of itself, with how often it sees its data, which its loader may say."""
    if job.workload.epochs is not None:
        return job.workload
    return job.workload.model_copy(update={"epochs": priors.epochs(job)})


def rates(job: JobFacts) -> Range:
    """Return the rates that proxies are run at where the job does not say: around its own, if somebody chose that."""
    given = shapes.given(job)
    optimizer = job.groups[0].optimizer
    if priors.is_torch_default(optimizer, math.exp2(given)):
        middle, octaves = math.log2(field_default(optimizer)), AROUND_FIELD
    else:
        middle, octaves = given, AROUND_GIVEN
    try:
        return Range(low=math.exp2(middle - octaves), high=math.exp2(middle + octaves))
    except OverflowError as error:
        raise ValueError(
            f"the job's peak of 2^{middle:g} leaves no rates around it; give `lr` in the space of its proxies"
        ) from error


def place_of(job: JobFacts, spec: ExperimentSpec, names: Names) -> Place:
    """Return where a job stands among the trials of an experiment, in the proxy's own parameters.

    Raises:
        ValueError: Trials differ in steps, and the job's are not known.
    """
    return Place(**_target(job, names.steps in {*spec.space, *spec.fixed}))


def _target(job: JobFacts, tells_steps: bool) -> dict[str, float]:
    """Return where a job stands as its target says, in its own steps where trials have some and it says nothing."""
    assert job.proxies is not None
    told: dict[str, float] = {str(name): size for name, size in job.proxies.target.items()}
    if tells_steps and "steps" not in told:
        told["steps"] = steps_of(job)
    return told


def steps_of(job: JobFacts) -> float:
    """Return the optimizer steps of a job's budget.

    Raises:
        ValueError: It counts tokens, and does not say how many a step has.
    """
    if job.budget.clock == "steps":
        return float(job.budget.total)
    batch = job.workload.batch_tokens
    if batch is None:
        raise ValueError(
            "the job counts tokens and does not say how many a step has; attach with "
            "target=pacesetter.Target(batch_tokens=...), or give `steps` in the target of its proxies"
        )
    return job.budget.total / batch


def names_of(strategy: StrategyChoice) -> Names:
    """Return what the proxy calls what trials differ in, as the strategy is told.

    Raises:
        ValueError: They cannot be read.
    """
    return Names.model_validate(strategy.parameters.get("names", {}))


def _horizons(job: JobFacts) -> tuple[int, ...]:
    """Return the steps of the rungs that proxies are run for where the job does not say."""
    asked = {} if job.proxies is None else job.proxies.target
    steps = asked.get("steps") or steps_of(job)
    found = tuple(round(share * steps) for share in RUNGS)
    if found[0] < FEWEST_STEPS:
        raise ValueError(
            f"a sixteenth of {steps:g} steps is too short a run to tell anything; name the steps of the proxies in "
            "`space` or `fixed`"
        )
    return found


def _fitting(names: Names, space: dict[Name, Parameter]) -> str:
    """Return the strategy for a space: for one rate and nothing else there is nothing to carry over."""
    if space.keys() - {names.lr, names.steps}:
        return "fidelity"
    return "rungs" if names.steps in space else "gp"


def _strategy(
    search: ProxySearch, job: JobFacts, names: Names, space: dict[Name, Parameter]
) -> StrategyChoice:
    """Return the strategy that was asked for, else the one that fits the space, told where the job stands."""
    chosen = search.strategy
    name = chosen.name or _fitting(names, space)
    parameters = dict(chosen.parameters)
    if name == "fidelity" and "target" not in parameters:
        told = _target(job, names.steps in {*space, *search.fixed})
        parameters["target"] = dict(told)
    return StrategyChoice(name=name, parameters=parameters)
