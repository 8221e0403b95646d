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
        memory.trouble = Trouble(clause=clause, seq=held.seq, position=position, rung=rung)
        self._try(memory.trouble, held)

    def answer_anew(self, held: Held) -> None:
        """Answer the stop once more: what was sent for it was refused."""
        memory, trouble = self.memory, self.memory.trouble
        if trouble is None:
            return
        memory.undone -= trouble.undone
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
        lost = trouble.clause == "NON_FINITE"
        if kept is not None and not self._affordable(position - kept.position):
            # Weights that are no numbers have to be replaced; the steps since then are lost, and not trained anew.
            kept = Snapshot(name=kept.name, position=position) if lost else None
        if kept is None and (lost or rung == REWIND):
            return None
        source, start = (CURRENT, position) if kept is None else (kept.name, kept.position)
        if start >= held.plan.end:
            return None
        factor = memory.factor * (self.parameters.cut if rung == CUT else 1.0)
        policy = lowered(held.plan.policy, factor)
        points = self._points(rung, start, position)
        if points is not None:
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
        spent = self.memory.undone + self.memory.probes
        return spent + units <= self.job.overhead_cap * self._total

    def _points(self, rung: int, start: int, position: int) -> Points | None:
        """Return the factors of a rung over positions; None where one factor holds everywhere."""
        limit = self.job.limits.max_change_per_step
        if rung == REWIND or (rung == CUT and limit is None):
            return None
        bottom = self.parameters.dip if rung == DIP else self.parameters.cut
        begin: Points = ((float(start), bottom),)
        low = float(start)
        if limit is not None:
            # A line from 1 down to f in n steps changes by (1 - f) / (n f) at its steepest.
            steps = math.ceil(1.5 * (1.0 - bottom) / (bottom * (limit - 1.0))) + 1
            low = start + steps * self.memory.units_per_step
            begin = ((float(start), 1.0), (low, bottom))
        if rung == CUT:
            return begin
        up = max(float(position), low) + 1.0
        return (*begin, (up, bottom), (up + RETURN * self.every, 1.0))

    # -- sending --

    def _intervene(self, rung: int, plan: SegmentPlan, trouble: Trouble, held: Held) -> None:
        memory, position = self.memory, trouble.position
        trouble.undone = position - plan.start
        memory.undone += trouble.undone
        if plan.source != CURRENT:
            memory.forget_after(plan.start)
        if rung == CUT:
            memory.factor *= self.parameters.cut
        calm = position + (RETURN * self.every if rung == DIP else 0)
        memory.repeat_until = calm + SAME_TROUBLE * self.every
        code = ("guard_rewind", "guard_dip", "guard_cut")[rung]
        numbers = {**self._numbers(), "position": position, "undone": trouble.undone}
        self.log.append(LogEntry(code, plan.reason.text, numbers))
        self._send(self._watched(plan), held)

    def _watched(self, plan: SegmentPlan) -> SegmentPlan:
        """Return the plan with its clauses; the cuts are in it already."""
        plain = self.memory.model_copy(update={"factor": 1.0})
        return watched(plan, self.job, plain, self.parameters)

    def _give_up(self, trouble: Trouble, held: Held) -> None:
        """Let the job go on as it is, unwatched: it would stop for the same again."""
        memory = self.memory
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
            self.segments.append(watched(each.plan, self.job, memory, self.parameters))
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
