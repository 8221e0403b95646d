"""What ``autolrs`` does next, given its memory: a probe, or a stage together with the first probe of the next one."""

from pacesetter.protocol import Measure, Reason, SegmentPlan
from pacesetter.protocol.segments import When
from pacesetter.schedules import Schedule
from pydantic import JsonValue

from pacesetter_search.contract import Context, JobFacts, LogEntry
from pacesetter_search.forecasting import Window
from pacesetter_search.strategies.autolrs.choice import Answer, Question, best, next_candidate
from pacesetter_search.strategies.autolrs.memory import Memory, Sent, Tried
from pacesetter_search.strategies.autolrs.parameters import AutoLRSParameters
from pacesetter_search.strategies.autolrs.range import Range, base_multiplier, search_range
from pacesetter_search.strategies.autolrs.stages import Stage, probe_length
from pacesetter_search.strategies.probing import MOST_REPLANS, data_source, stop_clauses
from pacesetter_search.surrogates import finite


class Decision:
    """One decision: reads and writes the memory, collects segments and log."""

    def __init__(self, memory: Memory, context: Context, parameters: AutoLRSParameters) -> None:
        self.memory = memory
        self.context = context
        self.job: JobFacts = context.job
        self.parameters = parameters
        self.segments: list[SegmentPlan] = []
        self.log: list[LogEntry] = []
        found = search_range(self.job, parameters)
        # Without a range there are obstacles, and the job was never given to this strategy.
        self.range = found if found is not None else Range(1.0, 2.0)
        self._seed = int(context.generator().integers(2**31))

    # -- what happens next --

    def go_on(self, *, when: When = "end", chained: bool = False) -> None:
        """Send the next probe of the stage, or the stage itself once nothing is left to probe.

        Args:
            when: "end" behind a running segment, "now" to interrupt it.
            chained: Whether the running segment is of the main line.
        """
        memory = self.memory
        if memory.quiet or memory.aside or memory.stage >= len(memory.stages):
            return
        if not self._probe(memory.stage, when=when, chained=chained):
            self._settle(when=when)

    def replan(self, position: int, lateness: int = 0) -> None:
        """Plan anew from the main line at ``position``: what was sent is void.

        A probe is planned a lead ahead, because the job goes on training while the segment travels: at least its own
        length, doubled from time to time, and twice what the last one was late.
        """
        memory = self.memory
        memory.void()
        if memory.quiet or memory.aside:
            return
        memory.replans += 1
        if memory.replans > MOST_REPLANS:
            memory.quiet = True
            self.note("gave_up", f"{MOST_REPLANS} plans came to nothing; the job goes on alone")
            return
        memory.stage = self._stage_at(position)
        if memory.stage >= len(memory.stages):
            return
        stage = memory.stages[memory.stage]
        length = probe_length(stage, self.job, self.parameters)
        lead = max(length * 2 ** min(memory.replans - 1, 10), 2 * lateness)
        start = max(stage.start, position + lead)
        # Too late in the stage to learn something for it: settle it and look at the next one.
        late = start + length > stage.start + stage.length // 2
        if late or not self._probe(memory.stage, when="now", start=start, chained=True):
            self._settle(when="now")

    def note(self, code: str, text: str, **numbers: JsonValue) -> None:
        """Add a line to the audit trail."""
        self.log.append(LogEntry(code, text, numbers))

    # -- probes --

    def _probe(self, index: int, *, when: When, chained: bool, start: int | None = None) -> bool:
        """Send a probe for stage ``index``; return False if none is wanted or allowed."""
        memory, stage = self.memory, self.memory.stages[index]
        length = probe_length(stage, self.job, self.parameters)
        tried = memory.tried_places(index)
        if not memory.may_probe or len(tried) >= self.parameters.candidates:
            return False
        if memory.spent + length + memory.overshoot > self._allowed():
            spent, allowed = memory.spent, self._allowed()
            self.note("cap_reached", f"{spent} of {allowed} spent on probes", spent=spent)
            return False
        answer = next_candidate(self._question(index), self.parameters)
        if answer is None:
            return False
        self.log += answer.log
        plan = self._probe_plan(
            index, answer, when, stage.start if start is None else start, length
        )
        memory.tried.append(Tried(stage=index, x=answer.x))
        memory.spent += length
        memory.window = Window(length)
        self._send(plan, index, answer.x, chained=chained)
        return True

    def _probe_plan(
        self, index: int, answer: Answer, when: When, start: int, length: int
    ) -> SegmentPlan:
        multiplier = self.range.multiplier(answer.x)
        place = f"probe {len(self.memory.tried_places(index)) + 1} of stage {index + 1}"
        numbers = {"x": answer.x, "multiplier": multiplier, **answer.numbers}
        return SegmentPlan(
            kind="probe",
            when=when,
            start=start,
            length=length,
            policy=Schedule(zero=start, length=length, peak=multiplier),
            data=data_source(self.job, length, may_rewind=self.memory.may_rewind),
            stop_if=stop_clauses(self.memory.level, self.memory.spread, self.parameters.stop_ratio),
            measure=Measure(validate_at_end=self.validates(index)),
            reason=Reason(text=f"{place}: {answer.text}", numbers=numbers),
            origin="autolrs",
        )

    def validates(self, index: int) -> bool:
        """Whether stage ``index`` is judged by validation loss."""
        first = self.parameters.validate_from_stage
        return first is not None and index >= first and self.job.capabilities.validate_

    def _allowed(self) -> int:
        return int(self.job.overhead_cap * self.job.budget.total)

    # -- stages --

    def _settle(self, *, when: When) -> None:
        """Choose the stage's rate, send it, and behind it the first probe of the next stage."""
        memory, index = self.memory, self.memory.stage
        stage = memory.stages[index]
        answer = self._choose(index)
        memory.incumbent = None if answer is None else answer.x
        memory.stage = index + 1
        memory.forget(before=index)
        plan = self._stage_plan(index, when, answer)
        self._send(plan, index, memory.incumbent, chained=True)
        if memory.stage < len(memory.stages):
            self._probe(memory.stage, when="end", chained=True)
        if len(self.segments) == 1 and stage.end < self.job.budget.total:
            self._to_the_end(plan, index)

    def _to_the_end(self, plan: SegmentPlan, index: int) -> None:
        """Let the stage run to the end of the budget: nothing is probed any more, so there is nothing to choose."""
        memory = self.memory
        self.segments[0] = plan.model_copy(update={"length": self.job.budget.total - plan.start})
        memory.stage = len(memory.stages)
        self.note("last_stage", f"stage {index + 1} goes on to the end of the budget")

    def _choose(self, index: int) -> Answer | None:
        """Return the rate of the stage; None: the base schedule goes on."""
        memory, question = self.memory, self._question(index)
        stage = f"stage {index + 1}"
        if memory.refusals:
            self.note("refused", f"the rate of {stage} was refused; the base schedule goes on")
            return None
        if finite(memory.responses, index):
            answer = best(question)
            self.log += answer.log
        elif question.diverged is not None:
            worst = min(question.diverged, question.incumbent)
            x = max(self.range.place(self.range.multiplier(worst) / 2), question.low)
            answer = Answer(x, "all probes diverged: half of the lowest", {})
            self.note("all_diverged", f"all probes of {stage} diverged; the rate is halved")
        elif memory.incumbent is None:
            self.note("no_evidence", f"no probe of {stage} was measured; the base schedule goes on")
            return None
        else:
            x = min(max(memory.incumbent, question.low), question.high)
            answer = Answer(x, "no probe was measured: the rate in use stays", {})
        multiplier = self.range.multiplier(answer.x)
        self.note(
            "stage_chosen",
            f"{stage} runs at {multiplier:.4g} times the base rate: {answer.text}",
            multiplier=multiplier,
            **answer.numbers,
        )
        return answer

    def _stage_plan(self, index: int, when: When, answer: Answer | None) -> SegmentPlan:
        """Constant within the stage as published, and defined to the end of the budget: it simply goes on."""
        stage, total = self.memory.stages[index], self.job.budget.total
        if answer is None:
            policy, text = self.job.base, "the base schedule goes on"
            numbers: dict[str, JsonValue] = {}
        else:
            multiplier = self.range.multiplier(answer.x)
            policy = Schedule(zero=stage.start, length=total - stage.start, peak=multiplier)
            text, numbers = answer.text, {"multiplier": multiplier, **answer.numbers}
        return SegmentPlan(
            kind="main",
            when=when,
            start=stage.start,
            length=stage.length,
            policy=policy,
            reason=Reason(text=f"stage {index + 1}: {text}", numbers=numbers),
            origin="autolrs",
        )

    # -- common --

    def _question(self, index: int) -> Question:
        memory = self.memory
        low, high = self._reach(memory.stages[index])
        incumbent = memory.incumbent
        if incumbent is None:
            incumbent = self.range.place(base_multiplier(self.job, memory.stages[index].start))
        return Question(
            stage=index,
            responses=memory.responses,
            tried=memory.tried_places(index),
            incumbent=incumbent,
            low=low,
            high=high,
            diverged=memory.lowest_diverged(index),
            seed=self._seed,
        )

    def _reach(self, stage: Stage) -> tuple[float, float]:
        """Return the places that the main line may jump to at the beginning of a stage."""
        memory = self.memory
        current = (
            base_multiplier(self.job, stage.start)
            if memory.incumbent is None
            else self.range.multiplier(memory.incumbent)
        )
        low, high = self.range.around(current, self.job.limits.max_change_per_step)
        high = min(high, memory.ceiling)
        return min(low, high), high

    def _stage_at(self, position: int) -> int:
        """Return the index of the stage that ``position`` is in or before."""
        stages = self.memory.stages
        return next((i for i, stage in enumerate(stages) if position < stage.end), len(stages))

    def _send(self, plan: SegmentPlan, index: int, x: float | None, *, chained: bool) -> None:
        seq = self.context.next_seq + len(self.segments)
        kind = "probe" if plan.kind == "probe" else "main"
        self.segments.append(plan)
        self.memory.live.append(
            Sent(
                seq=seq,
                kind=kind,
                stage=index,
                x=x,
                start=plan.start,
                length=plan.length,
                chained=chained,
            )
        )
