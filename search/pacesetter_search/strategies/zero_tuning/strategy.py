"""``zero_tuning``: what each event means.

The peak learning rate is found at the start of the job: a range test on one frozen batch, then complete short runs
(rungs) from the untrained model, bought one by one while the regret that they are expected to save exceeds what their
steps would have saved if they were trained. Then the main line starts from the untrained model at the rate of least
expected regret. With a rate that can be trusted nothing is bought.
"""

from collections.abc import Iterable
from typing import ClassVar

from pacesetter.protocol import (
    CURRENT,
    Acknowledgement,
    FellBack,
    Finished,
    Measurements,
    SegmentEnded,
)
from pacesetter.schedules import Tier
from pydantic import ValidationError

from pacesetter_search.contract import (
    Advance,
    Body,
    Context,
    Event,
    JobFacts,
    Overridden,
    Parameters,
    Registered,
    Rewound,
    State,
    Strategy,
)
from pacesetter_search.memory.prior import PEAK, PeakPrior
from pacesetter_search.memory.records import FoundPeak
from pacesetter_search.strategies import probing
from pacesetter_search.strategies.zero_tuning import handover, watching
from pacesetter_search.strategies.zero_tuning.decision import Decision
from pacesetter_search.strategies.zero_tuning.finding import found_peaks
from pacesetter_search.strategies.zero_tuning.memory import Memory, Sent, Window
from pacesetter_search.strategies.zero_tuning.obstacles import obstacles
from pacesetter_search.strategies.zero_tuning.parameters import ZeroTuningParameters
from pacesetter_search.strategies.zero_tuning.prior import unbiased
from pacesetter_search.strategies.zero_tuning.reading import (
    account,
    fold,
    read_range_test,
    read_rung,
)
from pacesetter_search.strategies.zero_tuning.scores import scored

_NEVER_AGAIN = probing.NEVER_AGAIN - {"ROLLBACK_NOT_ALLOWED"}
"""Refusals that the next probe would meet as well. Probes that leave the untrained main line need no rollback of it."""

MOST_WAYS = 10
"""Refused main segments after which the job is left on its base schedule, which it follows unasked."""


class ZeroTuning(Strategy):
    """Finds the peak learning rate at the start of the job, then runs the main line."""

    name: ClassVar[str] = "zero_tuning"
    tier: ClassVar[Tier] = "supported"
    needs: ClassVar[str] = f"{probing.NEEDS}, 300 steps or more"
    version: ClassVar[int] = 1
    slow: ClassVar[bool] = True
    remembers: ClassVar[bool] = True
    default_cap: ClassVar[float] = 0.15
    parameters_type: ClassVar[type[Parameters]] = ZeroTuningParameters
    memory_type: ClassVar[type[Memory]] = Memory
    decision_type: ClassVar[type[Decision]] = Decision

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._parameters = (
            parameters if isinstance(parameters, ZeroTuningParameters) else ZeroTuningParameters()
        )

    def obstacles(self, job: JobFacts) -> Iterable[str]:
        """Return why this strategy cannot steer ``job``, one sentence each."""
        return obstacles(job)

    def decides_on(self, body: Body) -> bool:
        """Whether this event may lead to a decision: with something to follow, that a main segment has begun, too."""
        begins = isinstance(body, Acknowledgement) and body.status == "applied"
        return super().decides_on(body) or (begins and self._parameters.then != "schedule")

    def found_peaks(self, state: State, job: JobFacts) -> tuple[FoundPeak, ...]:
        """Return what the rungs say by themselves."""
        memory = Memory.model_validate(state)
        rungs, start = scored(memory.measured, memory.start, job.budget.total)
        return found_peaks(rungs, start, unbiased(job.regime))

    def initial(self, job: JobFacts) -> State:
        """Return the state before any event: nothing sent, nothing known."""
        del job
        return self.memory_type().document()

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        """Fold in measurements; at the end of a probe, or when a plan failed, decide."""
        memory = self.memory_type.model_validate(state)
        if memory.next is not None:
            return handover.advance(memory, event, context)
        decision = self.decision_type(memory, context, self._parameters)
        self._reduce(event.body, memory, decision)
        return Advance(memory.document(), tuple(decision.segments), tuple(decision.log))

    def _reduce(self, body: Body, memory: Memory, decision: Decision) -> None:
        match body:
            case Measurements():
                fold(memory, body)
                watching.tally(memory, body)
            case Registered():
                _remember(body, memory, decision)
                decision.go_on(when="now")
            case SegmentEnded():
                self._ended(body, memory, decision)
            case Acknowledgement():
                _acknowledged(body, memory, decision)
            case FellBack():
                decision.note("fell_back", f"no segment reached the job at {body.position}")
                decision.replan(body.position)
            case Rewound():
                _rewound(body, memory, decision)
            case Overridden():
                _overridden(body, memory, decision)
            case Finished():
                memory.quiet = True
                memory.void()
            case _:
                pass  # a session began, a notice: nothing to decide

    def _ended(self, body: SegmentEnded, memory: Memory, decision: Decision) -> None:
        sent = memory.find(body.segment)
        if sent is None:
            return
        memory.live.remove(sent)
        memory.main_at = body.main_position
        if sent.kind == "main":
            watching.ended(body, sent, decision)
            return
        window, memory.window = memory.window, None
        account(body, sent, memory)
        if body.outcome == "interrupted":
            if body.code != "FINISHED":
                decision.replan(body.main_position)
            return
        moved = sent.source == CURRENT and body.main_position > 0
        if window is None or moved:
            decision.note("unpaired", f"segment {sent.seq} did not start from the initial state")
        elif sent.kind == "range":
            read_range_test(body, sent, window, memory, decision)
        else:
            read_rung(body, sent, window, memory, decision)
        decision.go_on()


