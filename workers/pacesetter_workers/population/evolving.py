"""Runs a population under Ray Tune, and returns the schedule of its best member.

PBT [Jaderberg2017, arXiv 1711.09846] has the worst members copy the best ones and change their rates at random; PB2
[ParkerHolder2020, arXiv 2002.02518] has a Gaussian process of the improvement choose them. Both are Tune's own.
"""

import logging
import math
import os
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import ray
from pacesetter.protocol import Cost
from pacesetter.schedules import Schedule, Table
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.schedulers.pb2 import PB2

from pacesetter_workers import checkpoints
from pacesetter_workers.errors import ProxyRefused, TrialCancelled, TrialDiverged, WorkerError
from pacesetter_workers.outcome import Outcome
from pacesetter_workers.population.member import LOG2_LR, LR, train_member
from pacesetter_workers.population.order import Order, read_order
from pacesetter_workers.running import RunningTrial

logger = logging.getLogger(__name__)

MEMBER_BYTES = 1 << 20
"""What Ray sets aside for a member, and no CPU: those of this machine are held by the worker's slots, one of which
waits for the members."""
CHECKPOINTS = 3
"""Of each member that are kept: one that is copied has to be there still."""
FACTORS = (1.2, 0.8)
"""By which PBT changes a rate [Jaderberg2017]."""


def evolve(proxy: str, trial: RunningTrial) -> Outcome:
    """Train a population of ``proxy``; report the curve of its best member, and return its loss and its schedule.

    Raises:
        ParameterRefused: A parameter cannot be.
        ProxyRefused: The worker's trials do not run on Ray.
        TrialCancelled: Nobody waits for the result any more.
        TrialDiverged: Every member did.
        WorkerError: No member ran to its end.
    """
    order = read_order(proxy, trial.parameters, trial.seed)
    if not ray.is_initialized():
        raise ProxyRefused(
            "a population is trained by Ray Tune, and this worker runs its trials elsewhere; start it with "
            "--executor ray"
        )
    folder = (trial.folder / "population").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    try:
        results = _fit(order, trial, folder)
        if trial.cancelled:
            raise TrialCancelled
        return _best(order, trial, results)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fit(order: Order, trial: RunningTrial, folder: Path) -> tune.ResultGrid:
    # Tune writes a log of every member else, prints a table of them, and tells of every copy.
    os.environ.update(TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1", RAY_AIR_NEW_OUTPUT="0")
    logging.getLogger("ray.tune").setLevel(logging.WARNING)
    trainable = tune.with_parameters(train_member, order=order, data=trial.data)
    return tune.Tuner(
        tune.with_resources(trainable, tune.PlacementGroupFactory([{"memory": MEMBER_BYTES}])),
        param_space=_first_rates(order),
        tune_config=tune.TuneConfig(scheduler=_scheduler(order), reuse_actors=True),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            stop=_Ends(trial, order.steps),
            callbacks=[_Watch(trial)],
            checkpoint_config=tune.CheckpointConfig(num_to_keep=CHECKPOINTS),
            verbose=0,
        ),
    ).fit()


def _first_rates(order: Order) -> dict[str, Any]:
    """Return Tune's space: every first rate is a member's, under the name that its scheduler moves."""
    rates = order.first_rates()
    if order.scheduler == "pbt":
        return {LR: tune.grid_search(list(rates))}
    return {LOG2_LR: tune.grid_search([math.log2(rate) for rate in rates])}


def _scheduler(order: Order) -> PopulationBasedTraining:
    """Return Tune's scheduler. All members wait for each other at a boundary, so the same losses decide alike."""
    common: dict[str, Any] = {
        "time_attr": "step",
        "metric": "score",
        "mode": "min",
        "perturbation_interval": order.every,
        "quantile_fraction": order.quantile,
        "synch": True,
        "log_config": False,
    }
    if order.scheduler == "pb2":
        bounds = [math.log2(order.low), math.log2(order.high)]
        return PB2(hyperparam_bounds={LOG2_LR: bounds}, **common)

    def inside(config: dict[str, Any]) -> dict[str, Any]:
        return {**config, LR: min(max(config[LR], order.low), order.high)}

    return PopulationBasedTraining(
        hyperparam_mutations={LR: tune.loguniform(order.low, order.high)},
        perturbation_factors=FACTORS,
        custom_explore_fn=inside,
        **common,
    )


