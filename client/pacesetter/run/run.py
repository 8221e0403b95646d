"""The run loop: what a training loop calls once per optimizer step."""

import atexit
import logging
import weakref
from collections.abc import Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any

from pacesetter.checkpoints.base import CheckpointStore
from pacesetter.data.count import count_samples_or_tokens
from pacesetter.data.opening import open_source
from pacesetter.errors import ConfigurationError
from pacesetter.run.conductor import Conductor
from pacesetter.run.feedback import Regulation
from pacesetter.run.follower import Follower, base_segment
from pacesetter.run.job import STATE_VERSION, Job, Resumption
from pacesetter.run.ledger import Ledger
from pacesetter.run.opening import Opening
from pacesetter.run.optimizing import OptimizerSteps
from pacesetter.run.options import Options
from pacesetter.run.orders import Orders
from pacesetter.run.pace import Pace
from pacesetter.run.ranks import Ranks
from pacesetter.run.rates import LearningRates
from pacesetter.run.reporting import Reporter
from pacesetter.run.result import Result
from pacesetter.run.rows import Scalar
from pacesetter.run.states import States
from pacesetter.run.stopping import Loss
from pacesetter.run.validating import Validation
from pacesetter.transport.base import Transport

logger = logging.getLogger("pacesetter")

CLOSE_SECONDS = 10.0
"""How long ``finish`` may take to send what is left; the rest stays in the journal."""
EXIT_SECONDS = 2.0
"""The same where the process ends without ``finish``: nobody wants to wait after Ctrl-C."""


