"""Carries out what the follower asks for: the only place where segments touch models, data and learning rates."""

import logging
import math
import time
from collections.abc import Callable
from functools import singledispatchmethod
from typing import Any

from pacesetter.protocol import Segment
from pacesetter.run import effects as fx
from pacesetter.run.feedback import Regulation
from pacesetter.run.first_step import FirstStep
from pacesetter.run.follower import Follower
from pacesetter.run.guarding import LossGuard
from pacesetter.run.judging import Judge
from pacesetter.run.ledger import Ledger
from pacesetter.run.orders import Order, Orders
from pacesetter.run.rates import LearningRates
from pacesetter.run.reporting import Reporter
from pacesetter.run.states import States
from pacesetter.run.validating import Validation

logger = logging.getLogger("pacesetter")


class Conductor:
    """Turns effects into deeds, on every rank alike.

    Attributes:
        guard: Watches the losses of the running segment.
        first_step: Acknowledges a segment.
        judge: Refuses what the training code does not allow.
        step: Optimizer steps of the main line.
        tokens: Tokens of the main line.
        fallbacks: How often no segment came in time.
        refused: Segments refused.
        rows_of: ``seq`` of the segment whose rows are being collected.
    """

    def __init__(
        self,
        follower: Follower,
        *,
        states: States,
        rates: LearningRates,
        reporter: Reporter,
        orders: Orders,
        ledger: Ledger,
        validation: Validation | None,
        waiting_seconds: float,
        lag_steps: int,
        regulation: Regulation,
        on_branch: Callable[[str], None] | None = None,
    ) -> None:
        self.follower = follower
        self.states = states
        self.rates = rates
        self.reporter = reporter
        self.orders = orders
        self.ledger = ledger
        self.validation = validation
        self.regulation = regulation
        self.guard = LossGuard(lag_steps, alone=orders.alone)
        self.first_step = FirstStep(rates, reporter)
        self.judge = Judge(follower, rates)
        self.step = self.tokens = 0
        self.fallbacks = self.refused = 0
        self.rows_of = follower.running.seq
        self._waiting_seconds = waiting_seconds
        self._left_multipliers: list[float] | None = None
        self._left_counters: dict[str, Any] = {}
        self._probe_tokens = 0
        self._waited = 0.0
        self._fell_back = False
        self._on_branch = on_branch
        self._failure: Exception | None = None

    # -- step boundaries --

    def begin(self, waiting_seconds: float) -> None:
        """Take up what the service already had for this job."""
        standing = self.orders.standing(waiting_seconds)
        if standing is not None:
            self.adopt(standing, self.orders.registered_through)
        elif self.orders.registration is not None:
            self.orders.inbox.extend(self.orders.registration.segments)
        self.turn()

    def turn(self, stopped: str | None = None) -> None:
        """Do all there is to do at this step boundary."""
        standing = self.orders.take_standing()
        if standing and self.follower.on_main_line:
            self.adopt(standing, self.orders.registered_through)
        if stopped is not None and self.follower.on_main_line:
            self._tell_stop(stopped)
        while self.follower.at_end and self._is_prolonged() and self._offer_next():
            pass
        self._perform(self.follower.turn(stopped))
        if self.orders.silenced:
            self.orders.inbox.clear()
            self._perform(self.follower.leave_probe("SILENCED"))
        while self._offer_next():
            self._perform(self.follower.turn())

    def hear(self, *, over: bool) -> str | None:
        """Look for news, together with the other ranks if there are any; called at the same steps on each.

        Several ranks see here what was sent at the exchange before: nobody waits for it. Where a segment ends
        (``over``) or may end for what they see, they do wait for what they send here: no segment begins on losses that
        were not judged.

        Returns:
            The code of the stop clause that the losses of all ranks fire.

        Raises:
            ConfigurationError: This rank stood elsewhere than rank 0.
        """
        orders, guard = self.orders, self.guard
        if orders.alone:
            orders.look()
            return None
        met = orders.finish_exchange()
        stopped = guard.judge(met.means)
        orders.begin_exchange(self.follower.position, guard.send())
        if over or met.news or stopped is not None:
            last = guard.judge(orders.finish_exchange().means)
            stopped = stopped or last
        return stopped

    def _tell_stop(self, code: str) -> None:
        """Say on which numbers the main line is stopped; how it goes on is for the service to say."""
        evidence = {
            name: value if math.isfinite(value) else str(value)
            for name, value in self.guard.evidence.items()
        }
        shown = ", ".join(f"{name} {value:.4g}" for name, value in self.guard.evidence.items())
        position = self.follower.position
        detail = f"the main line stops before {position}: {code}, {shown}"
        self.notice("warning", "STOPPED", detail, {"clause": code, **evidence})

    @property
    def restless(self) -> bool:
        """Whether a newer session took over while a probe runs here: it is left at once."""
        return self.orders.silenced and not self.follower.on_main_line

    def adopt(self, standing: tuple[Segment, ...], seen_through: int) -> None:
        """Take over segments of earlier sessions; none with a ``seq`` up to ``seen_through`` is offered again."""
        void = self.orders.void
        waiting = self.follower.adopt(standing, void)
        self.follower.highest_seen = max(self.follower.highest_seen, seen_through)
        main = self.follower.main
        self._change_rows(main)
        for before in standing:
            # A segment that drives some groups only leaves the others to what came before it.
            passed = before.seq < main.seq and before.start <= main.start
            if before.kind == "main" and passed and before.seq not in void:
                self.rates.follow(self.follower.fit(before).policy, before.controls, main=True)
        self._follow(main)
        if waiting is not None:
            refusal = self.judge.refusal(waiting, self._left_multipliers)
            if refusal is None:
                self.follower.put_off(waiting)
            else:
                self._acknowledge(fx.Acknowledge(waiting.seq, "refused", *refusal))

    def resume(self, running: Segment, feedback: dict[str, Any] | None) -> None:
        """Go on under the segment that an earlier session followed, with what its feedback rule knew."""
        self.regulation.begin(running)
        self.regulation.load(feedback)
        self.adopt((running,), running.seq)

    def abandon(self) -> None:
        """Bring the main line back and send what was measured; the job itself is not over.

        Other ranks may still be training, so this waits for none of them.
        """
        self.states.part()
        self._perform(self.follower.leave_probe("ABANDONED"))
        self.send_rows()

    def finish(self) -> None:
        """Leave any probe and end the job where its main line stands."""
        self._perform(self.follower.finish())

    def raise_failure(self) -> None:
        """Raise what ``validate`` or ``on_branch`` raised at a segment's end, which is reported and left by now."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def document(self) -> dict[str, Any]:
        """Return the counters of the main line and what its feedback rule knows, as they are kept with a state."""
        if not self.follower.on_main_line:
            return dict(self._left_counters)
        counters = {"position": self.follower.position, "step": self.step, "tokens": self.tokens}
        return counters | self.regulation.document()

    # -- the first step of a segment --

    def before_step(self) -> None:
        """Prepare the verification of a segment's first step, if this is one."""
        if self.first_step.awaited is not None:
            self.first_step.arm()

    def after_step(self, position: int) -> None:
        """Acknowledge the segment whose first step this was, if it was one."""
        if self.first_step.awaited is not None:
            self.follower.acknowledged()
            for code, detail, numbers in self.first_step.acknowledge(position):
                self.notice("alert", code, detail, numbers)

    def send_rows(self) -> None:
        """Send the rows of the running segment, the last one included."""
        self.reporter.rows.close()
        self.reporter.send_rows(self.rows_of, self.follower.position)

    def look_around(self) -> None:
        """Do what is due every half second: send rows, look for a late registration, pass on alerts."""
        self.reporter.send_rows(self.rows_of, self.follower.position)
        self.orders.refresh()
        self.send_alerts()

    def send_alerts(self) -> None:
        """Pass on what the transport's thread found while it resolved verifications, and groups that nothing drives."""
        for name in self.rates.newcomers():
            self.notice("warning", "GROUP_NOT_DRIVEN", _not_driven(name), {"group": name})
        while self.reporter.alerts:
            code, detail, numbers = self.reporter.alerts.popleft()
            self.notice("alert", code, detail, numbers)

    def notice(
        self, level: str, code: str, detail: str, numbers: dict[str, Any] | None = None
    ) -> None:
        """Log something for a person, and tell the service."""
        logger.log(logging.INFO if level == "info" else logging.WARNING, "%s: %s", code, detail)
        follower = self.follower
        self.reporter.notice(
            level,
            code,
            detail,
            seq=follower.running.seq,
            position=follower.position,
            numbers=numbers,
        )

    # -- offers --

    def _offer_next(self) -> bool:
        """Offer the next order of the inbox; False if there is none that can be judged now."""
        inbox, follower = self.orders.inbox, self.follower
        if not inbox or follower.finished:
            return False
        order = inbox[0]
        if isinstance(order, Segment) and not follower.ready_for(order):
            return False
        self._offer(inbox.popleft())
        return True

    def _is_prolonged(self) -> bool:
        """Whether what arrived next lets a main line go on that has come to its end."""
        inbox = self.orders.inbox
        order = inbox[0] if inbox else None
        return isinstance(order, Segment) and self.follower.prolongs(order)

    def _offer(self, order: Order) -> None:
        if not isinstance(order, Segment):
            answers = self.follower.dismiss(order.seq, "UNREADABLE", order.detail)
        elif order.seq <= self.follower.highest_seen:
            return
        else:
            refusal = self.judge.refusal(order, self._left_multipliers)
            answers = self.follower.offer(order, refusal)
        for answer in answers:
            self._acknowledge(answer)

    # -- effects --

    def _perform(self, effects: fx.Effects) -> None:
        answer: str | None = None
        while True:
            try:
                effect = effects.send(answer)
            except StopIteration:
                return
            answer = self._do(effect)

    @singledispatchmethod
    def _do(self, effect: Any) -> str | None:
        raise TypeError(f"unknown effect {effect!r}")

    @_do.register
    def _acknowledge(self, effect: fx.Acknowledge) -> None:
        if effect.status == "refused":
            self.refused += 1
            logger.warning("segment %d refused: %s: %s", effect.seq, effect.code, effect.detail)
        self.reporter.acknowledge(effect, self.follower.position)

    @_do.register
    def _end(self, effect: fx.End) -> None:
        self.reporter.rows.close()
        self.reporter.send_rows(effect.segment.seq, effect.position)
        loss = self._validated(effect)
        unpaired = False
        if effect.segment.kind != "main":
            self._probe_tokens += effect.tokens
            source = self.states.source
            unpaired = effect.segment.data == "rewind" and source is not None and source.unpaired
        self.reporter.segment_ended(effect, loss, unpaired=unpaired)
        if effect.segment.kind == "main" and effect.outcome == "completed":
            self.guard.rest()
        else:
            self.guard.begin(())
        handed_over = effect.segment.kind == "branch" or effect.segment.hand_over
        if handed_over and effect.outcome == "completed" and self._on_branch:
            name = effect.segment.save_end_as or f"{effect.segment.kind}-{effect.segment.seq}"
            try:
                self._on_branch(name)
            except Exception as error:
                self._failure = error

    def _validated(self, effect: fx.End) -> float | None:
        """Return the validation loss if the segment asked for it; a failure is kept until the main line is back."""
        wanted = effect.segment.measure.validate_at_end and effect.outcome == "completed"
        if not wanted or self.validation is None:
            return None
        try:
            with self.ledger.spending("validation"):
                return self.validation.loss()
        except Exception as error:
            self._failure = error
            return None

    @_do.register
    def _save(self, effect: fx.Save) -> str | None:
        counters = {"position": effect.position, "step": self.step, "tokens": self.tokens}
        document = counters | self.regulation.document()
        with self.ledger.spending("snapshot"):
            failure = self.states.save(effect.name, document)
        if failure is not None:
            self.notice("warning", "SNAPSHOT_FAILED", failure, {"name": effect.name})
        elif effect.rolling:
            detail = f"the state at {effect.position} is kept as {effect.name!r}"
            numbers = {"name": effect.name, "position": effect.position}
            self.notice("info", "SNAPSHOT_KEPT", detail, numbers)
        return failure

    @_do.register
    def _leave(self, effect: fx.Leave) -> str | None:
        del effect
        self._left_counters = self.document()
        self._left_multipliers = self.rates.multipliers()
        with self.ledger.spending("snapshot"):
            return self.states.leave(dict(self._left_counters))

    @_do.register
    def _return(self, effect: fx.Return) -> None:
        with self.ledger.spending("snapshot"):
            self.states.come_back(final=effect.final, rewind=effect.rewind)
        if effect.final:
            self._settle_probes()
            self._count_from(self._left_counters)

    @_do.register
    def _load(self, effect: fx.Load) -> None:
        with self.ledger.spending("snapshot"):
            document = self.states.load(effect.name, main=effect.main, rewind=effect.rewind)
        if effect.main:
            self._settle_probes()
            undone = self.step - int(document["step"])
            self.ledger.undo(max(0, undone), max(0, self.tokens - int(document["tokens"])))
            self._count_from(document)
            self.regulation.load(document.get("feedback"))
            self.guard.restored()

    @_do.register
    def _release(self, effect: fx.Release) -> None:
        self.states.release(effect.names)

    @_do.register
    def _begin(self, effect: fx.Begin) -> None:
        segment = effect.segment
        self._change_rows(segment)
        self.first_step.segment_ends()
        self._follow(segment)
        if self.states.source is not None:
            self.states.source.hold(segment.data == "hold")
        self.first_step.awaited = None if effect.again else segment
        if self._fell_back and not effect.again:
            self._fell_back = False
            logger.info("steered again: segment %d", segment.seq)

    def _follow(self, segment: Segment) -> None:
        """Let the segment's policy drive the learning rates, and its feedback rule if it has one."""
        self.regulation.begin(segment)
        main = segment.kind == "main"
        factor = self.regulation.factor
        self.rates.follow(segment.policy, segment.controls, main=main, factor=factor)

    @_do.register
    def _wait(self, effect: fx.Wait) -> None:
        del effect
        began = time.monotonic()
        with self.ledger.spending("waiting"):
            over = self._planned()
            while not over:
                over = self.orders.wait(began + self._waiting_seconds, self.follower.position)
                over = self._planned() or over
        self._waited = time.monotonic() - began

    def _planned(self) -> bool:
        """Offer what arrived until something is pending; return whether it is."""
        while self.follower.pending is None:
            if not self._offer_next():
                return False
        return True

    @_do.register
    def _fall_back(self, effect: fx.FallBack) -> None:
        self.fallbacks += 1
        if effect.restored is not None:
            self.notice(
                "warning",
                "RECOVERED",
                f"no segment came within {self._waited:.1f} s of the stop; the main line goes on from "
                f"{effect.restored!r}, with the batches that follow",
                {"restored": effect.restored, "position": self.follower.position},
            )
        elif not self._fell_back:
            self._fell_back = True
            logger.warning(
                "no segment came within %.1f s; the main line goes on under its newest policy (segment %d)",
                self._waited,
                effect.follows,
            )
        self.reporter.fell_back(effect.follows, self.follower.position, self._waited)

    @_do.register
    def _finish(self, effect: fx.Finish) -> None:
        self.first_step.awaited = None
        if effect.stop is not None:
            self.reporter.acknowledge(
                fx.Acknowledge(effect.stop, "applied"), self.follower.position
            )

    def _change_rows(self, segment: Segment) -> None:
        """Send rows left over from a main segment that went on after its end; the next ones are of ``segment``."""
        self.send_rows()
        self.rows_of = segment.seq
        self.reporter.rows.begin(segment.measure.report_every)
        self.guard.begin(segment.stop_if, main=segment.kind == "main")

    def _settle_probes(self) -> None:
        """Count the tokens of probes whose batches the main line will never see."""
        if not self.states.can_rewind:
            self.ledger.discard(self._probe_tokens)
        self._probe_tokens = 0

    def _count_from(self, document: dict[str, Any]) -> None:
        self.step, self.tokens = int(document["step"]), int(document["tokens"])


def _not_driven(name: str) -> str:
    return (
        f"parameter group {name!r} was added during the run and keeps its own learning rate: only the groups that were "
        "there at attach are driven. Add all of them before attach (what is frozen may have no gradient), or save, "
        "and attach again with the group and a new external_id"
    )