class _Here:
    """The trial, which stays in this process: Tune writes its stopper and its callbacks to disk."""

    def __init__(self, trial: RunningTrial | None) -> None:
        self._trial = trial

    @property
    def trial(self) -> RunningTrial:
        """The trial."""
        assert self._trial is not None
        return self._trial

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Here":
        return self

    def __reduce__(self) -> tuple[type, tuple[None]]:
        return _Here, (None,)


class _Ends(tune.Stopper):
    """Ends a member at its last step, and all of them where nobody waits for the result."""

    def __init__(self, trial: RunningTrial, steps: int) -> None:
        self._here, self._steps = _Here(trial), steps

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        del trial_id
        return bool(result["step"] >= self._steps)

    def stop_all(self) -> bool:
        return self._here.trial.cancelled


class _Watch(tune.Callback):
    """Counts what all members take, and says that the population gets on."""

    def __init__(self, trial: RunningTrial) -> None:
        self._here = _Here(trial)
        self._cost = Cost()

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        del iteration, trials, trial, info
        before = self._cost
        self._cost = Cost(
            steps=before.steps + result["trained"],
            tokens=before.tokens + result["tokens"],
            flops=before.flops + result["flops"],
            seconds=before.seconds + result["seconds"],
        )
        self._here.trial.spent(self._cost)
        self._here.trial.alive()


def _best(order: Order, trial: RunningTrial, results: tune.ResultGrid) -> Outcome:
    """Report the curve of the member that ended best, through all that it copied, and return what it found."""
    members = [results[index] for index in range(len(results))]
    ended = [member for member in members if "objective" in (member.metrics or {})]
    if not ended:
        if not results.errors:
            raise TrialDiverged
        raise WorkerError(
            f"no member of the population ran to its end; the first one: {results.errors[0]}"
        )
    for error in results.errors:
        logger.warning("a member of the population failed, the others went on: %s", error)
    best = min(ended, key=lambda member: float((member.metrics or {})["objective"]))
    assert best.metrics is not None
    kept = _kept_of(best)
    for step, (loss, lr) in enumerate(zip(kept["losses"], kept["lrs"], strict=True), start=1):
        trial.report(step, loss=loss, lr=lr)
    metrics = {
        name.removeprefix("metric/"): float(value)
        for name, value in best.metrics.items()
        if name.startswith("metric/")
    }
    metrics["rate_changes"] = float(sum(_changes(_kept_of(member)["lrs"]) for member in ended))
    objective = float(best.metrics["objective"])
    return Outcome(objective, metrics, schedule=schedule_of(order, kept["lrs"]))


def _kept_of(member: tune.Result) -> dict[str, Any]:
    """Return what the last checkpoint of a member holds: its past, through all that it copied."""
    assert member.checkpoint is not None
    with member.checkpoint.as_directory() as folder:
        kept = checkpoints.read(Path(folder))
    assert kept is not None
    return kept


def _changes(lrs: list[float]) -> int:
    """Return how often rates (steps,) change from one step to the next."""
    return sum(before != after for before, after in pairwise(lrs))


def schedule_of(order: Order, lrs: list[float]) -> Schedule:
    """Return the rates (steps,) of a member, constant in each interval, as a schedule in learning rates."""
    peak = max(lrs)
    starts = (0, *order.boundaries[:-1])
    held = [lrs[start] / peak for start in starts]
    body = Table(
        positions=(*(start / order.steps for start in starts), 1.0),
        values=(*held, held[-1]),
        interpolation="hold",
    )
    return Schedule(length=order.steps, peak=peak, unit="absolute", body=body)
