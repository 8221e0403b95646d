"""``wsd_branch``: one trunk, and a decayed model for every budget that was asked for.

A constant rate commits to no horizon: a model for a shorter budget costs its decay only [Hu2024, arXiv 2404.06395].
In mode ``wsd`` each decay leaves the trunk as a branch, whose end is handed to the training code, and the trunk goes on
from where it was left. In mode ``wsd_s`` the main line itself decays and goes on from the decayed state at the trunk's
rate [WSD-S, Wen2024, arXiv 2410.05192]: no step is trained beside it. The last budget is the job's own, and ends on the
main line.
"""

from collections.abc import Iterator
from math import ceil, isfinite
from typing import Annotated, ClassVar, Literal

from pacesetter.protocol import (
    Acknowledgement,
    FellBack,
    Finished,
    Measure,
    Measurements,
    Notice,
    Reason,
    SegmentEnded,
    SegmentPlan,
)
from pacesetter.protocol.segments import When
from pacesetter.schedules import Constant, Schedule, Tier
from pacesetter.schedules.horizon import branch_decay, resume_trunk
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from pacesetter_search.contract import (
    Advance,
    Body,
    Context,
    Event,
    JobFacts,
    LogEntry,
    Overridden,
    Parameters,
    Registered,
    Rewound,
    State,
    Strategy,
)
from pacesetter_search.strategies import probing

MOST_REPLANS = 20
"""Plans in a row that came to nothing after which the job is left alone."""

LEAST_TRUNK = 0.05
"""Share of a budget that is trunk at least, after the warm-up: a decay off nothing is another schedule."""

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class WSDBranchParameters(Parameters):
    """What a user may set."""

    budgets: tuple[int, ...] = ()
    """Shorter budgets, in the job's clock: where a decayed model is wanted. The job's own budget is always the last."""
    decay: Share = 0.2
    """Length of each decay, as a share of the budget that it ends."""
    shape: Literal["linear", "sqrt", "exponential", "square", "cosine", "mirror_cosine"] = "sqrt"
    """Of the decay; 1-sqrt beats a line where it is short [Hagele2024, arXiv 2405.18392]."""
    mode: Literal["wsd", "wsd_s"] = "wsd"
    """Whether the trunk goes on from before a decay, or from the decayed state."""

    @field_validator("budgets")
    @classmethod
    def _in_order(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)) or any(each < 1 for each in value):
            raise ValueError(f"budgets {value} do not rise from 1 on; sort them, each one once")
        return value


