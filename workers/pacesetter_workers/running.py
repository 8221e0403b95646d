"""What the code of a trial gets: its parameters, its seed, and where to say how it goes."""

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping
from operator import index
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, SupportsFloat, SupportsIndex

from pacesetter.protocol import Cost, Trial, TrialPoint, Value, coordinates

from pacesetter_workers import checkpoints
from pacesetter_workers.errors import (
    CheckpointRefused,
    JobRefused,
    ParameterRefused,
    ReportRefused,
    TrialCancelled,
    TrialDiverged,
)
from pacesetter_workers.site import JobAccess

if TYPE_CHECKING:  # torch with it, which a trial of other code may do without
    from pacesetter import Run


class Channel(Protocol):
    """The way from a running trial to the worker that holds its lease."""

    def send(self, point: TrialPoint) -> None:
        """Hand a measurement over."""
        ...

    def alive(self) -> None:
        """Say that the trial gets on, though there is nothing to report."""
        ...

    def is_cancelled(self) -> bool:
        """Return whether nobody waits for the result any more."""
        ...


class RunningTrial:
    """One attempt at a trial.

    Attributes:
        parameters: Fixed and searched ones together.
        seed: The same at every attempt. Python's, NumPy's and torch's generators are seeded with it.
        number: 1, 2, ... in the experiment.
        attempt: 1, 2, ...
        folder: For files of the trial; the same at every attempt on this machine.
        data: The folder of texts that the worker's operator named, or None.
    """

    def __init__(
        self,
        trial: Trial,
        folder: Path,
        channel: Channel,
        data: Path | None = None,
        jobs: JobAccess | None = None,
    ) -> None:
        self.parameters: Mapping[str, Value] = dict(trial.parameters)
        self.seed = trial.seed
        self.number = trial.number
        self.attempt = trial.attempt
        self.folder = folder
        self.data = data
        self._trial = trial
        self._identity = _identity(trial)
        self._channel = channel
        self._jobs = jobs
        self._run: Run | None = None
        self._step: int | None = None
        self._tokens = 0.0
        self._flops = 0.0
        self._earlier_seconds = 0.0
        self._kept = Cost()
        self._spent: Cost | None = None
        self._began = time.monotonic()

    @property
    def cost(self) -> Cost:
        """What it took so far, with what earlier attempts spent up to the checkpoint that this one went on from."""
        if self._spent is not None:
            return self._spent
        return Cost(
            steps=self._step or 0,
            tokens=self._tokens,
            flops=self._flops,
            seconds=self._earlier_seconds + time.monotonic() - self._began,
        )

    @property
    def unkept_cost(self) -> Cost:
        """What of it came after the newest checkpoint: an attempt that goes on from that counts the rest as its own."""
        cost, kept = self.cost, self._kept
        return Cost(
            steps=cost.steps - kept.steps,
            tokens=max(0.0, cost.tokens - kept.tokens),
            flops=max(0.0, cost.flops - kept.flops),
            seconds=max(0.0, cost.seconds - kept.seconds),
        )

    @property
    def coordinates(self) -> tuple[int, ...]:
        """Widths at which to check coordinates, instead of training: return :meth:`Outcome.of_check`. Usually none.

        Raises:
            ParameterRefused: The parameter says no widths.
        """
        text = self.parameters.get(coordinates.PARAMETER, "")
        try:
            return coordinates.read_widths(str(text)) if text else ()
        except ValueError as error:
            raise ParameterRefused(str(error)) from None

    @property
    def job(self) -> str | None:
        """Id of the job that it runs as; None where it registered none."""
        return None if self._run is None else self._run.id

    def attach(self, model: Any, optimizer: Any, **arguments: Any) -> "Run":
        """Run as a job of the controller, with segments, reports and a ledger of its own.

        What is measured there is no report of the trial, whose lease hangs on those: make both. The job ends with the
        trial, however that ends; a later attempt resumes it.

        Args:
            model: See :func:`pacesetter.attach`, as for all others.
            optimizer: Its groups at their peak.
            **arguments: Unless given, the strategy is ``fixed`` without its guard, so that people alone steer it, and
                nothing is rolled back. External id, service and folder are the trial's.

        Raises:
            JobRefused: The worker's operator lets no trial register, or it has registered already; the mode is
                ``disabled``.
            ConfigurationError: See :func:`pacesetter.attach`.
        """
        if self._jobs is None:
            raise JobRefused(
                "this worker lets no trial run as a job; start it with --jobs, and a token that has the scope "
                "`register` beside `worker`, or leave it to other workers"
            )
        if self._run is not None:
            raise JobRefused(
                "this trial runs as a job already; what a trial trains is one job, several models included"
            )
        mode = arguments.get("mode") or os.environ.get("PACESETTER_MODE")
        if mode == "disabled":
            raise JobRefused(
                "the mode `disabled` makes no job of anything; unset PACESETTER_MODE where the worker runs"
            )
        import pacesetter

        trial = self._trial
        usual: dict[str, Any] = {
            "name": f"trial {trial.number} of {trial.experiment}",
            "rollback": "none",
        }
        if "strategy" not in arguments:
            # Without its guard: a rate that is too high is to be seen as that, and not brought down.
            usual |= {"strategy": "fixed", "strategy_parameters": {"guard": False}}
        fixed: dict[str, Any] = {
            "external_id": trial.id,
            "url": self._jobs.url,
            "token": self._jobs.token,
            "directory": self._jobs.folder,
        }
        taken = sorted(fixed.keys() & arguments.keys())
        if taken:
            raise JobRefused(f"{', '.join(taken)} of a trial's job cannot be chosen; leave it out")
        self._run = pacesetter.attach(model, optimizer, **{**usual, **arguments, **fixed})
        return self._run

    def __enter__(self) -> Self:
        """Return the trial itself; leaving the block ends the job that it runs as."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the job, if there is one, as finished or as left."""
        if self._run is not None:
            self._run.__exit__(kind, error, traceback)

    def report(
        self,
        step: SupportsIndex,
        *,
        loss: SupportsFloat,
        lr: SupportsFloat | None = None,
        tokens: float = 0.0,
        flops: float = 0.0,
    ) -> None:
        """Say how it goes, after each optimizer step or every few.

        Args:
            step: Optimizer steps done; each report's is above the last one's.
            loss: Of the training, at that step.
            lr: Learning rate of the first parameter group in that step.
            tokens: Consumed since the last report.
            flops: Spent since the last report.

        Raises:
            ReportRefused: The step was reported already, or an amount is no number of 0 or more.
            TrialCancelled: Nobody waits for the result any more; leave it to end the trial.
            TrialDiverged: The loss is NaN or infinite; leave it to end the trial.
        """
        value = float(loss)
        number = self._checked(step, value, tokens, flops)
        self._step = number
        self._tokens += tokens
        self._flops += flops
        self._channel.send(
            TrialPoint(step=number, lr=None if lr is None else float(lr), loss=value)
        )
        if self._channel.is_cancelled():
            raise TrialCancelled
        if not math.isfinite(value):
            raise TrialDiverged

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more: end soon, by raising ``TrialCancelled``."""
        return self._channel.is_cancelled()

    def alive(self) -> None:
        """Say that the trial gets on where there is nothing to report yet: its worker goes on waiting for a step."""
        self._channel.alive()

    def spent(self, cost: Cost) -> None:
        """Say what the trial took so far, where reports do not tell it: several trainings may make one curve."""
        self._spent = cost

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Keep a state, at once and whole, in place of the one before: a later attempt goes on from it.

        Args:
            state: Tensors, numbers, texts, and lists and dictionaries of them, such as ``state_dict()`` gives.
        """
        cost = self.cost
        document = {"trial": self._identity, "cost": cost.model_dump(), "state": dict(state)}
        checkpoints.write(self.folder, document)
        self._kept = cost

    def restore(self) -> dict[str, Any] | None:
        """Return the newest state that an earlier attempt kept; None where there is none.

        Raises:
            CheckpointRefused: It is of another trial, or cannot be read.
        """
        kept = checkpoints.read(self.folder)
        if kept is None:
            return None
        if kept.get("trial") != self._identity:
            raise CheckpointRefused(
                f"{self.folder} holds the checkpoint of a trial with other parameters or another seed; give each "
                "controller a folder of its own (--folder), or delete it"
            )
        cost = self._kept = Cost.model_validate(kept["cost"])
        self._step, self._tokens, self._flops = cost.steps, cost.tokens, cost.flops
        self._earlier_seconds = cost.seconds
        state: dict[str, Any] = kept["state"]
        return state

    def _checked(self, step: SupportsIndex, loss: float, tokens: float, flops: float) -> int:
        """Return the step as an int."""
        number = index(step) if hasattr(step, "__index__") and not isinstance(step, bool) else -1
        if number < 0:
            raise ReportRefused(
                f"step is {step!r}; expected the number of optimizer steps done, an int of 0 or more"
            )
        if self._step is not None and number <= self._step:
            raise ReportRefused(
                f"step {number} was reported after step {self._step} (loss {loss:g} now); a step is reported once, "
                "with all that was measured at it, and steps rise"
            )
        for name, amount in (("tokens", tokens), ("flops", flops)):
            if not (math.isfinite(amount) and amount >= 0.0):
                raise ReportRefused(
                    f"{name} is {amount}; expected what was spent since the last report, 0 or more"
                )
        return number


def _identity(trial: Trial) -> str:
    """Return what tells this trial from every other one, attempts apart."""
    facts = [trial.id, trial.experiment, trial.number, trial.proxy, trial.seed]
    text = json.dumps([facts, dict(trial.parameters)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
