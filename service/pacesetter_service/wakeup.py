"""Wake whoever waits for a job's next segments, or a project's next trials."""

import asyncio


class Wakeups:
    """One event for everyone who waits. Lives on the event loop; holds no connection.

    What they wait for has a name: the id of a job, say.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the controller is shutting down."""
        return self._closed

    def wake(self, name: str) -> None:
        """Wake everyone who waits for ``name``."""
        for event in self._waiting.get(name, ()):
            event.set()

    def waiting(self, name: str) -> int:
        """Return how many wait for ``name``."""
        return len(self._waiting.get(name, ()))

    def subscribe(self, name: str) -> asyncio.Event:
        """Return an event that is set whenever ``name`` has something new. Give it back to ``unsubscribe``."""
        event = asyncio.Event()
        self._waiting.setdefault(name, set()).add(event)
        return event

    def unsubscribe(self, name: str, event: asyncio.Event) -> None:
        """Stop waking ``event``."""
        waiting = self._waiting.get(name, set())
        waiting.discard(event)
        if not waiting:
            self._waiting.pop(name, None)

    def close(self) -> None:
        """Wake everyone for the last time."""
        self._closed = True
        for name in tuple(self._waiting):
            self.wake(name)


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
