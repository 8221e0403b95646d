"""The HTTP calls of a worker, each with its outcomes sorted by what can be done about them."""

from typing import TypeVar

from pacesetter.protocol import (
    Claim,
    Claimed,
    Heartbeat,
    HeartbeatReply,
    Incoming,
    Lease,
    Message,
    TrialFailure,
    TrialResult,
    TrialReturn,
)
from pacesetter.transport.calls import Calls
from pydantic import ValidationError

from pacesetter_workers.errors import WorkerError

LEASE_LOST = "LEASE_LOST"
Reply = TypeVar("Reply", bound=Incoming)

Last = TrialResult | TrialFailure | TrialReturn
"""What ends a lease."""

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

    def claim(self, claim: Claim) -> tuple[Lease, ...]:
        """Ask for trials; none where nothing waits that this worker may run."""
        document = self._json("POST", "/v1/trials:claim", claim.model_dump_json().encode())
        return _read(Claimed, document).leases

    def heartbeat(self, trial: str, beat: Heartbeat) -> HeartbeatReply:
        """Hold on to a lease."""
        path = f"/v1/trials/{trial}:heartbeat"
        return _read(HeartbeatReply, self._json("POST", path, beat.model_dump_json().encode()))

    def end(self, trial: str, last: Last) -> None:
        """Say how a trial ended, or give it back."""
        path = f"/v1/trials/{trial}:{_VERBS[type(last)]}"
        self._json("POST", path, last.model_dump_json().encode())


def _read(model: type[Reply], document: dict[str, object]) -> Reply:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise WorkerError(
            f"the controller's reply is no {model.__name__} ({error.errors()[0]['msg']}); run worker and controller in "
            "matching versions"
        ) from None