def _remember(body: Registered, memory: Memory, decision: Decision) -> None:
    """Take what other jobs said, which stays as it is from here on."""
    said = body.priors.get(PEAK)
    if said is None or not decision.parameters.remember:
        return
    try:
        memory.remembered = PeakPrior.model_validate(said)
    except ValidationError as error:
        decision.note("not_remembered", f"what other jobs said cannot be read: {error}")
        return
    prior = memory.remembered
    text = (
        f"{prior.runs} runs of the family, and what else is known, put the best peak of a linear decay at "
        f"{2.0**prior.log2_lr:.3g} (sd {prior.sd:.2g} octaves)"
    )
    decision.note("remembered", text, **prior.model_dump(mode="json"))


def _acknowledged(body: Acknowledgement, memory: Memory, decision: Decision) -> None:
    sent = memory.find(body.segment)
    if sent is None or body.status == "unpaired":
        return
    if body.status == "applied":
        # What came before it is over.
        memory.live = [one for one in memory.live if one.seq >= sent.seq]
        watching.begun(sent, memory)
        if sent.kind == "main" and sent.saves is None:
            handover.begins(body, memory.sent_whole, decision)
    elif body.status == "refused":
        _refused(body, sent, memory, decision)
    elif body.code != "FINISHED" and not watching.late(body, sent, decision):
        decision.note(body.status, f"segment {sent.seq} did not run: {body.detail or body.code}")
        decision.replan(body.position)


def _refused(body: Acknowledgement, sent: Sent, memory: Memory, decision: Decision) -> None:
    decision.note("refused", f"segment {sent.seq} was refused: {body.code}: {body.detail}")
    memory.live = [one for one in memory.live if one.seq < sent.seq]
    memory.window = None if memory.probe is None else memory.window
    memory.refusals += 1
    if sent.kind == "main" and watching.refused(body, sent, decision):
        return
    if sent.kind == "main":
        # The next way to write it is more careful; the last one is the job's own base schedule.
        memory.plan += 1
        memory.quiet = memory.quiet or memory.plan > MOST_WAYS
    elif body.code == "ABOVE_LIMIT":
        # The limits were known, so this is odd: go down faster and faster.
        memory.highest = sent.log2_lr - 2.0 ** (memory.refusals - 1)
    elif body.code == "NO_REWIND":
        memory.may_rewind = False
    elif body.code == "NO_VALIDATION":
        memory.may_validate = False
    elif body.code in _NEVER_AGAIN:
        memory.may_probe = False
    if body.code in ("NO_CHECKPOINT", "ROLLBACK_NOT_ALLOWED"):
        memory.may_start_over = False
    decision.go_on(when="now")


def _rewound(body: Rewound, memory: Memory, decision: Decision) -> None:
    """A session that resumes at 0 runs the segments of this state again; a later one has no untrained model."""
    memory.main_at = body.position
    probe = memory.probe
    if body.position > 0:
        memory.may_start_over = False
        watching.distrust(memory)
    if probe is None:
        return
    if body.position > 0:
        decision.replan(body.position)
    else:
        memory.window = Window(length=probe.length, keep_rows=probe.kind == "range")


def _overridden(body: Overridden, memory: Memory, decision: Decision) -> None:
    memory.aside = body.active
    if body.active:
        watching.distrust(memory)
        memory.watch = "off" if memory.watch in ("watching", "cooling") else memory.watch
        memory.void()
        return
    # What a person trained is not thrown away: the main line goes on from where it stands.
    memory.may_start_over = memory.may_start_over and body.position == 0
    decision.replan(body.position)
