"""What brings a stopped main line back: rewind and skip the data, then a dip of the learning rate, then a lasting cut.

That is what practice does by hand [PaLM, section 5.1: restart some 100 steps before the spike and skip the batches seen
around it], and, for a learning rate that is simply too high, what the pilot's breaker did: halve it.
"""

import math

from pacesetter.limits import TRUSTED_ABOVE_PEAK
from pacesetter.protocol import CURRENT, GUARD, Reason, SegmentPlan
from pydantic import JsonValue

from pacesetter_search.contract import Context, LogEntry
from pacesetter_search.guard.lowering import Points, dipped, lowered
from pacesetter_search.guard.memory import GuardMemory, Held, Snapshot, Trouble
from pacesetter_search.guard.parameters import GuardParameters
from pacesetter_search.guard.watching import interval, may_go_back, refused, watched

REWIND, DIP, CUT = range(3)
"""Rungs of the ladder; trouble that repeats climbs one."""

SAME_TROUBLE = 5
"""Snapshot intervals within which a stop counts as a repeat."""

RETURN = 2
"""Snapshot intervals over which a dip eases back."""

WORDS = {
    "NON_FINITE": "the loss is not finite",
    "LOSS_SPIKE": "the loss jumped and stays high",
    "PROGRESS_LOST": "the loss is going back to where it began",
    "GRADIENT_SPIKE": "the gradient is of another order of magnitude",
}
"""Codes of the clauses that the guard answers to."""


