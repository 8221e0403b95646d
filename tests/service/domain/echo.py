"""A child process for tests: answers with what it was told, and with its argument."""

import os
import sys
import threading

from pacesetter_service.processes.child import serve


def answer(body: bytes) -> bytes:
    if body == b"die":
        os._exit(9)
    if body == b"hang":
        threading.Event().wait()
    if body == b"print":
        sys.stdout.write("not an answer\n")
        sys.stdout.flush()
    return body + sys.argv[2].encode()


if __name__ == "__main__":
    serve(int(sys.argv[1]), answer)
