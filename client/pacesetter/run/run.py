"""The run loop: what a training loop calls once per optimizer step."""

import atexit
import logging
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from pacesetter.checkpoints.base import CheckpointStore
from pacesetter.data.count import count_samples_or_tokens
from pacesetter.data.opening import open_source
from pacesetter.errors import ConfigurationError, LearningRateConflict, SnapshotError
from pacesetter.protocol import INITIAL
from pacesetter.run.arguments import checked_scalar, checked_tokens
from pacesetter.run.conductor import Conductor
from pacesetter.run.follower import Follower, base_segment
from pacesetter.run.job import STATE_VERSION, Capacity, Job, Resumption
from pacesetter.run.ledger import Ledger
from pacesetter.run.optimizing import Measured, OptimizerSteps
from pacesetter.run.orders import Orders
from pacesetter.run.ranks import Ranks
from pacesetter.run.rates import LearningRates
from pacesetter.run.reporting import Reporter
from pacesetter.run.result import Result
from pacesetter.run.rows import Scalar
from pacesetter.run.states import States
from pacesetter.run.steadiness import BatchSize, ClipRate
from pacesetter.run.stopping import Loss
from pacesetter.run.validating import Validation
from pacesetter.transport.base import Transport

logger = logging.getLogger("pacesetter")

