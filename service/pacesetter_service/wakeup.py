"""Wake whoever waits for a job's next segments."""

import asyncio


class Wakeups:
    """One event a job, while somebody waits. Lives on the event loop; holds no connection."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the controller is shutting down."""
        return self._closed

    def wake(self, job: str) -> None:
        """Wake everyone who waits for ``job``."""
        for event in self._waiting.get(job, ()):
            event.set()

    def subscribe(self, job: str) -> asyncio.Event:
        """Return an event that is set whenever ``job`` has something new. Give it back to ``unsubscribe``."""
        event = asyncio.Event()
        self._waiting.setdefault(job, set()).add(event)
        return event

    def unsubscribe(self, job: str, event: asyncio.Event) -> None:
        """Stop waking ``event``."""
        waiting = self._waiting.get(job, set())
        waiting.discard(event)
        if not waiting:
            self._waiting.pop(job, None)

    def close(self) -> None:
        """Wake everyone for the last time."""
        self._closed = True
        for job in tuple(self._waiting):
            self.wake(job)


async def wait_for(event: asyncio.Event, timeout_seconds: float) -> bool:
    """Wait until ``event`` is set, and clear it; False if time is up first.

    Not by ``asyncio.wait_for``: up to Python 3.11 that forgets a cancellation that comes as the event is set, and what
    waits in a loop is then never done.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True
