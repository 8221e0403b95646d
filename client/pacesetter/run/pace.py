"""One step after another: the ordinary ones in as few motions as possible, the others with all that is due.

After a long step the caches are cold, and what a step costs is what it touches. So an ordinary step keeps a raw row and
writes a learning rate that was evaluated beforehand; counters, reports, news and ends of segments wait for a step at
which something is due, which is known from one bell, one position, one count and one time.
"""

import time
from typing import Any

import torch

from pacesetter.errors import ConfigurationError, LearningRateConflict
from pacesetter.run.arguments import checked_scalar, checked_tokens, host_scalar
from pacesetter.run.conductor import Conductor
from pacesetter.run.feedback import Regulator
from pacesetter.run.ledger import Ledger
from pacesetter.run.optimizing import GRADIENT_L2, Measured, OptimizerSteps
from pacesetter.run.rates import LearningRates
from pacesetter.run.reporting import FLUSH_ROWS
from pacesetter.run.rows import Scalar
from pacesetter.run.steadiness import BatchSize, ClipRate, check_batch
from pacesetter.run.stopping import Loss


class Pace:
    """Makes the steps of a run and accounts for them.

    Args:
        conductor: Does what is due at a step boundary.
        rates: Written before every step.
        optimizing: Makes the optimizer step.
        ledger: Counts.
        tokens_clock: Whether positions are in tokens.
        on_device: Whether scalars stay where they are until a report.
        expected_batch: Tokens of a step that the rates are for, checked at the first one; None: any.

    Attributes:
        skipped: Steps that an overflow made the scaler skip.
        clip_rate: How often gradients are clipped.
        batch_in_hand: The main line's place in the data before a batch that was handed out and not stepped with yet.
    """

    def __init__(
        self,
        conductor: Conductor,
        rates: LearningRates,
        optimizing: OptimizerSteps,
        ledger: Ledger,
        *,
        tokens_clock: bool,
        on_device: bool,
        expected_batch: float | None = None,
    ) -> None:
        self._expected_batch = expected_batch
        self.skipped = 0
        self.clip_rate = ClipRate()
        self.batch_in_hand: dict[str, Any] | None = None
        self._conductor = conductor
        self._follower = conductor.follower
        self._rows = conductor.reporter.rows
        self._guard = conductor.guard
        self._regulation = conductor.regulation
        self._bell = conductor.orders.bell
        self._rates = rates
        self._optimizing = optimizing
        self._ledger = ledger
        self._tokens_clock = tokens_clock
        self._on_device = on_device
        self._read = checked_scalar if on_device else host_scalar
        self._batch_size = BatchSize()
        self._usual_tokens: int | None = None
        self._session_steps = 0
        self._steps = self._tokens = 0  # made since the last settling
        self._units = 1  # consumed by the last step
        self._boundary = 0
        self._steps_to_look = 1
        self._look_at = conductor.reporter.flush_at
        self._smooth = False

    def step(
        self, loss: Loss, tokens: int | None, grad_norm: Scalar, max_grad_norm: float | None
    ) -> bool:
        """Make one step; see :meth:`pacesetter.run.run.Run.step`."""
        if not self._smooth and not self._prepare():
            return False
        # A loss on the host is read after an ordinary step: the optimizer has then fetched the code that reads tensors.
        # What cannot be read is told before the weights move.
        read_late = (
            self._smooth
            and not self._on_device
            and type(loss) is torch.Tensor
            and loss.numel() == 1
            and loss.is_floating_point()
        )
        if not read_late:
            loss = self._read(loss, "loss")
        if tokens is not None or grad_norm is not None or self._tokens_clock:
            tokens, grad_norm = self._checked(tokens, grad_norm)
        try:
            measured = self._optimizing.step(grad_norm, max_grad_norm)
        except LearningRateConflict as error:
            self._tell_conflict(error)
            raise
        self.batch_in_hand = None
        if measured is None:
            self.skipped += 1
            self._ledger.discard(tokens or 0)
            return False
        if read_late:
            loss = self._read(loss, "loss")
        if measured:
            measured = self._take(measured)
        if tokens:
            self._count_tokens(tokens)

        follower, rates = self._follower, self._rates
        position = follower.position
        self._session_steps += 1
        self._steps += 1
        lr, multiplier = rates.shown, rates.multiplier
        self._rows.add(
            (position, self._session_steps, loss, lr, multiplier, tokens or None, measured)
        )
        if not self._smooth:
            self._conductor.after_step(position)
        follower.position = position = position + self._units
        now = time.perf_counter()
        if (
            self._bell.rung
            or self._steps >= self._steps_to_look
            or position >= self._boundary
            or now >= self._look_at
            or not self._smooth
        ):
            self._look(loss, measured, now)
        elif not (self._guard.active and self._stopped(loss, measured)):
            rates.write(position, self._units)
        return True

    def settle(self, now: float | None = None) -> None:
        """Count the steps that were made since the last time; ``now`` is ``time.perf_counter()``."""
        steps, tokens = self._steps, self._tokens
        if steps == 0:
            return
        self._steps = self._tokens = 0
        # Whoever asks for the counters in between must not move the next look: on several ranks it is an exchange.
        self._steps_to_look -= steps
        conductor, follower = self._conductor, self._follower
        follower.count(steps, tokens)
        conductor.orders.count(steps)
        if self._units:
            conductor.judge.units_per_step = float(self._units)
        kind = follower.running.kind
        assert kind != "stop"
        self._ledger.count(kind, tokens, time.perf_counter() if now is None else now, steps)
        if kind == "main":
            conductor.step += steps
            conductor.tokens += tokens

    def pause(self) -> None:
        """Count what was made, and take nothing for granted at the next step: the run is moved by other hands."""
        self.settle()
        self._smooth = False

    def _prepare(self) -> bool:
        """Return whether there is a step to make at all; the first of a segment is verified."""
        if self._follower.finished:
            return False
        if self._regulation.regulator is not None:
            self._regulate(self._regulation.regulator)
        self._conductor.before_step()
        return True

    def _regulate(self, regulator: Regulator) -> None:
        """Let the feedback rule see the gradients, and write what it makes of the learning rates."""
        self._optimizing.unscale()
        try:
            self._rates.regulate(regulator.before_step(), self._follower.position)
        except LearningRateConflict as error:
            self._tell_conflict(error)
            raise

    def _look(self, loss: Loss, measured: Measured, now: float) -> None:
        """Do all that is due after a step."""
        self.settle(now)
        if self._regulation.regulator is not None:
            self._regulation.regulator.after_step(float(loss))
        conductor, follower = self._conductor, self._follower
        orders = conductor.orders
        over = follower.position >= follower.boundary
        due = orders.due(over=over)
        stopped = None
        if self._guard.active:
            stopped = self._guard.take(loss, measured.get(GRADIENT_L2), over=over)
        if due:
            stopped = conductor.hear(over=over) or stopped
        news = due and orders.has_news
        if news or over or stopped is not None or conductor.restless:
            conductor.turn(stopped)
        self._go_on(now)

    def _stopped(self, loss: Loss, measured: Measured) -> bool:
        """Judge the loss of an ordinary step; a segment that it ends is left at once."""
        stopped = self._guard.take(loss, measured.get(GRADIENT_L2))
        if stopped is None:
            return False
        now = time.perf_counter()
        self.settle(now)
        self._conductor.turn(stopped)
        self._go_on(now)
        return True

    def _go_on(self, now: float) -> None:
        """Write the next learning rates, and find out until when steps are ordinary."""
        conductor, follower = self._conductor, self._follower
        if not follower.finished:
            self._rates.write(follower.position, self._units)
        if conductor.reporter.rows_are_due(now):
            conductor.look_around()
        self._look_at = conductor.reporter.flush_at
        self._boundary = follower.boundary
        self._steps_to_look = min(
            conductor.orders.steps_to_exchange, max(1, FLUSH_ROWS - len(self._rows))
        )
        # A feedback rule has to see every step.
        regulated = self._regulation.regulator is not None
        awaited = conductor.first_step.awaited is not None
        self._smooth = not (awaited or regulated or follower.finished)
        conductor.raise_failure()

    def _checked(self, tokens: int | None, grad_norm: Scalar) -> tuple[int | None, Scalar]:
        if grad_norm is not None:
            grad_norm = self._read(grad_norm, "grad_norm")
        tokens = checked_tokens(tokens)
        if self._expected_batch is not None and tokens:
            check_batch(tokens, self._expected_batch)
            self._expected_batch = None
        if self._tokens_clock:
            if tokens is None:
                raise ConfigurationError(
                    "the budget is in tokens: pass run.step(loss, tokens=run.count(batch)), the count over all "
                    "micro-batches and ranks"
                )
            self._units = tokens
        return tokens, grad_norm

    def _tell_conflict(self, error: LearningRateConflict) -> None:
        self.settle()
        self._conductor.notice("alert", "LR_CONFLICT", str(error))
        self._conductor.reporter.flush()

    def _take(self, measured: Measured) -> Measured:
        """Return what was measured on the way of a step, as the rows take it."""
        self.clip_rate.count(measured.get("clipped"))
        if self._on_device:
            return measured
        return {
            name: value.item() if isinstance(value, torch.Tensor) else value
            for name, value in measured.items()
        }

    def _count_tokens(self, tokens: int) -> None:
        self._tokens += tokens
        if tokens == self._usual_tokens:
            return
        change = self._batch_size.changed(tokens)
        self._usual_tokens = self._batch_size.usual
        if change is not None:
            before, after = change
            self._conductor.notice(
                "info",
                "BATCH_CHANGED",
                f"a step consumes {after} tokens now and consumed {before}",
                {"before": before, "after": after},
            )