class _Live(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    seq: int
    kind: Literal["main", "branch"]
    budget: int
    """Budget that the segment leads to or ends."""


class _Memory(BaseModel):
    """The state: a JSON document."""

    model_config = ConfigDict(extra="forbid")

    done: list[int] = []
    """Budgets that are behind: reached, refused or missed."""
    live: list[_Live] = []
    kept: list[str] = []
    """Names of states that were handed over and may be released."""
    replans: int = 0
    may_branch: bool = True
    aside: bool = False
    quiet: bool = False


class WSDBranch(Strategy):
    """One trunk, and a decayed model for every budget that was asked for."""

    name: ClassVar[str] = "wsd_branch"
    tier: ClassVar[Tier] = "supported"
    needs: ClassVar[str] = "budgets; rollback for mode 'wsd'"
    default_cap: ClassVar[float] = 0.0
    parameters_type: ClassVar[type[Parameters]] = WSDBranchParameters

    def obstacles(self, job: JobFacts) -> Iterator[str]:
        """Return why this strategy cannot steer ``job``, one sentence each."""
        parameters = self._parameters
        total = job.budget.total
        if parameters.budgets and parameters.mode == "wsd" and job.capabilities.rollback == "none":
            yield "its branches leave the trunk, and the job cannot roll back; attach with rollback='memory' or 'disk'"
        beyond = [each for each in parameters.budgets if each >= total]
        if beyond:
            yield f"budgets {beyond} are not below the job's own of {total}; give shorter ones"
            return
        crowded = False
        for budget, before in zip((*parameters.budgets, total), self._standing(job), strict=True):
            begin = budget - self._length(budget)
            if begin < before + LEAST_TRUNK * budget:
                crowded = True
                yield (
                    f"the decay for budget {budget} would begin at {begin}, and the trunk has come to {before} just "
                    "before; give a larger budget, a shorter decay or a shorter warm-up"
                )
        families = job.capabilities.families
        if families and not crowded:
            missing = sorted(self._policy(job).body.families_used() - set(families))
            if missing:
                yield f"its client cannot evaluate {', '.join(missing)}; update the training code's pacesetter"

    def initial(self, job: JobFacts) -> State:
        """Return the state before any event."""
        del job
        return _Memory().model_dump()

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        """Send the trunk up to the next decay, and the decay behind it."""
        memory, body = _Memory.model_validate(state), event.body
        log: list[LogEntry] = []
        position = self._decide(memory, body, log)
        segments: tuple[SegmentPlan, ...] = ()
        if position is not None and not (memory.aside or memory.quiet):
            when: When = "end" if isinstance(body, SegmentEnded) else "now"
            segments = tuple(self._plans(memory, context, position, when))
            log += [LogEntry("planned", each.reason.text, each.reason.numbers) for each in segments]
        return Advance(memory.model_dump(), segments, tuple(log))

    # -- what an event means --

    def _decide(self, memory: _Memory, body: Body, log: list[LogEntry]) -> int | None:
        """Fold in an event; return the position to plan from, or None."""
        match body:
            case Registered():
                return 0
            case SegmentEnded():
                return self._ended(memory, body, log)
            case Acknowledgement():
                return self._acknowledged(memory, body, log)
            case FellBack():
                return self._again(memory, body.position, log)
            case Rewound():
                memory.kept = []  # the process that kept them is gone
            case Overridden():
                memory.aside, memory.live = body.active, []
                return None if body.active else self._again(memory, body.position, log)
            case Finished():
                memory.quiet = True
            case Measurements() | Notice() | _:
                pass
        return None

    def _ended(self, memory: _Memory, body: SegmentEnded, log: list[LogEntry]) -> int | None:
        live = _find(memory, body.segment)
        if live is None:
            return None
        memory.live.remove(live)
        if body.outcome == "interrupted":
            return self._again(memory, body.main_position, log) if body.code != "FINISHED" else None
        memory.replans = 0
        reached = live.kind == "branch" or self._parameters.mode == "wsd_s"
        if reached and live.budget not in memory.done and live.budget in self._parameters.budgets:
            memory.done.append(live.budget)
            memory.kept.append(_name(live.budget))
            text = (
                f"budget {live.budget}: {'reached' if body.outcome == 'completed' else body.code}"
            )
            loss = body.validation_loss
            numbers: dict[str, JsonValue] = {
                "budget": live.budget,
                "validation_loss": loss if loss is not None and isfinite(loss) else None,
                "steps": body.steps,
            }
            log.append(LogEntry("budget_reached", text, numbers))
        return None if memory.live else body.main_position

    def _acknowledged(
        self, memory: _Memory, body: Acknowledgement, log: list[LogEntry]
    ) -> int | None:
        live = _find(memory, body.segment)
        if live is None or body.status == "unpaired":
            return None
        if body.status == "applied":
            memory.live = [one for one in memory.live if one.seq >= live.seq]
            return None
        if body.code == "FINISHED":
            return None
        log.append(
            LogEntry(body.status, f"segment {body.segment} did not run: {body.detail or body.code}")
        )
        if body.status == "refused" and live.kind == "branch":
            memory.done.append(live.budget)
            memory.may_branch = memory.may_branch and body.code not in probing.NEVER_AGAIN
        return self._again(memory, body.position, log)

    def _again(self, memory: _Memory, position: int, log: list[LogEntry]) -> int | None:
        """Plan anew from ``position``: what was sent is void."""
        memory.live = []
        memory.replans += 1
        if memory.replans > MOST_REPLANS:
            memory.quiet = True
            text = f"{MOST_REPLANS} plans came to nothing; the job goes on alone"
            log.append(LogEntry("gave_up", text))
        return None if memory.quiet else position

    # -- what is sent --

    def _plans(
        self, memory: _Memory, context: Context, position: int, when: When
    ) -> Iterator[SegmentPlan]:
        """Yield the main line to the next cut, and what follows there."""
        job, parameters = context.job, self._parameters
        if position >= job.budget.total:
            return
        policy = self._policy(job)
        budget = self._next(memory, position, job.budget.total)
        seq = context.next_seq
        if budget is None or not memory.may_branch:
            yield self._send(memory, seq, self._main(job, policy, position, job.budget.total, when))
            return
        cut = budget if parameters.mode == "wsd_s" else budget - self._length(budget)
        if position < cut:
            main = self._main(job, policy, position, cut, when, budget=budget)
            yield self._send(memory, seq, main, budget)
            seq, when = seq + 1, "end"
        if parameters.mode == "wsd":
            yield self._send(memory, seq, self._branch(job, budget, when), budget)

    def _send(
        self, memory: _Memory, seq: int, plan: SegmentPlan, budget: int | None = None
    ) -> SegmentPlan:
        kind: Literal["main", "branch"] = "branch" if plan.kind == "branch" else "main"
        memory.live.append(_Live(seq=seq, kind=kind, budget=plan.end if budget is None else budget))
        release, memory.kept = tuple(memory.kept), []
        return plan.model_copy(update={"release": release})

    def _main(
        self,
        job: JobFacts,
        policy: Schedule,
        start: int,
        end: int,
        when: When,
        *,
        budget: int | None = None,
    ) -> SegmentPlan:
        hands_over = budget is not None and self._parameters.mode == "wsd_s"
        keeps = hands_over and job.capabilities.rollback != "none"
        text = f"the trunk from {start} to {end}"
        if hands_over:
            text += f", decayed at its end for budget {budget}"
        elif budget is None:
            text += f", decayed over the last {self._length(job.budget.total)}"
        return SegmentPlan(
            kind="main",
            when=when,
            start=start,
            length=end - start,
            policy=policy,
            hand_over=hands_over,
            save_end_as=_name(budget) if keeps and budget is not None else None,
            measure=Measure(validate_at_end=hands_over and job.capabilities.validate_),
            reason=Reason(text=text, numbers={"start": start, "end": end}),
            origin=self.name,
        )

    def _branch(self, job: JobFacts, budget: int, when: When) -> SegmentPlan:
        length = self._length(budget)
        start = budget - length
        text = f"a decay over {length} off the trunk at {start}: the model for budget {budget}"
        return SegmentPlan(
            kind="branch",
            when=when,
            start=start,
            length=length,
            policy=self._decayed(_trunk(job), budget),
            data=probing.data_source(job, length, may_rewind=True),
            save_end_as=_name(budget),
            measure=Measure(validate_at_end=job.capabilities.validate_),
            reason=Reason(text=text, numbers={"budget": budget, "length": length}),
            origin=self.name,
        )

    def _policy(self, job: JobFacts) -> Schedule:
        """Return the schedule of the whole main line."""
        policy, total = _trunk(job), job.budget.total
        if self._parameters.mode == "wsd_s":
            for budget in self._budgets(total):
                decayed = self._decayed(policy, budget)
                policy = resume_trunk(decayed, budget, length=total)
        return self._decayed(policy, total)

    def _decayed(self, trunk: Schedule, budget: int) -> Schedule:
        length = self._length(budget)
        return branch_decay(trunk, budget - length, length, self._parameters.shape)

    def _length(self, budget: int) -> int:
        return max(1, round(self._parameters.decay * budget))

    def _standing(self, job: JobFacts) -> Iterator[int]:
        """Yield where the trunk stands before each budget's decay: after its warm-up, after the decay before it."""
        warmup = _trunk(job).extent.warmup
        yield warmup
        for budget in self._parameters.budgets:
            # Branches leave no trace: the next one may begin as soon as the last one has.
            yield budget if self._parameters.mode == "wsd_s" else warmup

    def _budgets(self, total: int) -> tuple[int, ...]:
        """Return the shorter budgets; a job that was cut short meanwhile may have no room for all of them."""
        last = total - 1
        if self._parameters.mode == "wsd_s":
            last = total - self._length(total) - ceil(LEAST_TRUNK * total)
        return tuple(budget for budget in self._parameters.budgets if budget <= last)

    def _next(self, memory: _Memory, position: int, total: int) -> int | None:
        """Return the first budget whose decay can still begin; those that were missed are behind."""
        for budget in self._budgets(total):
            begin = budget if self._parameters.mode == "wsd_s" else budget - self._length(budget)
            if budget not in memory.done and begin >= position:
                return budget
        return None

    @property
    def _parameters(self) -> WSDBranchParameters:
        parameters = self.parameters
        assert isinstance(parameters, WSDBranchParameters)
        return parameters


def _trunk(job: JobFacts) -> Schedule:
    """Return the base schedule's warm-up and peak, held to the end."""
    return job.base.model_copy(update={"body": Constant(), "floor": 0.0})


def _name(budget: int) -> str:
    return f"budget-{budget}"


def _find(memory: _Memory, seq: int) -> _Live | None:
    return next((one for one in memory.live if one.seq == seq), None)