CLOSE_SECONDS = 10.0
"""How long ``finish`` may take to send what is left; the rest stays in the journal."""
EXIT_SECONDS = 2.0
"""The same where the process ends without ``finish``: nobody wants to wait after Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a run behaves; every field is an argument of :func:`pacesetter.attach`."""

    waiting_seconds: float = 30.0
    register_seconds: float = 10.0
    sync_every: int = 10
    lag_steps: int = 0
    on_device: bool = False
    buffer_batches: int = 64
    gradient_norms: bool = False
    rollback_required: bool = False
    on_branch: Callable[[str], None] | None = None


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
        self._rollback = rollback
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
            on_branch=options.on_branch,
        )
        self._tokens_clock = job.budget.clock == "tokens"
        self._resumption: Resumption | None = None
        self._started = False
        self._result: Result | None = None
        self._session_steps = self._skipped = 0
        self._in_hand: dict[str, Any] | None = None
        self._batch_size = BatchSize()
        self._clip_rate = ClipRate()
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
            if self._in_hand is None and self.on_main_line:
                self._in_hand = source.place()
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
        if self._follower.finished:
            return False
        tokens = checked_tokens(tokens)
        units = self._units(tokens)
        loss = checked_scalar(loss, "loss")
        if grad_norm is not None:
            grad_norm = checked_scalar(grad_norm, "grad_norm")
        conductor = self._conductor
        if conductor.unacknowledged is not None:
            conductor.before_step()
        try:
            measured = self._optimizing.step(grad_norm, max_grad_norm)
        except LearningRateConflict as error:
            conductor.notice("alert", "LR_CONFLICT", str(error))
            self._transport.flush()
            raise
        self._in_hand = None
        if measured is None:
            self._skipped += 1
            self._ledger.discard(tokens or 0)
            return False
        self._count(loss, units, tokens or 0, measured)
        return True

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
        conductor.finish()
        self._rates.write(follower.position)
        conductor.send_alerts()
        loss, failure = self._last_validation()
        completed = stopped or follower.position >= follower.total
        conductor.reporter.finished(
            follower.position, follower.running.seq, loss, completed=completed
        )
        unsent = self._close()
        registration = conductor.orders.registration
        self._result = Result(
            validation_loss=loss,
            completed=completed,
            position=follower.position,
            steps=conductor.step,
            ledger=self._ledger.totals(),
            applied=conductor.applied,
            refused=conductor.refused,
            fallbacks=conductor.fallbacks,
            skipped_steps=self._skipped,
            clip_rate=self._clip_rate.value(),
            unsent_records=unsent,
            job=None if registration is None else registration.job,
        )
        if failure is not None:
            raise failure
        return self._result

    # -- what it stands at --

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
    def ledger(self) -> Ledger:
        """What this session has spent so far."""
        return self._ledger

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rate of each group for the next step."""
        return {group.name: group.announced for group in self._rates.groups}

    def state_dict(self) -> dict[str, Any]:
        """Return what your own checkpoint needs to resume this run: of the main line, also inside a probe.

        It holds JSON values (apart from the loader's own state, where the loader has one).
        """
        counters = self._conductor.document()
        main = self._follower.main
        return {
            "version": STATE_VERSION,
            "external_id": self.job.external_id,
            "clock": self.job.budget.clock,
            "total": self.job.budget.total,
            **counters,
            "base_lrs": self._rates.base_lrs,
            "running": main.model_dump(mode="json", by_alias=True) if main.seq > 0 else None,
            "data": self._data_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from :meth:`state_dict`, before the first step and before :meth:`batches` hands out anything.

        Raises:
            ConfigurationError: The run has started already.
            StateMismatch: The state is of another job, budget or set of parameter groups.
        """
        if self._started:
            raise ConfigurationError(
                "load_state_dict came after the first step; load the state right after attach()"
            )
        resumption = Resumption.read(state, self.job)
        self._rates.restore_base_lrs(resumption.base_lrs)
        self.job = self.job.called(resumption.external_id)
        self._resumption = resumption
        self._follower.position = resumption.position
        self._conductor.step, self._conductor.tokens = resumption.step, resumption.tokens
        self._follow_base()
        if resumption.running is not None:
            self._conductor.adopt((resumption.running,), resumption.running.seq)
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
        conductor, follower = self._conductor, self._follower
        resumed = self._resumption is not None
        self._rates.write(follower.position)
        self._keep_initial_state(resumed)
        self._register()
        # Exit handlers run last in, first out: the last rows have to leave before the transport closes itself.
        atexit.unregister(self._at_exit)
        atexit.register(self._at_exit)
        conductor.reporter.session_began(
            follower.position,
            follower.running.seq,
            resumed=resumed,
            world_size=self._ranks.world_size,
        )
        conductor.begin(self._options.waiting_seconds)
        self._rates.write(follower.position)
        self._ledger.restart()

    def _keep_initial_state(self, resumed: bool) -> None:
        """Keep the very first state, so that a segment can start from it; without room for it nothing is probed.

        A resumed session never had that state, and gives its name to no other: a segment from it is refused there.
        """
        if self._rollback == "none":
            return
        states = self._conductor.states
        if resumed:
            failure = states.obstacle()
        else:
            document = {"position": self._follower.position, "step": 0, "tokens": 0}
            failure = states.save(INITIAL, document)
        if failure is None:
            if not resumed:
                self._follower.checkpoints[INITIAL] = self._follower.position
            return
        if self._options.rollback_required:
            raise SnapshotError(failure)
        logger.warning("no probes in this run: %s", failure)
        states.store, self._rollback = None, "none"

    def _register(self) -> None:
        source, store = self._conductor.states.source, self._conductor.states.store
        capacity = Capacity(
            rollback=self._rollback,
            rewind=0 if source is None else source.rewind_batches,
            validate=self._validation is not None,
            gradient_norms=self._options.gradient_norms,
            world_size=self._ranks.world_size,
            state_bytes=0 if store is None else store.state_bytes(),
        )
        groups = tuple(group.describe() for group in self._rates.groups)
        spec = self.job.spec(capacity.capabilities(), groups)
        self._conductor.spec = spec
        self._conductor.orders.register(spec, self._options.register_seconds)

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
        self._conductor.send_rows()
        self._close(EXIT_SECONDS)

    def _close(self, seconds: float = CLOSE_SECONDS) -> int:
        atexit.unregister(self._at_exit)
        self._optimizing.detach()
        self._conductor.states.release_all()
        return self._transport.close(seconds)

    # -- one step --

    def _units(self, tokens: int | None) -> int:
        if not self._tokens_clock:
            return 1
        if tokens is None:
            raise ConfigurationError(
                "the budget is in tokens: pass run.step(loss, tokens=run.count(batch)), the count over all "
                "micro-batches and ranks"
            )
        return tokens

    def _count(self, loss: Loss, units: int, tokens: int, measured: Measured) -> None:
        """Account for a step that was made, and do what is due after it."""
        conductor, follower = self._conductor, self._follower
        running = follower.running
        position = follower.position
        now = time.perf_counter()
        self._session_steps += 1
        conductor.add_row(self._row(position, loss, tokens, measured))
        if conductor.unacknowledged is not None:
            conductor.after_step(position)
        follower.advance(units, tokens)
        kind = running.kind
        assert kind != "stop"
        self._ledger.count(kind, tokens, now)
        if kind == "main":
            conductor.step += 1
            conductor.tokens += tokens
        self._follow(loss)
        if not follower.finished:
            self._rates.write(follower.position)
        if conductor.reporter.rows_are_due(now):
            conductor.look_around()

    def _follow(self, loss: Loss) -> None:
        """Look for news and for reasons to leave the running segment; act on them."""
        conductor, follower = self._conductor, self._follower
        orders = conductor.orders
        over = follower.position >= follower.boundary
        due = orders.alone or orders.due(over=over)
        stopped = None
        if conductor.clauses.clauses:
            stopped = conductor.judge_loss(loss, due=due, over=over)
        news = due and orders.arrived(follower.position)
        if news or over or stopped is not None or (orders.silenced and conductor.restless):
            conductor.turn(stopped)

    def _row(self, position: int, loss: Loss, tokens: int, measured: Measured) -> dict[str, Scalar]:
        first = self._rates.groups[0]
        row: dict[str, Scalar] = {
            "position": position,
            "step": self._session_steps,
            "loss": loss,
            "lr": first.read_back,
            "multiplier": first.announced / first.base_lr,
        }
        if tokens:
            row["tokens"] = tokens
            self._note_batch_size(tokens)
        if measured:
            row.update(measured)
            self._clip_rate.count(measured.get("clipped"))
        return row

    def _note_batch_size(self, tokens: int) -> None:
        change = self._batch_size.changed(tokens)
        if self._tokens_clock:
            self._conductor.units_per_step = float(tokens)
        if change is not None:
            before, after = change
            self._conductor.notice(
                "info",
                "BATCH_CHANGED",
                f"a step consumes {after} tokens now and consumed {before}",
                {"before": before, "after": after},
            )

    def _data_state(self) -> dict[str, Any] | None:
        """Return the main line's place in the data as of its last step."""
        states = self._conductor.states
        if states.source is None:
            return None if self._resumption is None else self._resumption.data
        if not self.on_main_line and (left := states.left_data()) is not None:
            return left
        return self._in_hand or states.source.state_dict()


def _send_at_exit(reference: "weakref.ref[Run]") -> None:
    run = reference()
    if run is not None:
        run._leave_unfinished()