class Recovery:
    """The answer to one stop: reads and writes the memory, collects segments and log."""

    def __init__(self, memory: GuardMemory, context: Context, parameters: GuardParameters) -> None:
        self.memory = memory
        self.context = context
        self.job = context.job
        self.parameters = parameters
        self.every = interval(self.job, parameters)
        self.segments: list[SegmentPlan] = []
        self.log: list[LogEntry] = []

    def answer(self, clause: str, held: Held, position: int) -> None:
        """Answer a stop of the main segment ``held`` before ``position``."""
        memory = self.memory
        memory.interventions += 1
        repeats = position <= memory.repeat_until and memory.trouble is not None
        rung = memory.trouble.rung + 1 if repeats and memory.trouble is not None else REWIND
        memory.doubt_restored(position, self.every)
        memory.trouble = Trouble(
            clause=clause, seq=held.seq, position=position, rung=rung, factor=memory.factor
        )
        self._try(memory.trouble, held)

    def answer_anew(self, held: Held) -> None:
        """Answer the stop once more: what was sent for it was refused."""
        memory, trouble = self.memory, self.memory.trouble
        if trouble is None:
            return
        memory.undone -= trouble.undone
        memory.factor = trouble.factor
        trouble.undone = 0
        trouble.rung += 1
        memory.interventions += 1
        self._try(trouble, held)

    def _try(self, trouble: Trouble, held: Held) -> None:
        """Take the lowest rung that the job's abilities, limits and overhead cap allow."""
        if self.memory.interventions <= self.parameters.interventions:
            for rung in range(min(trouble.rung, CUT), CUT + 1):
                plan = self._plan(rung, trouble, held)
                if plan is not None and not refused(plan, self.job):
                    trouble.rung = max(rung, trouble.rung)
                    self._intervene(rung, plan, trouble, held)
                    return
        self._give_up(trouble, held)

    def _plan(self, rung: int, trouble: Trouble, held: Held) -> SegmentPlan | None:
        """Return the segment of a rung; None where the job has nothing for it."""
        memory, position = self.memory, trouble.position
        kept = memory.snapshot_before(position, self.every) if may_go_back(self.job) else None
        if kept is not None and not self._affordable(position - kept.position):
            # What is lost has to be replaced all the same: in place, so that nothing is trained twice.
            lost = trouble.clause in ("NON_FINITE", "PROGRESS_LOST")
            kept = Snapshot(name=kept.name, position=position) if lost else None
        if kept is None and (trouble.clause == "NON_FINITE" or rung == REWIND):
            return None
        source, start = (CURRENT, position) if kept is None else (kept.name, kept.position)
        if start >= held.plan.end:
            return None
        cut = self.parameters.cut if rung == CUT else 1.0
        points = self._points(rung, start, held)
        if points is None:
            policy = lowered(held.plan.policy, memory.factor * cut)
        else:
            policy = dipped(lowered(held.plan.policy, memory.factor), points, start, self._total)
        trusted = held.plan.origin in TRUSTED_ABOVE_PEAK
        return SegmentPlan(
            kind="main",
            when="now",
            source=source,
            start=start,
            length=held.plan.end - start,
            policy=policy,
            controls=held.plan.controls,
            measure=held.plan.measure,
            reason=Reason(text=self._text(rung, trouble, source, start), numbers=self._numbers()),
            # What was above the base peak before may be so again, and is judged as what it continues.
            origin=held.plan.origin if trusted else GUARD,
        )

    def _affordable(self, units: int) -> bool:
        """Whether so much may be trained twice: it counts against the cap like a probe."""
        spent = self.memory.undone + self.memory.probes + self.memory.restarted
        return spent + units <= self.job.overhead_cap * self._total

    def _points(self, rung: int, start: int, held: Held) -> Points | None:
        """Return the factors of a rung over positions; None where one factor holds everywhere."""
        limit = self.job.limits.max_change_per_step
        if limit is None and rung != DIP:
            return None
        target = (1.0, self.parameters.dip, self.parameters.cut)[rung]
        begin: Points = ((float(start), target),)
        low = float(start)
        if limit is not None:
            now = self._factor_now(start, held)
            # A line between two factors in n steps changes by their distance / (n x the smaller) at its steepest.
            steepest = abs(now - target) / min(now, target)
            low += (math.ceil(1.5 * steepest / (limit - 1.0)) + 1) * self.memory.units_per_step
            begin = ((float(start), now), (low, target))
        if rung != DIP:
            return begin
        up = max(float(self._stopped_at), low) + 1.0
        return (*begin, (up, target), (up + RETURN * self.every, 1.0))

    def _factor_now(self, start: int, held: Held) -> float:
        """Return which factor at ``start`` is the rate that the job has just trained at."""
        there = self.memory.factor * held.plan.policy.at(start)
        now = held.multiplier(self._stopped_at)
        return now / there if there > 0.0 and now > 0.0 else 1.0

    @property
    def _stopped_at(self) -> int:
        trouble = self.memory.trouble
        return 0 if trouble is None else trouble.position

    # -- sending --

    def _intervene(self, rung: int, plan: SegmentPlan, trouble: Trouble, held: Held) -> None:
        memory, position = self.memory, trouble.position
        trouble.undone = position - plan.start
        memory.undone += trouble.undone
        if plan.source != CURRENT:
            trouble.restored, trouble.resumed = plan.source, plan.start
            memory.forget_after(plan.start)
        calm = position + (RETURN * self.every if rung == DIP else 0)
        memory.repeat_until = calm + SAME_TROUBLE * self.every
        code = ("guard_rewind", "guard_dip", "guard_cut")[rung]
        numbers = {**self._numbers(), "position": position, "undone": trouble.undone}
        self.log.append(LogEntry(code, plan.reason.text, numbers))
        self._send(self._watched(plan), self._as_sent(rung, plan, held))

    def _as_sent(self, rung: int, plan: SegmentPlan, held: Held) -> Held:
        """Return the strategy's segment with what is made of it now; a cut is remembered for all that follow."""
        memory = self.memory
        points = self._points(rung, plan.start, held) or ()
        before = memory.factor
        if rung == CUT:
            memory.factor *= self.parameters.cut
        factor = before if points else memory.factor
        return held.model_copy(update={"factor": factor, "points": points})

    def _watched(self, plan: SegmentPlan) -> SegmentPlan:
        """Return the plan with its clauses; the cuts are in it already."""
        plain = self.memory.model_copy(update={"factor": 1.0})
        return watched(plan, self.job, plain, self.parameters)

    def _give_up(self, trouble: Trouble, held: Held) -> None:
        """Let the job go on as it is, unwatched: it would stop for the same again."""
        memory = self.memory
        if held.plan.end <= trouble.position < self._total:
            return  # nothing of it is left to go on with: what the strategy sends next will stop again
        memory.sealed = True
        done = memory.interventions - 1
        words = WORDS.get(trouble.clause, trouble.clause)
        if done >= self.parameters.interventions:
            why = f"{done} interventions were all that is allowed"
        else:
            why = "there is no earlier state to go on from" if not memory.snapshots else "no remedy"
        text = f"{words} at {trouble.position}: {why}; the main line goes on unwatched"
        self.log.append(LogEntry("guard_gave_up", text, self._numbers()))
        start = trouble.position
        if start >= held.plan.end:
            return
        policy = lowered(held.plan.policy, memory.factor)
        if self.job.limits.max_change_per_step is not None:
            points = self._points(REWIND, start, held) or ((float(start), 1.0),)
            policy = dipped(policy, points, start, self._total)
        update = {
            "when": "now",
            "source": CURRENT,
            "start": start,
            "length": held.plan.end - start,
            "policy": policy,
            "data": "continue",
            "stop_if": (),
            "save_as": None,
            "save_end_as": None,
            "save_every": None,
            "release": (),
            "reason": Reason(text=text, numbers=self._numbers()),
        }
        self._send(held.plan.model_copy(update=update), held)

    def _send(self, plan: SegmentPlan, held: Held) -> None:
        """Send the segment, and behind it what the strategy had planned to follow: the client let go of that."""
        memory, seq = self.memory, self.context.next_seq
        waiting = [each for each in memory.held if each.seq > held.seq][:1]
        for each in (held, *waiting):
            memory.retire(each.seq)
        self.segments.append(plan)
        memory.held.append(held.model_copy(update={"seq": seq, "renewed": True}))
        for each in waiting:
            # A name is told once: the state at its end is then not kept.
            plan = each.plan.model_copy(update={"save_end_as": None})
            self.segments.append(watched(plan, self.job, memory, self.parameters))
            memory.held.append(each.model_copy(update={"seq": seq + 1}))

    # -- words --

    @property
    def _total(self) -> int:
        return self.job.budget.total

    def _text(self, rung: int, trouble: Trouble, source: str, start: int) -> str:
        words = WORDS.get(trouble.clause, trouble.clause)
        place = f"{words} at {trouble.position}"
        if source == CURRENT:
            back = ""
        elif start == trouble.position:
            back = f", weights from {source!r} in place"
        else:
            back = f", back to {start} and on with the batches that follow"
        dip, cut = self.parameters.dip, self.parameters.cut
        lower = ("", f", at {dip:g} times the rate and easing back", f", at {cut:g} times the rate")
        again = " again" if trouble.rung > REWIND else ""
        return f"{place}{again}{back}{lower[rung]}"

    def _numbers(self) -> dict[str, JsonValue]:
        memory = self.memory
        return {
            **memory.evidence,
            "clause": memory.trouble.clause if memory.trouble is not None else None,
            "interventions": memory.interventions,
            "factor": memory.factor,
        }
