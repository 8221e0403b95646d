"""Brings recorded sessions to a service: what ``pacesetter sync`` does."""

from collections.abc import Callable
from enum import Enum
from pathlib import Path

from pacesetter.transport.backlog import Backlog
from pacesetter.transport.calls import Calls
from pacesetter.transport.conditions import Conditions
from pacesetter.transport.folders import SessionFolder, recorded_sessions
from pacesetter.transport.leftovers import replay_sender
from pacesetter.transport.timing import Timing


class Outcome(Enum):
    """How the replay of one session ended."""

    SENT = "sent"
    LEFT = "left"


class SessionSync:
    """The replay of one recorded session. Running it again goes on where it stopped; nothing counts twice."""

    def __init__(
        self,
        folder: SessionFolder,
        service: str,
        locate: Callable[[], str],
        token: str | None,
        timing: Timing | None = None,
    ) -> None:
        timing = timing or Timing()
        self._folder = folder
        self._backlog = Backlog(folder.journal, Conditions(), timing.memory_bytes)
        self.total = self._backlog.pending()
        self.sent = 0
        """Records stored so far; rises while ``run`` runs in another thread."""
        self._sender = replay_sender(
            folder,
            self._backlog,
            service,
            lambda: Calls(locate, token, timing),
            Conditions(),
            timing,
            self._count,
        )

    @property
    def title(self) -> str:
        """The session's name for people."""
        return f"{self._folder.note.name} {self._folder.note.nonce}"

    def run(self) -> None:
        """Send until everything is sent, the service refuses the session, or ``stop``."""
        self._sender.finish()
        self._sender.run()

    def stop(self) -> None:
        """Ask for the end of ``run``."""
        self._sender.stop()

    def outcome(self) -> tuple[Outcome, str]:
        """Let go of the folder; return how it went, in one word and in one sentence."""
        pending, refused = self._backlog.pending(), self._folder.has_refused
        self._folder.release(delete=pending == 0)
        if pending:
            why = self._sender.problem or "it was stopped"
            return (
                Outcome.LEFT,
                f"{pending} of {self.total} records stay in {self._folder.path}: {why}",
            )
        if refused:
            aside = self._folder.path / "refused.jsonl"
            return Outcome.LEFT, f"{self.sent} records sent; what the service refused is in {aside}"
        return Outcome.SENT, f"{self.sent} records sent"

    def _count(self, stored: int) -> None:
        self.sent += stored


def survey(directory: Path, service: str | None) -> list[tuple[SessionFolder, str | None]]:
    """Return the sessions recorded in ``directory``, oldest first, each with what keeps it from being sent.

    With a ``service``, the sessions without an obstacle are claimed for this process.
    """
    return [
        (folder, None if service is None else _obstacle(folder, service))
        for folder in recorded_sessions(directory)
    ]


def _obstacle(folder: SessionFolder, service: str) -> str | None:
    newer = _newer_session(folder, service)
    if folder.note.service != service and newer is not None:
        return (
            f"session {newer.note.nonce} of the same job began later and is registered already; registering this "
            "one now would make it the current one"
        )
    try:
        return None if folder.claim() else "its process still runs"
    except OSError as error:
        return f"the folder cannot be used: {error}"


def _newer_session(folder: SessionFolder, service: str) -> SessionFolder | None:
    siblings = recorded_sessions(folder.path.parent)
    return next(
        (
            sibling
            for sibling in siblings
            if sibling.note.created > folder.note.created and sibling.note.service == service
        ),
        None,
    )
