"""The planning process: reads requests on stdin, writes answers on stdout, one after the other.

Started as ``python -m pacesetter_service.planning.process REGISTRY PARENT WARM...``, with BLAS pinned to one thread:
beside training on a busy machine a GP fit takes 20 to 35 times as long with the default threads. Its imports begin at
once, beside the first decisions, which need none of them. It ends with its parent: at the end of stdin, by the kernel's
parent-death signal, and by watching its parent's id, since any one of them alone has been seen to fail.
"""

import ctypes
import importlib
import os
import signal
import struct
import sys
import threading
from collections.abc import Sequence
from typing import BinaryIO

from pacesetter_service.planning.messages import PlanAnswer, PlanRequest
from pacesetter_service.planning.reduce import reduce
from pacesetter_service.planning.registry import Registry

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


def warm_up(modules: Sequence[str]) -> None:
    """Import what the first decision would otherwise wait for."""
    for module in modules:
        importlib.import_module(module)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


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


def _answer(registry: Registry, body: bytes, warming: threading.Thread) -> bytes:
    try:
        request = PlanRequest.model_validate_json(body)
        if any(event.body.type != "registered" for event in request.events):
            # A first decision has nothing to fit and goes ahead: a job waits for it in its first steps.
            warming.join()
        answer = reduce(registry, request)
        return answer.model_dump_json(by_alias=True).encode()
    except Exception as error:
        # An answer that cannot be written counts as the strategy's failure, not the process's.
        failure = PlanAnswer(error=f"{type(error).__name__}: {error}")
        return failure.model_dump_json().encode()


def main(module: str, parent: int, warm: Sequence[str]) -> None:
    """Serve until the parent is gone."""
    end_with_parent(parent)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the parent, which then closes stdin
    stdin = sys.stdin.buffer
    # Whatever a library prints must not end up between answers.
    stdout = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    registry = Registry(module)
    warming = threading.Thread(target=warm_up, args=(warm,), name="warm-up", daemon=True)
    warming.start()
    write_message(stdout, READY)
    while (body := read_message(stdin)) is not None:
        write_message(stdout, _answer(registry, body, warming))
    os._exit(0)  # not through the interpreter's end, which would wait for imports that still run


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
