"""Reports Tune's trials to the service as jobs."""

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from pydantic import ValidationError
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.utils import flatten_dict

from pacesetter.errors import ConfigurationError
from pacesetter.integrations.ray_tune.results import number
from pacesetter.integrations.ray_tune.trial_job import TrialJob, observed
from pacesetter.protocol import Target
from pacesetter.transport.base import Transport
from pacesetter.transport.opening import Mode, open_transport

logger = logging.getLogger("pacesetter")

CLOSE_SECONDS = 10.0
"""What the end of a Tune run waits for the service to take the last reports, all trials together."""


class PacesetterCallback(Callback):
    """Reports every trial as a job that is watched and not steered: its curve, and how it ended.

    Names are of results or of the configuration; nested ones are joined by slashes (``optimizer/lr``). Whatever the
    service does, the Tune run goes on: reports wait in a journal, as those of any job.

    Args:
        metric: The training loss in each result.
        lr: The learning rate, in each result or else in the configuration.
        step: Optimizer steps done, in each result.
        steps: How many a whole trial has: a number, or a name in the configuration. None: what the run's ``stop`` says
            of ``step``.
        target: What the trials train (``pacesetter.Target``), so that their curves are evidence where it holds.
        url: Address of the service (else ``PACESETTER_URL``).
        token: One that may register (else ``PACESETTER_TOKEN``).
        mode: ``online``, ``offline`` or ``disabled`` (else ``PACESETTER_MODE``).
        directory: Of the journals (else ``PACESETTER_DIR``, else ``./.pacesetter``).

    Raises:
        ConfigurationError: There is no service that could be reported to.
    """

    def __init__(
        self,
        *,
        metric: str = "loss",
        lr: str = "lr",
        step: str = "training_iteration",
        steps: int | str | None = None,
        target: Target | None = None,
        url: str | None = None,
        token: str | None = None,
        mode: Mode | None = None,
        directory: str | Path | None = None,
    ) -> None:
        self._metric, self._lr, self._step, self._steps = metric, lr, step, steps
        self._target = target
        self._open: Callable[[], Transport] = partial(open_transport, mode, url, token, directory)
        self._open()
        self._jobs: dict[str, TrialJob | None] = {}
        self._closing: list[threading.Thread] = []
        self._said: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        # Tune keeps its callbacks on disk; connections and threads are of this process.
        kept = dict(self.__dict__)
        for name in ("_jobs", "_closing", "_said"):
            del kept[name]
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._jobs, self._closing, self._said = {}, [], set()

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Check that the length of a trial is known.

        Raises:
            ConfigurationError: It is not.
        """
        if self._steps is None and not (isinstance(stop, Mapping) and self._step in stop):
            raise ConfigurationError(
                f"nothing says how many steps a trial has; pass steps=1000, or its name in the configuration, or give "
                f'the run a bound: tune.RunConfig(stop={{"{self._step}": 1000}})'
            )

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Register the job, if the configuration says at which rate it starts."""
        lr = number(flatten_dict(trial.config), self._lr)
        if lr is not None and trial.trial_id not in self._jobs:
            self._register(trial, lr)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Report what was measured."""
        flat = flatten_dict(result)
        step = number(flat, self._step)
        lr = number(flat, self._lr)
        if lr is None:
            lr = number(flatten_dict(trial.config), self._lr)
        if step is None or step < 1 or lr is None:
            self._say_once(
                f"results of {trial} lack {self._step!r} or {self._lr!r}: they are not reported. Report both, or name "
                "them in PacesetterCallback(step=..., lr=...)"
            )
            return
        job = self._jobs.get(trial.trial_id) or self._register(trial, lr)
        if job is not None:
            job.measured(int(step), number(flat, self._metric), lr)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Report the end."""
        self._end(trial, None)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Report that the trial failed, with its traceback."""
        self._end(trial, _traceback(trial))

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Wait a moment for the service to take what is left."""
        for trial_id in tuple(self._jobs):
            # Not ended: the run was interrupted, and may be restored.
            self._close(self._jobs.pop(trial_id))
        deadline = monotonic() + CLOSE_SECONDS
        for thread in self._closing:
            thread.join(max(0.0, deadline - monotonic()))
        self._closing = []

    def _register(self, trial: Trial, lr: float) -> TrialJob | None:
        """Return the job of a trial that begins; None, which is said, where none can be made of it."""
        self._jobs[trial.trial_id] = None
        config = flatten_dict(trial.config)
        known = number(flatten_dict(trial.last_result), self._step) if trial.last_result else None
        tags = {"tune": trial.experiment_dir_name, "trial": trial.trial_id}
        scalars = {name: value for name, value in config.items() if _is_scalar(value)}
        try:
            spec = observed(
                f"{trial.experiment_dir_name} {trial.trial_id}"[:200],
                f"tune/{trial.experiment_dir_name}/{trial.trial_id}"[:200],
                self._length(trial, config),
                lr,
                self._target,
                {**tags, "config": scalars},
            )
        except (ConfigurationError, ValidationError) as error:
            logger.warning("%s is not reported: %s", trial, error)
            return None
        job = TrialJob(self._open(), spec, None if known is None else int(known))
        self._jobs[trial.trial_id] = job
        return job

    def _length(self, trial: Trial, config: Mapping[str, Any]) -> int:
        if isinstance(self._steps, int):
            return self._steps
        source, name = (
            (config, self._steps) if self._steps else (trial.stopping_criterion, self._step)
        )
        found = number(source, name)
        if found is None or found < 1:
            raise ConfigurationError(
                f"its configuration says nothing of {self._steps or self._step!r}, the steps of a whole trial; pass "
                "steps=1000, or another name"
            )
        return int(found)

    def _end(self, trial: Trial, problem: str | None) -> None:
        job = self._jobs.pop(trial.trial_id, None)
        if job is not None:
            job.end(problem)
            self._close(job)

    def _close(self, job: TrialJob | None) -> None:
        """Send the rest beside the Tune run: the service may be away."""
        if job is None:
            return
        thread = threading.Thread(
            target=job.close, args=(CLOSE_SECONDS,), name="pacesetter-close", daemon=True
        )
        thread.start()
        self._closing = [*(each for each in self._closing if each.is_alive()), thread]

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.warning("%s", message)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


def _traceback(trial: Trial) -> str:
    """Return what Tune wrote of the failure, or that it wrote nothing."""
    try:
        return Path(trial.error_file).read_text(errors="replace").strip() or "the trial failed"
    except (OSError, TypeError):
        return "the trial failed"
