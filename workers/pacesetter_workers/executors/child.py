"""A process that runs trials one after the other: ``python -m pacesetter_workers.executors.child DESCRIPTOR``.

It never outlives its parent: at the end of the pipe it kills its own process group, data loaders of trials included.
"""

import os
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection

from pacesetter.protocol import Trial, TrialPoint

from pacesetter_workers.conduct import conduct
from pacesetter_workers.executors.base import Alive, Ended, Handle, Reported, Started
from pacesetter_workers.executors.orders import Cancel, Run
from pacesetter_workers.site import Site


class _PipeChannel:
    """Points go up the pipe at once; cancellation comes down it, read by another thread."""

    def __init__(self, handle: Handle, connection: "Connection[object, object]") -> None:
        self.handle = handle
        self.cancelled = threading.Event()
        self._connection = connection

    def send(self, point: TrialPoint) -> None:
        self._connection.send(Reported(self.handle, (point,)))

    def alive(self) -> None:
        self._connection.send(Alive(self.handle))

    def is_cancelled(self) -> bool:
        return self.cancelled.is_set()


def main(descriptor: int) -> None:
    """Serve until the parent is gone."""
    # Ctrl-C and a stop of the service are for the parent, which then ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection: Connection[object, object] = Connection(descriptor)
    site = connection.recv()
    assert isinstance(site, Site)
    channels: queue.SimpleQueue[tuple[_PipeChannel, Trial]] = queue.SimpleQueue()
    threading.Thread(
        target=_listen, args=(connection, channels), name="orders", daemon=True
    ).start()
    while True:
        channel, trial = channels.get()
        connection.send(Started(channel.handle))
        ending = conduct(trial, site, channel)
        connection.send(Ended(channel.handle, ending))


def _listen(
    connection: "Connection[object, object]",
    channels: "queue.SimpleQueue[tuple[_PipeChannel, Trial]]",
) -> None:
    current: _PipeChannel | None = None
    while True:
        try:
            order = connection.recv()
        except (EOFError, OSError):
            os.killpg(0, signal.SIGKILL)
        if isinstance(order, Run):
            current = _PipeChannel(order.handle, connection)
            channels.put((current, order.trial))
        elif isinstance(order, Cancel) and current is not None and current.handle == order.handle:
            current.cancelled.set()


if __name__ == "__main__":
    main(int(sys.argv[1]))
