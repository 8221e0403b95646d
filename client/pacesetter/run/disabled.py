"""The run of ``mode="disabled"``: the training code's own learning rate, and nothing recorded."""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from torch import nn

from pacesetter.data.count import count_samples_or_tokens
from pacesetter.data.opening import open_source
from pacesetter.protocol import LedgerTotals
from pacesetter.run.job import STATE_VERSION, Job
from pacesetter.run.optimizing import OptimizerSteps
from pacesetter.run.result import Result
from pacesetter.run.rows import Scalar
from pacesetter.run.run import Run
from pacesetter.run.stopping import Loss
from pacesetter.run.validating import Validate, Validation


class DisabledRun(Run):
    """Keeps the loop running as it stands, to the same budget: the run to compare with."""

    def __init__(
        self,
        job: Job,
        optimizing: OptimizerSteps,
        validate: Validate | None,
        models: Sequence[nn.Module],
        world_size: int,
    ) -> None:
        # The parent's parts (follower, transport, checkpoints) are left out on purpose: nothing here uses them.
        self.job = job
        self._optimizing = optimizing
        self._validate = None if validate is None else Validation(validate, models)
        self._world_size = world_size
        self._position = self._steps = self._tokens = self._missed = 0
        self._total = job.budget.total

    def batches(self, loader: Any) -> Iterator[Any]:
        """Yield batches until the budget is used up."""
        source = open_source(loader, buffer_batches=0)
        while not self.done:
            yield source.next()

    def count(self, batch: Any) -> int:
        """Return the tokens of a batch over all ranks."""
        return count_samples_or_tokens(batch) * self._world_size

    def step(
        self,
        loss: Loss,
        tokens: int | None = None,
        grad_norm: Scalar = None,
        max_grad_norm: float | None = None,
    ) -> bool:
        """Make one optimizer step."""
        del loss
        if self._optimizing.step(grad_norm, max_grad_norm) is None:
            self._missed += 1
            return False
        self._steps += 1
        self._tokens += tokens or 0
        self._position += (tokens or 0) if self.job.budget.clock == "tokens" else 1
        return True

    def finish(self) -> Result:
        """Validate."""
        loss = None if self._validate is None else self._validate.loss()
        self._optimizing.detach()
        return Result(
            validation_loss=loss,
            completed=self.done,
            position=self._position,
            steps=self._steps,
            ledger=LedgerTotals(main_steps=self._steps, main_tokens=self._tokens),
            skipped_steps=self._missed,
        )

    @property
    def id(self) -> None:
        """None: nobody knows of it."""

    @property
    def on_main_line(self) -> bool:
        """True: there is nothing else."""
        return True

    @property
    def done(self) -> bool:
        """Whether the budget is used up."""
        return self._position >= self._total

    @property
    def budget(self) -> int:
        """Where the run ends."""
        return self._total

    @property
    def position(self) -> int:
        """Position in the job's clock."""
        return self._position

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rate of each group as the training code set it."""
        return self._optimizing.learning_rates()

    def state_dict(self) -> dict[str, Any]:
        """Return the counters."""
        return {
            "version": STATE_VERSION,
            "registered": self.job.budget.total,
            "total": self._total,
            "position": self._position,
            "step": self._steps,
            "tokens": self._tokens,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the counters of a state; also of one that was written by a run that was not disabled."""
        self._position, self._steps = int(state["position"]), int(state["step"])
        self._tokens = int(state["tokens"])
        given = self.job.budget.total
        if state.get("registered", state.get("total")) == given:
            self._total = int(state["total"])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the hooks off the optimizers."""
        self._optimizing.detach()
