"""``proxy``: the parallel mode of ``zero_tuning``.

Workers run proxies of the job beside it: shorter runs, narrower models, or an experiment that goes on anyway. The job
looks for itself first, as ``zero_tuning`` does, where it can roll back; what proxies have said by then makes that worth
less, down to nothing. Its main line is moved when trials have spoken: to the rate of least expected regret, rising to
it slowly where it is higher, and from the untrained model again where that pays. Without rollback nothing is probed,
and it takes no more steps than its budget.
"""

from collections.abc import Iterable
from typing import ClassVar, cast

from pacesetter.protocol import Acknowledgement, FellBack, Measurements, SegmentEnded
from pacesetter.schedules import Tier

from pacesetter_search.contract import (
    STUDY,
    Body,
    JobFacts,
    Overridden,
    Parameters,
    Registered,
    Rewound,
    State,
    Studied,
)
from pacesetter_search.memory.records import FoundPeak
from pacesetter_search.strategies.proxy.decision import ProxyDecision
from pacesetter_search.strategies.proxy.memory import ProxyMemory
from pacesetter_search.strategies.proxy.parameters import ProxyParameters
from pacesetter_search.strategies.zero_tuning.decision import Decision
from pacesetter_search.strategies.zero_tuning.memory import Memory
from pacesetter_search.strategies.zero_tuning.obstacles import no_rate
from pacesetter_search.strategies.zero_tuning.strategy import ZeroTuning


class ProxyStrategy(ZeroTuning):
    """Takes the peak from proxy runs beside the job, and moves the main line as they speak."""

    name: ClassVar[str] = "proxy"
    tier: ClassVar[Tier] = "experimental"
    needs: ClassVar[str] = "a proxy that workers run, or an experiment; authority 'steer'"
    listens: ClassVar[bool] = True
    parameters_type: ClassVar[type[Parameters]] = ProxyParameters
    memory_type: ClassVar[type[Memory]] = ProxyMemory
    decision_type: ClassVar[type[Decision]] = ProxyDecision

    def __init__(self, parameters: Parameters) -> None:
        wanted = parameters if isinstance(parameters, ProxyParameters) else ProxyParameters()
        super().__init__(wanted)

    def obstacles(self, job: JobFacts) -> Iterable[str]:
        """Return why this strategy cannot steer ``job``, one sentence each."""
        if job.proxies is None:
            yield (
                "the job names no proxies; attach with proxy='module:function' (or a built-in one), or with "
                "experiment=<id>"
            )
        if job.authority != "steer":
            yield f"it moves the main line unasked, which authority {job.authority!r} does not allow; use 'steer'"
        yield from no_rate(job)

    def decides_on(self, body: Body) -> bool:
        """Whether this event may lead to a decision: that the main line has begun again, too."""
        begins = isinstance(body, Acknowledgement) and body.status == "applied"
        return begins or super().decides_on(body)

    def found_peaks(self, state: State, job: JobFacts) -> tuple[FoundPeak, ...]:
        """Return nothing: the trials are on record by themselves."""
        del state, job
        return ()

    def _reduce(self, body: Body, memory: Memory, decision: Decision) -> None:
        known = cast(ProxyMemory, memory)
        if isinstance(body, Studied):
            cast(ProxyDecision, decision).hear(body)
            return
        if isinstance(body, Registered) and STUDY in body.priors:
            cast(ProxyDecision, decision).heard_before(body.priors[STUDY])
        hearing, outcome = cast(ProxyDecision, decision), _of_restart(body, known)
        if outcome == "applied":
            known.restarting, known.goes_on = None, True
        elif outcome is not None or isinstance(body, Rewound | Overridden | FellBack):
            hearing.gave_up_restart()
        _stand(body, known)
        if outcome == "refused":
            # A refusal leads to the next way; those that go on begin at the first.
            memory.plan = -1
        if isinstance(body, Acknowledgement) and body.status == "refused":
            memory.main_at = body.position
        could = memory.may_start_over
        super()._reduce(body, memory, decision)
        if isinstance(body, Acknowledgement) and body.status == "applied":
            # Pieces of a watched main line do not forbid it here: whether it pays is judged each time.
            memory.may_start_over = could
            if outcome == "applied":
                hearing.restarted(body.position)


def _of_restart(body: Body, memory: ProxyMemory) -> str | None:
    """Return what became of a new start, if this event says it."""
    if isinstance(body, Acknowledgement) and body.segment == memory.restarting:
        return body.status
    return None


def _stand(body: Body, memory: ProxyMemory) -> None:
    """Note where the main line stands, which is at 0 while the job probes."""
    if memory.probe is not None:
        return
    if isinstance(body, SegmentEnded):
        memory.at = body.main_position
    elif isinstance(body, Measurements | Acknowledgement | FellBack | Rewound | Overridden):
        memory.at = body.position
