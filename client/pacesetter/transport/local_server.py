"""Runs ``pacesetter-server`` as the child of a training process, and ends with it.

Two signs of the parent's end are watched: its end of the standard-input pipe closes, and the parent's id changes (for
the case that a forked data-loading worker still holds the pipe). ``PR_SET_PDEATHSIG`` would fire as soon as the
*thread* that started us ended, so it is not used.
"""

import os
import select
import signal
import sys
import threading
import time

_WATCH_SECONDS = 1.0
_GRACE_SECONDS = 12.0
"""The server itself ends within 10 s of SIGTERM."""


def watch(parent: int, pipe: int) -> None:
    """Return once ``parent`` is gone or has closed its end of ``pipe``."""
    while os.getppid() == parent:
        readable, _, _ = select.select([pipe], [], [], _WATCH_SECONDS)
        if readable and not os.read(pipe, 1024):
            return


def _end_with(parent: int) -> None:
    watch(parent, sys.stdin.fileno())
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Serve until the parent ends; return the server's exit code."""
    # By name, because the arrows of the project point the other way: the service imports the client.
    from importlib import import_module

    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    code = import_module("pacesetter_service.cli").main(arguments)
    return int(code or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
