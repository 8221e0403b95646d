"""What the horizon objective does next, given its memory: a probe, or the main line up to the next decision."""

import math
from typing import ClassVar

from pacesetter.protocol import Measure, Reason, SegmentPlan
from pacesetter.protocol.segments import DataSource, When
from pacesetter.schedules import Linear, Schedule
from pydantic import JsonValue

from pacesetter_search.contract import Context, JobFacts, LogEntry
from pacesetter_search.strategies.horizon.candidates import (
    Candidate,
    candidates,
    multipliers,
    permitted,
    shapes_are_free,
)
from pacesetter_search.strategies.horizon.memory import Fork, Memory, Sent
from pacesetter_search.strategies.horizon.outlook import Outlook, outlook, slope
from pacesetter_search.strategies.horizon.parameters import HorizonParameters
from pacesetter_search.strategies.horizon.track import Track
from pacesetter_search.strategies.horizon.worth import Prospect, Worth, worth
from pacesetter_search.strategies.probing import MOST_REPLANS, data_source, stop_clauses

FEWEST_STEPS = 20
"""Steps of the shortest probe: less than that shows no anneal."""


class Decision:
    """One decision: reads and writes the memory, collects segments and log."""

    origin: ClassVar[str] = "autolrs"

    def __init__(self, memory: Memory, context: Context, parameters: HorizonParameters) -> None:
        self.memory = memory
        self.context = context
        self.job: JobFacts = context.job
        self.parameters = parameters
        self.segments: list[SegmentPlan] = []
        self.log: list[LogEntry] = []
        self.seed = int(context.generator().integers(2**31))

    # -- what happens next --

    def begin(self) -> None:
        """Send the base schedule up to the first decision."""
        if not self.memory.live:
            self.main(0, self.job.base, "now", "the base schedule, up to the first decision", {})

    def consider(self, position: int) -> None:
        """Decide at a declared position whether to probe, and go on."""
        if self.silent():
            return
        self.pass_marks(position)
        if self._probe(position, when="now"):
            return
        self.keep(position, "now")

    def after_probe(self, position: int) -> None:
        """Decide, with one more probe measured, whether another one pays, and how to go on if not."""
        if self.silent():
            return
        if not self._probe(position, when="end"):
            self._settle(position)

    def replan(self, position: int, lateness: int | None = None) -> None:
        """What was sent is void: follow the line as it is, up to the next decision.

        Args:
            position: Where the main line stands.
            lateness: By how much a probe came too late, if that is all that was wrong: it is planned again, twice as
                far ahead.
        """
        memory = self.memory
        memory.void()
        if self.silent():
            return
        memory.replans += 1
        if memory.replans > MOST_REPLANS:
            memory.quiet = True
            self.note("gave_up", f"{MOST_REPLANS} plans came to nothing; the job goes on alone")
            return
        self.pass_marks(position)
        if lateness is not None:
            memory.lead = max(memory.lead, 2 * lateness)
            if self._probe(position, when="now"):
                return
        self.keep(position, "now")

    def note(self, code: str, text: str, **numbers: JsonValue) -> None:
        """Add a line to the audit trail."""
        self.log.append(LogEntry(code, text, numbers))

    # -- probes --

    def _probe(self, position: int, *, when: When) -> bool:
        """Send a probe if one is worth its steps and allowed; return whether it was sent."""
        memory, length = self.memory, self.probe_length()
        here = [fork for fork in memory.forks if fork.mark == memory.mark]
        lead = max(length, memory.lead) if when == "now" else 0
        start = position + lead
        if memory.blind or not memory.may_probe or len(here) >= self.parameters.probes:
            return False
        if start + length > self._next_mark() or length > self._longest():
            return False
        if not self._affordable(length) or not self._pays(position, length, len(here)):
            return False
        plan = self._probe_plan(start, length, here, when)
        if plan is None:
            self.note("no_room", "the limits allow no probe here")
            return False
        memory.spent += length
        memory.curve = Track(origin=float(start), width=max(length / 60.0, 1.0))
        # Only a probe behind the main line can be found again by a session that resumes on the main line.
        self._send(plan, chained=when == "now", multiplier=self._begins_with(plan))
        return True

    def _affordable(self, length: int) -> bool:
        memory, total = self.memory, self.job.budget.total
        allowed = self.job.overhead_cap
        if memory.changes == 0:
            allowed = min(allowed, self.parameters.keep_share)
        if memory.spent + length + memory.overshoot <= int(allowed * total):
            return True
        text = f"{memory.spent} of {int(allowed * total)} spent on probes"
        self.note("cap_reached", text, spent=memory.spent, allowed=int(allowed * total))
        return False

    def _pays(self, position: int, length: int, done: int) -> bool:
        """Whether the probes that are left to run here are worth their steps, by what was seen so far."""
        if done:
            return True  # weighed together with the first
        found = self._worth(position, length)
        verdict = "worth_probing" if found.pays else "keep_your_schedule"
        text = (
            f"probes are expected to save {found.gain:.2%} of the loss at the end of the budget, cost "
            f"{found.cost:.2%} and find {found.detectable:.2%} or more"
        )
        if not found.pays:
            text += "; the schedule goes on"
        self.note(verdict, text, position=position, spent=self.memory.spent, **found.numbers())
        return found.pays

    def _worth(self, position: int, length: int) -> Worth:
        memory, total = self.memory, self.job.budget.total
        track = memory.track
        noise = math.sqrt(track.roughness) / abs(track.level) if track.level else math.inf
        rows = track.rows * length / max(position, 1)
        prospect = Prospect(
            slope=slope(self.job, memory),
            noise=noise,
            rows=rows,
            paired=self._data(length) == "rewind",
            doublings=math.log2(max(total / (position + length), 1.0)),
            share=self.parameters.probes * length / total,
            rest=1.0 - position / total,
            octaves=self.parameters.lr_uncertainty,
            shape_free=shapes_are_free(self.job, self.parameters.choose_shape),
            win_probability=self.parameters.win_probability,
        )
        return worth(prospect)

    def _probe_plan(
        self, start: int, length: int, here: list[Fork], when: When
    ) -> SegmentPlan | None:
        """Return a short anneal of the line as it is; then of the highest and the lowest rate that is allowed."""
        line = self.memory.policy(self.job.base)
        allowed = multipliers(self.job, line, self.parameters, start)
        wanted = [1.0, *sorted((one for one in allowed if one > 1.0), reverse=True)]
        wanted += sorted(one for one in allowed if one < 1.0)
        tried = {fork.multiplier for fork in here}
        diverged = min((fork.multiplier for fork in here if fork.diverged), default=math.inf)
        for multiplier in wanted:
            if (
                multiplier in tried
                or multiplier >= diverged
                or self._side_is_known(multiplier, tried)
            ):
                continue
            plan = self._anneal(start, length, multiplier, when)
            if plan is not None and permitted(self.job, self.memory, plan):
                return plan
        return None

    @staticmethod
    def _side_is_known(multiplier: float, tried: set[float]) -> bool:
        """Whether a probe on this side of the line has run already."""
        return any((one > 1.0) == (multiplier > 1.0) for one in tried - {1.0} if multiplier != 1.0)

    def _anneal(self, start: int, length: int, multiplier: float, when: When) -> SegmentPlan | None:
        line = self.memory.policy(self.job.base)
        peak = line.at(start) * multiplier
        if peak <= 0.0:
            return None
        track = self.memory.track
        policy = Schedule(zero=start, length=length, peak=peak, unit=line.unit, body=Linear())
        text = f"a short anneal from {multiplier:.3g} times the line"
        return SegmentPlan(
            kind="probe",
            when=when,
            start=start,
            length=length,
            policy=policy,
            data=self._data(length),
            stop_if=stop_clauses(track.level, math.sqrt(track.roughness), self._ratio(multiplier)),
            measure=Measure(validate_at_end=self.job.capabilities.validate_),
            reason=Reason(text=text, numbers={"multiplier": multiplier}),
            origin=self.origin,
        )

    def _ratio(self, multiplier: float) -> float:
        """Losers are stopped early; the line itself is only stopped when it diverges."""
        return self.parameters.stop_ratio if multiplier > 1.0 else 2.0 * self.parameters.stop_ratio

    def _begins_with(self, plan: SegmentPlan) -> float:
        value = plan.reason.numbers["multiplier"]
        return value if isinstance(value, float) else 1.0

    def _data(self, length: int) -> DataSource:
        return data_source(self.job, length, may_rewind=self.memory.may_rewind)

    def probe_length(self) -> int:
        """Return how long a probe is, in the job's clock."""
        wanted = int(self.parameters.probe_share * self.job.budget.total)
        return max(wanted, FEWEST_STEPS) if self.job.budget.clock == "steps" else max(wanted, 1)

    def _longest(self) -> int:
        longest = self.job.limits.max_probe_length
        return self.job.budget.total if longest is None else longest

    # -- the main line --

    def _settle(self, position: int) -> None:
        """Choose how to go on from everything measured, and send it."""
        here = [fork for fork in self.memory.forks if fork.mark == self.memory.mark]
        if all(fork.diverged or not fork.losses for fork in here):
            self.note("no_evidence", "no probe was measured to its end; the schedule goes on")
            self.keep(position, "end")
            return
        ways = self._ways(position, here)
        view = outlook(self.job, self.memory, ways, position, self.seed)
        if view is None:
            self.note("no_law", "no law could be fitted to what was measured; the schedule goes on")
            self.keep(position, "end")
            return
        index = view.best(self.parameters.win_probability)
        numbers = self._numbers(view, index)
        if ways[index].stays:
            text = "no other way to go on wins with enough certainty: keep your schedule"
            self.note("keep_your_schedule", text, **numbers)
            self.keep(position, "end", numbers)
            return
        self.memory.changes += 1
        text = f"{_words(ways[index])} saves {view.gains[index]:.2%} with {view.wins[index]:.0%} certainty"
        self.note("changed", text, **numbers)
        self.main(position, ways[index].policy, "end", text, numbers)

    def _ways(self, position: int, here: list[Fork]) -> list[Candidate]:
        """Return the ways to go on, without those at or above a rate that has just diverged."""
        diverged = min((fork.multiplier for fork in here if fork.diverged), default=math.inf)
        every = candidates(self.job, self.memory, self.parameters, position)
        return [way for way in every if way.stays or way.multiplier < diverged]

    def _numbers(self, view: Outlook, index: int) -> dict[str, JsonValue]:
        hope = view.most_promising()
        chosen, promising = view.candidates[index], view.candidates[hope]
        return {
            "multiplier": chosen.multiplier,
            "shape": chosen.shape,
            "expected_gain": float(view.gains[index]),
            "win_probability": float(view.wins[index]),
            "most_promising_multiplier": promising.multiplier,
            "most_promising_shape": promising.shape,
            "most_promising_gain": float(view.gains[hope]),
            "most_promising_win_probability": float(view.wins[hope]),
            "spent": self.memory.spent,
            "spent_share": self.memory.spent / self.job.budget.total,
            **view.numbers,
        }

    def keep(self, position: int, when: When, numbers: dict[str, JsonValue] | None = None) -> None:
        """Send the main line as it is, up to the next decision."""
        text = "the schedule goes on as it is"
        self.main(position, self.memory.policy(self.job.base), when, text, numbers or {})

    def main(
        self, position: int, policy: Schedule, when: When, text: str, numbers: dict[str, JsonValue]
    ) -> None:
        """Send the main line under ``policy`` up to the next decision, or to the end of the budget."""
        self.pass_marks(position)
        end = self._next_mark()
        if position >= end:
            return
        plan = SegmentPlan(
            kind="main",
            when=when,
            start=position,
            length=end - position,
            policy=policy,
            reason=Reason(text=text, numbers=numbers),
            origin=self.origin,
        )
        self._send(plan, chained=True)

    def pass_marks(self, position: int) -> None:
        """Leave the decisions behind that are behind the job."""
        marks = self.memory.marks
        while self.memory.mark < len(marks) and marks[self.memory.mark] <= position:
            self.memory.mark += 1

    def _next_mark(self) -> int:
        memory, total = self.memory, self.job.budget.total
        if memory.blind or memory.mark >= len(memory.marks):
            return total
        return memory.marks[memory.mark]

    def silent(self) -> bool:
        """Whether nothing is planned: a person steers, or the job is left alone."""
        return self.memory.quiet or self.memory.aside

    def _send(self, plan: SegmentPlan, *, chained: bool, multiplier: float = 1.0) -> None:
        self.segments.append(plan)
        self.memory.live.append(
            Sent(
                seq=self.context.next_seq + len(self.segments) - 1,
                kind="probe" if plan.kind == "probe" else "main",
                start=plan.start,
                length=plan.length,
                policy=plan.policy,
                multiplier=multiplier,
                chained=chained,
            )
        )


def _words(candidate: Candidate) -> str:
    shape = "" if candidate.shape == "kept" else f" and a {candidate.shape} decay from here"
    return f"{candidate.multiplier:.3g} times the schedule{shape}"
