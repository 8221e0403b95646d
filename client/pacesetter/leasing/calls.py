"""The HTTP calls of whoever runs trials, each with its outcomes sorted by what can be done about them."""

from pacesetter.protocol import (
    Claim,
    Claimed,
    ExperimentSpec,
    Heartbeat,
    HeartbeatReply,
    Incoming,
    Lease,
    Message,
    TrialFailure,
    TrialResult,
    TrialReturn,
)
from pacesetter.transport.calls import Calls, validated

LEASE_LOST = "LEASE_LOST"

Last = TrialResult | TrialFailure | TrialReturn
"""What ends a lease."""


class ExperimentOutline(Incoming):
    """What of an experiment's spec whoever runs its trials has to know."""

    proxy: str


class ExperimentState(Incoming):
    """Where an experiment stands."""

    id: str
    status: str
    """``running`` until it is over."""
    reason: str = ""
    """Why it is over."""
    spec: ExperimentOutline


_VERBS: dict[type[Message], str] = {
    TrialResult: "finish",
    TrialFailure: "fail",
    TrialReturn: "return",
}


class TrialCalls(Calls):
    """Talks to one controller about trials. Used by one thread, and closed by it.

    Every call raises ``Away`` where it is worth trying again, ``Rejected`` where it will never be taken as it is, and
    ``Denied`` where only a person can help (``pacesetter.transport.calls``).
    """

    def create_experiment(self, spec: ExperimentSpec, key: str) -> ExperimentState:
        """Register an experiment; the same ``key`` and spec twice are one."""
        headers = {"Idempotency-Key": key}
        body = spec.model_dump_json(exclude_unset=True).encode()
        return validated(
            ExperimentState, self._json("POST", "/v1/experiments", body, headers=headers)
        )

    def experiment(self, experiment: str) -> ExperimentState:
        """Return where an experiment stands."""
        return validated(ExperimentState, self._json("GET", f"/v1/experiments/{experiment}"))

    def claim(self, claim: Claim, wait_seconds: float = 0.0) -> tuple[Lease, ...]:
        """Ask for trials; none where nothing waits that this worker may run, nor comes within ``wait_seconds``."""
        # In the address, which a service that knows no waiting does not read.
        path = f"/v1/trials:claim?wait={wait_seconds:g}" if wait_seconds else "/v1/trials:claim"
        document = self._json(
            "POST", path, claim.model_dump_json().encode(), wait_seconds=wait_seconds
        )
        return validated(Claimed, document).leases

    def heartbeat(self, trial: str, beat: Heartbeat) -> HeartbeatReply:
        """Hold on to a lease."""
        path = f"/v1/trials/{trial}:heartbeat"
        return validated(HeartbeatReply, self._json("POST", path, beat.model_dump_json().encode()))

    def end(self, trial: str, last: Last) -> None:
        """Say how a trial ended, or give it back."""
        path = f"/v1/trials/{trial}:{_VERBS[type(last)]}"
        self._json("POST", path, last.model_dump_json().encode())