class Run:
    """A training run that follows segments. Made by :func:`pacesetter.attach`."""

    def __init__(
        self,
        job: Job,
        *,
        rates: LearningRates,
        optimizing: OptimizerSteps,
        store: CheckpointStore | None,
        validation: Validation | None,
        transport: Transport,
        ranks: Ranks,
        rollback: str,
        options: Options,
    ) -> None:
        self.job = job
        self._rates = rates
        self._optimizing = optimizing
        self._transport = transport
        self._ranks = ranks
        self._options = options
        self._validation = validation
        self._ledger = Ledger()
        self._follower = Follower(base_segment(job.base, job.budget.total))
        self._conductor = Conductor(
            self._follower,
            states=States(store, ranks),
            rates=rates,
            reporter=Reporter(transport, self._ledger, on_device=options.on_device),
            orders=Orders(transport, ranks, options.sync_every),
            ledger=self._ledger,
            validation=validation,
            waiting_seconds=options.waiting_seconds,
            lag_steps=options.lag_steps,
            regulation=Regulation(rates, ranks, optimizing),
            on_branch=options.on_branch,
        )
        self._opening = Opening(
            self._conductor, options, rollback, validation is not None, ranks.world_size
        )
        self._pace = Pace(
            self._conductor,
            rates,
            optimizing,
            self._ledger,
            tokens_clock=job.budget.clock == "tokens",
            on_device=options.on_device,
            expected_batch=job.expected_batch,
        )
        self._resumption: Resumption | None = None
        self._started = False
        self._result: Result | None = None
        self._follow_base()
        self._at_exit = partial(_send_at_exit, weakref.ref(self))
        atexit.register(self._at_exit)

    # -- what the training loop calls --

    def batches(self, loader: Any) -> Iterator[Any]:
        """Yield batches of ``loader`` until the budget is used up, epoch after epoch.

        Batches return to where a probe left the main line, as far as the loader can: without limit through
        ``batch_at(position)`` or a ``state_dict``, else through a buffer.

        Raises:
            RegistrationRefused: The service will not steer this job as it was described.
            StateMismatch: The resumed state's place in the data does not fit ``loader``.
        """
        source = open_source(
            loader,
            buffer_batches=self._options.buffer_batches,
            process_group=self._ranks.group,
        )
        self._conductor.states.source = source
        if self._resumption is not None and self._resumption.data is not None:
            source.load_state_dict(self._resumption.data)
        self._start()
        while not self.done:
            # state_dict() speaks of the last step, so batches that were handed out since must come again.
            if self._pace.batch_in_hand is None and self.on_main_line:
                self._pace.batch_in_hand = source.place()
            yield source.next(probe=not self._follower.on_main_line)

    def count(self, batch: Any) -> int:
        """Return the tokens of a batch (its samples where it has no token tensor) over all ranks.

        Every rank is taken to have a batch of the same size; pass your own count to :meth:`step` where that is not so.
        """
        return count_samples_or_tokens(batch) * self._ranks.world_size

    def step(
        self,
        loss: Loss,
        tokens: int | None = None,
        grad_norm: Scalar = None,
        max_grad_norm: float | None = None,
    ) -> bool:
        """Make one optimizer step: unscale, clip, step, clear gradients; then follow the segments.

        Args:
            loss: The loss of this optimizer step; a tensor stays on its device. NaN is fine.
            tokens: Tokens consumed since the last step, over all micro-batches and ranks; required in the tokens clock.
            grad_norm: The norm of the gradient, if the training code has it.
            max_grad_norm: Clip the gradient to this norm; None does not touch it.

        Returns:
            Whether the optimizer stepped: False on an overflow that a GradScaler skipped, and once the run is done.

        Raises:
            LearningRateConflict: Somebody else moved a learning rate since the last step.
            ConfigurationError: ``tokens`` is missing in the tokens clock, or no count; ``loss`` is not one number.
        """
        if not self._started:
            self._start()
        return self._pace.step(loss, tokens, grad_norm, max_grad_norm)

    def finish(self) -> Result:
        """Leave any probe, restore the main line, validate, and send what is left.

        What ``validate`` raises is raised here, once everything is sent; a second call returns the result.
        """
        if self._result is not None:
            return self._result
        if not self._started:
            self._start()
        conductor, follower = self._conductor, self._follower
        stopped = follower.finished
        self._pace.pause()
        conductor.finish()
        self._rates.write(follower.position)
        conductor.send_alerts()
        loss, failure = self._last_validation()
        completed = stopped or follower.position >= follower.total
        conductor.reporter.finished(
            follower.position, follower.running.seq, loss, completed=completed
        )
        unsent = self._close()
        self._result = Result(
            validation_loss=loss,
            completed=completed,
            position=follower.position,
            steps=conductor.step,
            ledger=self._ledger.totals(),
            applied=conductor.first_step.applied,
            refused=conductor.refused,
            fallbacks=conductor.fallbacks,
            skipped_steps=self._pace.skipped,
            clip_rate=self._pace.clip_rate.value(),
            unsent_records=unsent,
            job=self.id,
        )
        if failure is not None:
            raise failure
        conductor.raise_failure()
        return self._result

    # -- what it stands at --

    @property
    def id(self) -> str | None:
        """The job's id at the service; None where it has not registered."""
        registration = self._conductor.orders.registration
        return None if registration is None else registration.job

    @property
    def on_main_line(self) -> bool:
        """Whether the model holds the main line's state: the time to save a checkpoint of your own."""
        return self._follower.on_main_line

    @property
    def done(self) -> bool:
        """Whether the budget is used up or the service ended the job."""
        return self._follower.finished

    @property
    def position(self) -> int:
        """Position of the next step, in the job's clock; inside a probe the main line's plus the probe's progress."""
        return self._follower.position

    @property
    def budget(self) -> int:
        """Where the main line ends, in the job's clock: as given, or as it was changed since."""
        return self._follower.total

    @property
    def ledger(self) -> Ledger:
        """What this session has spent so far."""
        self._pace.settle()
        return self._ledger

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rate of each group for the next step."""
        return {group.name: group.announced for group in self._rates.groups}

    def state_dict(self) -> dict[str, Any]:
        """Return what your own checkpoint needs to resume this run: of the main line, also inside a probe.

        It holds JSON values (apart from the loader's own state, where the loader has one).
        """
        self._pace.settle()
        counters = self._conductor.document()
        main = self._follower.main
        return {
            "version": STATE_VERSION,
            "external_id": self.job.external_id,
            "clock": self.job.budget.clock,
            "registered": self.job.budget.total,
            "total": self._follower.total,
            **counters,
            "base_lrs": self._rates.base_lrs,
            "running": main.model_dump(mode="json", by_alias=True) if main.seq > 0 else None,
            "data": self._data_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from :meth:`state_dict`, before the first step and before :meth:`batches` hands out anything.

        Raises:
            ConfigurationError: The run has started already.
            StateMismatch: The state is of another job, clock or set of parameter groups, or beyond the budget.
        """
        if self._started:
            raise ConfigurationError(
                "load_state_dict came after the first step; load the state right after attach()"
            )
        resumption = Resumption.read(state, self.job)
        self._rates.restore_base_lrs(resumption.base_lrs)
        self.job = self.job.called(resumption.external_id)
        self._resumption = resumption
        follower = self._follower
        follower.position = resumption.position
        if resumption.registered == self.job.budget.total:
            follower.total = resumption.total
        else:  # what the training code gives anew counts
            follower.planned_for = resumption.registered
        self._conductor.step, self._conductor.tokens = resumption.step, resumption.tokens
        self._follow_base()
        if resumption.running is not None:
            self._conductor.resume(resumption.running, resumption.feedback)
        self._rates.write(resumption.position)

    def __enter__(self) -> "Run":
        """Return the run itself; leaving the block by an exception restores the main line and sends what is left."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish; after an exception only leave the probe, and let the exception go on."""
        if error is None:
            self.finish()
            return
        try:
            self._abandon(error)
        except Exception:
            logger.exception(
                "leaving the run failed; the exception that ended the training follows"
            )

    # -- start and end --

    def _start(self) -> None:
        """Register, keep the initial state, and take up what the service already sent."""
        if self._started:
            return
        self._started = True
        self._rates.write(self._follower.position)
        self._opening.open(self.job, resumed=self._resumption is not None)
        # Exit handlers run last in, first out: the last rows have to leave before the transport closes itself.
        atexit.unregister(self._at_exit)
        atexit.register(self._at_exit)
        self._rates.write(self._follower.position)
        self._ledger.restart()

    def _follow_base(self) -> None:
        self._rates.follow(self.job.base, "all", main=True)
        self._rates.write(self._follower.position)

    def _last_validation(self) -> tuple[float | None, Exception | None]:
        """Return the validation loss of the main line, or what kept it from being measured."""
        if self._validation is None:
            return None, None
        try:
            with self._ledger.spending("validation"):
                return self._validation.loss(), None
        except Exception as error:
            return None, error

    def _abandon(self, error: BaseException) -> None:
        """Bring the main line back after an exception of the training code; the job may be resumed later."""
        conductor, follower = self._conductor, self._follower
        if self._result is None and self._started:
            self._pace.pause()
            conductor.abandon()
            self._rates.write(follower.position)
            # The exception's text may hold what is nobody else's business; its type says enough.
            conductor.reporter.finished(
                follower.position,
                follower.running.seq,
                None,
                completed=follower.finished,
                detail=f"left by {type(error).__name__}",
            )
        self._close()

    def _leave_unfinished(self) -> None:
        """Send what is left where the process ends without ``finish``."""
        self._pace.pause()
        self._conductor.send_rows()
        self._close(EXIT_SECONDS)

    def _close(self, seconds: float = CLOSE_SECONDS) -> int:
        atexit.unregister(self._at_exit)
        self._optimizing.detach()
        self._conductor.states.release_all()
        return self._transport.close(seconds)

    def _data_state(self) -> dict[str, Any] | None:
        """Return the main line's place in the data as of its last step."""
        states = self._conductor.states
        if states.source is None:
            return None if self._resumption is None else self._resumption.data
        if not self.on_main_line and (left := states.left_data()) is not None:
            return left
        return self._pace.batch_in_hand or states.source.state_dict()


def _send_at_exit(reference: "weakref.ref[Run]") -> None:
    run = reference()
    if run is not None:
        run._leave_unfinished()
