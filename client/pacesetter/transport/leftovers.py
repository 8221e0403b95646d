"""What earlier sessions of the same job could not send: replayed in the background by the next one."""

from collections.abc import Callable

from pacesetter.transport.backlog import Backlog
from pacesetter.transport.calls import Calls
from pacesetter.transport.conditions import Conditions, logger
from pacesetter.transport.folders import SessionFolder, recorded_sessions
from pacesetter.transport.inbox import Inbox
from pacesetter.transport.sender import Sender
from pacesetter.transport.timing import Timing


class Leftovers:
    """The older sessions beside ``folder`` that belong to the same service, or to none yet.

    The service takes the session that registers last for the current one. So an older session that never registered
    has to do so before the new one, even where its process still lives; its records can follow at any time.
    """

    def __init__(
        self,
        folder: SessionFolder,
        service: str,
        make_calls: Callable[[], Calls],
        conditions: Conditions,
        timing: Timing,
    ) -> None:
        self._service = service
        self._make_calls = make_calls
        self._conditions = conditions
        self._timing = timing
        self._stopped = False
        self._sender: Sender | None = None
        self._older = [
            older
            for older in recorded_sessions(folder.path.parent)
            if older.note.created < folder.note.created and older.note.service in (None, service)
        ]
        self.folders = [older for older in self._older if _claimed(older)]
        """Those whose process is gone, taken for this one."""

    def unregistered(self) -> list[SessionFolder]:
        """Return the sessions that have to be registered before the new one, oldest first."""
        return [older for older in self._older if older.note.service is None]

    def run(self) -> None:
        """Send what they left, one session after the other, and delete what is done."""
        while self.folders and not self._stopped:
            folder = self.folders[0]
            if folder.note.service == self._service:
                self._replay(folder)
            else:
                folder.release(delete=False)
            self.folders.pop(0)

    def stop(self) -> None:
        """End the replay and let go of the folders; a later session goes on with them."""
        self._stopped = True
        if self._sender is not None:
            self._sender.stop()
        for folder in self.folders:
            folder.release(delete=False)

    def _replay(self, folder: SessionFolder) -> None:
        backlog = Backlog(folder.journal, self._conditions, self._timing.memory_bytes)
        self._sender = replay_sender(
            folder, backlog, self._service, self._make_calls, self._conditions, self._timing
        )
        self._sender.finish()
        if self._stopped:
            return
        self._sender.run()
        pending = backlog.pending()
        folder.release(delete=pending == 0)
        if pending == 0:
            logger.info("What session %s had left is sent.", folder.note.nonce)


def replay_sender(
    folder: SessionFolder,
    backlog: Backlog,
    service: str,
    make_calls: Callable[[], Calls],
    conditions: Conditions,
    timing: Timing,
    progress: Callable[[int], None] | None = None,
) -> Sender:
    """Return a sender for a session that is over: nothing that the service answers is followed."""
    return Sender(
        folder,
        backlog,
        Inbox(),
        service=service,
        make_calls=make_calls,
        conditions=conditions,
        timing=timing,
        progress=progress,
    )


def _claimed(folder: SessionFolder) -> bool:
    try:
        return folder.claim()
    except OSError:
        return False
