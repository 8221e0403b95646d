"""A worker to kill: claims trials that do nothing, and writes down what it did. Started with ``python -m``.

It speaks HTTP as any worker does, and tries again for as long as the service is away. A trial takes as many heartbeats
as ``--beats`` says; while the file of ``--hold`` is missing it goes on beating, so that a test can kill it meanwhile.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import httpx

PAUSE_SECONDS = 0.05
WAIT_SECONDS = 0.5
"""At the controller, for a trial."""


class Worker:
    """See the module's docstring."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.api = httpx.Client(base_url=options.url, timeout=10.0)

    def note(self, what: str, lease: dict[str, Any], **more: Any) -> None:
        """Write a line of what happened to a trial."""
        line = {"what": what, "number": lease["trial"]["number"], **more}
        with self.options.log.open("a") as log:
            log.write(json.dumps(line) + "\n")

    def call(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Return the answer to a call; one that is away or busy is asked again."""
        while True:
            try:
                reply = self.api.post(path, json=body)
            except httpx.TransportError:
                reply = None
            if reply is not None and reply.status_code != 503:
                return reply
            time.sleep(PAUSE_SECONDS)

    def run(self) -> None:
        """Work until the experiment is over."""
        wish = {"worker": self.options.name, "proxies": ["noop"], "most": self.options.most}
        while not self.is_over():
            reply = self.call(f"/v1/trials:claim?wait={WAIT_SECONDS}", wish)
            for lease in reply.raise_for_status().json()["leases"]:
                self.run_trial(lease)

    def is_over(self) -> bool:
        """Return whether the experiment takes no more results."""
        while True:
            try:
                reply = self.api.get(f"/v1/experiments/{self.options.experiment}")
            except httpx.TransportError:
                reply = None
            if reply is not None and reply.status_code != 503:
                return bool(reply.raise_for_status().json()["status"] != "running")
            time.sleep(PAUSE_SECONDS)

    def run_trial(self, lease: dict[str, Any]) -> None:
        """Beat, and finish."""
        path, token = f"/v1/trials/{lease['trial']['id']}", lease["token"]
        self.note("began", lease, attempt=lease["trial"]["attempt"])
        step = 0
        while step < self.options.beats or not self.may_end():
            step += 1
            point = {"step": step, "lr": 0.1, "loss": 1.0 / step}
            beat = {"token": token, "step": step, "points": [point]}
            if self.call(f"{path}:heartbeat", beat).status_code == 409:
                self.note("lost", lease)
                return
        reply = self.call(f"{path}:finish", {"token": token, "loss": float(step)})
        self.note("lost" if reply.status_code == 409 else "done", lease)

    def may_end(self) -> bool:
        """Return whether nobody holds up the trial."""
        if self.options.hold is None or self.options.hold.exists():
            return True
        time.sleep(PAUSE_SECONDS)
        return False


def main() -> None:
    """Work as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--most", type=int, default=1)
    parser.add_argument("--beats", type=int, default=0)
    parser.add_argument("--hold", type=Path)
    Worker(parser.parse_args()).run()


if __name__ == "__main__":
    main()
