"""A child's end: reads messages on stdin, writes answers on stdout, one after the other, and ends with its parent.

BLAS is pinned to one thread in its environment: beside training on a busy machine a GP fit takes 20 to 35 times as long
with the default threads. It ends at the end of stdin, by the kernel's parent-death signal, and by watching its parent's
id, since any one of them alone has been seen to fail.
"""

import ctypes
import os
import signal
import struct
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

LENGTH = struct.Struct("<Q")
READY = b"\x01"
PINNED = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)
"""Read when the libraries are loaded, so they are in the environment before the process starts."""
_PR_SET_PDEATHSIG = 1
_WATCH_SECONDS = 1.0


def end_with_parent(parent: int) -> None:
    """Make sure that this process does not outlive ``parent``."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        pause = threading.Event()
        while os.getppid() == parent:
            pause.wait(_WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


def read_message(stream: BinaryIO) -> bytes | None:
    """Return the next message; None at the end."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = stream.read(length)
    return body if len(body) == length else None


def write_message(stream: BinaryIO, body: bytes) -> None:
    """Write a message at once."""
    stream.write(LENGTH.pack(len(body)) + body)
    stream.flush()


def serve(parent: int, answer: Callable[[bytes], bytes]) -> None:
    """Answer the messages of ``parent`` until it is gone, then end the process.

    ``answer`` must not raise: what went wrong is for the parent to read.
    """
    end_with_parent(parent)
    # Ctrl-C is for the parent, which then closes stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stdin = sys.stdin.buffer
    # Whatever a library prints must not end up between answers.
    stdout = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    write_message(stdout, READY)
    while (body := read_message(stdin)) is not None:
        write_message(stdout, answer(body))
    os._exit(0)  # not through the interpreter's end, which would wait for imports that still run
