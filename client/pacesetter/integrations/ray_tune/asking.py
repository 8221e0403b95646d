"""The thread that asks the service for trials, so that Tune's loop never waits for it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypeAlias

from pacesetter.errors import ConfigurationError, PacesetterError
from pacesetter.leasing.calls import ExperimentState, TrialCalls
from pacesetter.leasing.holding import Held, Holdings
from pacesetter.leasing.threads import Talking
from pacesetter.protocol import Claim, ExperimentSpec, Lease
from pacesetter.transport.calls import Denied, Rejected

POLL_SECONDS = 0.5
"""Between questions while nothing waits."""
PREFIX = "tune:"
"""Of the proxies of experiments that Tune runs: no worker has one of that name."""


@dataclass(frozen=True, slots=True)
class NewExperiment:
    """An experiment to be registered."""

    spec: ExperimentSpec
    key: str
    """Registered twice with the same one, it is one."""


Wanted: TypeAlias = NewExperiment | str
"""A new experiment, or the id of one that there is."""


class Asking(Talking):
    """Registers the experiment, or looks it up; then claims its trials one by one, as they are wanted.

    Args:
        connect: See :class:`Talking`.
        holdings: Where leases go.
        worker: What the service calls this search.
        wanted: The experiment to register, or the id of one that there is.
        tell: Called when there is a new lease, whose heartbeat may be due before anybody looks.
    """

    def __init__(
        self,
        connect: Callable[[], TrialCalls],
        holdings: Holdings,
        worker: str,
        wanted: Wanted,
        tell: Callable[[], None],
    ) -> None:
        super().__init__("tune", connect)
        self._holdings, self._tell = holdings, tell
        self._worker, self._wanted = worker, wanted
        self._state: ExperimentState | None = None
        self._hungry = False
        self.claimed: deque[Held] = deque()
        self.problem: PacesetterError | None = None
        """Why there will be no trials: for a person to put right."""

    @property
    def experiment(self) -> str | None:
        """Id of the experiment, once it is known."""
        return None if self._state is None else self._state.id

    @property
    def is_over(self) -> bool:
        """Whether the experiment plans no more trials, and none of it waits."""
        return self._state is not None and self._state.status != "running" and not self.claimed

    def ask(self) -> None:
        """Have one more trial claimed."""
        self._hungry = True
        self.wake()

    def _round(self, calls: TrialCalls) -> float:
        state = self._state = self._state or self._found(calls)
        # One that was kept on disk, or held while the service was away, may have run out: a claim would begin it anew,
        # where its next heartbeat takes it up again.
        if any(_may_have_run_out(held) for held in self._holdings.all()):
            return POLL_SECONDS / 10.0
        if state is None or not self._hungry:
            return 3600.0
        claim = Claim(worker=self._worker, proxies=(state.spec.proxy,), most=1)
        if any(self._take(lease, state.id) for lease in calls.claim(claim)):
            self._hungry = False
            return 0.0
        self._state = calls.experiment(state.id)
        return 3600.0 if self.is_over else POLL_SECONDS

    def _found(self, calls: TrialCalls) -> ExperimentState | None:
        """Return the experiment; None where only a person can put right what is the matter with it."""
        try:
            if isinstance(self._wanted, str):
                found = calls.experiment(self._wanted)
            else:
                found = calls.create_experiment(self._wanted.spec, self._wanted.key)
        except (Denied, Rejected) as error:
            self.problem = error
            return None
        if found.spec.proxy.startswith(PREFIX):
            return found
        self.problem = ConfigurationError(
            f"experiment {found.id} has the proxy {found.spec.proxy!r}, whose trials are for workers; for Tune "
            f'register one whose proxy begins with "{PREFIX}", or leave `experiment` out'
        )
        return None

    def _take(self, lease: Lease, experiment: str) -> bool:
        """Keep a trial for Tune; return False where it is of another experiment."""
        if lease.trial.experiment != experiment:
            # Its lease runs out by itself; given back, it would be claimed again at once.
            self.problem = ConfigurationError(
                f"experiments {experiment} and {lease.trial.experiment} have the same proxy {lease.trial.proxy!r}, so "
                "their trials cannot be told apart; cancel one of them, or give each its own proxy"
            )
            return False
        held = Held(lease, beaten=monotonic())
        self._holdings.add(held)
        self.claimed.append(held)
        self._tell()
        return True


def _may_have_run_out(held: Held) -> bool:
    """Return whether a lease was not heard to hold for half of its life: two heartbeats that did not arrive."""
    return not held.lost and (
        not held.beaten or monotonic() - held.beaten > held.lease.seconds / 2.0
    )
