"""The command ``pacesetter-worker``: runs proxy trials for a controller."""

import argparse
import logging
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from pacesetter.errors import PacesetterError, ServiceError
from pacesetter.leasing.calls import TrialCalls
from pacesetter.transport.calls import Away, Calls
from pacesetter.transport.opening import DEFAULT_DIRECTORY, LOCAL, LOOPBACK, find_service
from pacesetter.transport.timing import Timing
from pydantic import ValidationError

from pacesetter_workers.errors import WorkerUnusable
from pacesetter_workers.executors import Executor
from pacesetter_workers.executors.cluster import LOCAL as OWN_RAY
from pacesetter_workers.executors.cluster import Cluster
from pacesetter_workers.site import JobAccess, Site
from pacesetter_workers.worker import Worker

ENDED, UNUSABLE = 0, 2
"""Exit codes: it was stopped, or had nothing to do; it cannot start as it was called."""
_ANY_JOB = {
    "name": "may it register?",
    "external_id": "pacesetter-worker",
    "nonce": "pacesetter-worker",
    "budget": {"clock": "steps", "total": 1},
    "base": {"length": 1, "body": {"family": "constant"}},
    "groups": [{"name": "all", "base_lr": 1.0}],
}
_ENTRY_POINT = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    try:
        return _work(options)
    except PacesetterError as error:
        sys.stderr.write(f"pacesetter-worker: {error}\n")
        return UNUSABLE


def _work(options: argparse.Namespace) -> int:
    service, locate = find_service(options.url)
    token = options.token or os.environ.get("PACESETTER_TOKEN") or None
    site = _site(options)
    if options.jobs:
        _check_jobs(options, service)
        _check_registering(locate, token)
        site = replace(site, jobs=JobAccess(service, site.folder, token))
    name = options.name or f"{socket.gethostname()[:100]}-{os.getpid()}-{secrets.token_hex(3)}"
    executor = open_executor(
        options.executor, site, options.slots, gpus=options.gpus, address=options.ray_address
    )
    connect = partial(TrialCalls, locate, token, Timing())
    try:
        worker = Worker(name, site, executor, connect, idle_seconds=options.idle_exit)
    except ValidationError as error:
        executor.close()
        raise WorkerUnusable(f"the worker cannot be called {name!r}: {error}") from None

    def stop(_number: int, _frame: FrameType | None) -> None:
        worker.stopping.set()

    # After the executor is open: Ray puts handlers of its own in place when it starts.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    logging.info(
        "%s takes trials from %s, %d at a time (%s)",
        name,
        service,
        executor.slots,
        options.executor,
    )
    delivered = worker.run()
    logging.info("%s has delivered %d trials and ends", name, delivered)
    return ENDED


def _check_jobs(options: argparse.Namespace, service: str) -> None:
    """Raise WorkerUnusable where trials run on machines from which the service cannot be reached by that address."""
    elsewhere = options.executor == "ray" and options.ray_address != OWN_RAY
    if elsewhere and (service == LOCAL or urlsplit(service).hostname in LOOPBACK):
        raise WorkerUnusable(
            f"--jobs with --ray-address {options.ray_address}: trials on other machines cannot register at {service}; "
            "give --url an address that holds on all of them"
        )


def _check_registering(locate: Callable[[], str], token: str | None) -> None:
    """Raise WorkerUnusable where no job could register; a service that is away is asked by the trials."""
    calls = Calls(locate, token, Timing())
    try:
        calls.check_job(_ANY_JOB)
    except Away as error:
        logging.warning("whether trials may register as jobs is not known yet: %s", error)
    except ServiceError as error:
        raise WorkerUnusable(
            f"--jobs: the service takes no job from this worker: {error}. Its token needs both scopes: "
            "pacesetter-server token create --scope worker --scope register"
        ) from None
    finally:
        calls.close()


def open_executor(
    kind: str, site: Site, slots: int | None, *, gpus: float = 0.0, address: str = "local"
) -> Executor:
    """Return the executor called ``kind``, with a slot for each core where nobody says how many.

    Raises:
        WorkerUnusable: It cannot be had here.
    """
    count = slots or os.cpu_count() or 1
    if gpus and kind != "ray":
        raise WorkerUnusable(
            f"shares of GPUs are Ray's: leave out --gpus {gpus:g}, or take --executor ray; the executor `{kind}` uses "
            "the GPUs that CUDA_VISIBLE_DEVICES leaves it"
        )
    if kind == "inline":
        if slots not in (None, 1):
            raise WorkerUnusable(
                f"the executor `inline` has one slot, not {slots}; leave out --slots, or take --executor process"
            )
        from pacesetter_workers.executors.inline import InlineExecutor

        return InlineExecutor(site)
    if kind == "process":
        from pacesetter_workers.executors.process import ProcessExecutor

        return ProcessExecutor(site, count)
    cluster = Cluster(address, count, None if gpus else 0)
    # Only now: Ray reads how it is to authenticate when it is imported.
    from pacesetter_workers.executors.on_ray import RayExecutor

    return RayExecutor(site, count, gpus, cluster)


def _site(options: argparse.Namespace) -> Site:
    for entry_point in options.allow:
        if not _ENTRY_POINT.fullmatch(entry_point):
            raise WorkerUnusable(
                f"--allow {entry_point!r} is no entry point; expected module:function, such as proxies.small:train"
            )
    if options.data is not None and not options.data.is_dir():
        raise WorkerUnusable(f"--data {options.data} is no folder; expected one that holds texts")
    folder: Path = options.folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkerUnusable(f"--folder {folder} cannot be made: {error}") from None
    data = None if options.data is None else options.data.resolve()
    return Site(folder, tuple(dict.fromkeys(options.allow)), data)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pacesetter-worker", description=__doc__)
    parser.add_argument(
        "--version", action="version", version=f"pacesetter-worker {version('pacesetter-server')}"
    )
    parser.add_argument("--url", help="the controller (else PACESETTER_URL)")
    parser.add_argument("--token", help="of scope `worker` (else PACESETTER_TOKEN)")
    parser.add_argument("--name", help="what the controller calls it (default: host and process)")
    parser.add_argument(
        "--executor",
        choices=("inline", "process", "ray"),
        default="process",
        help="where trials run: in this process, in processes of this machine (default), on Ray",
    )
    parser.add_argument(
        "--ray-address",
        default="local",
        metavar="ADDRESS",
        help="`local` starts Ray here (default), `auto` joins this machine's, else host:port of a head node",
    )
    parser.add_argument("--slots", type=_slots, help="trials at a time (default: one a core)")
    parser.add_argument(
        "--gpus", type=_share, default=0.0, help="GPUs of each trial, such as 0.25; with Ray only"
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="MODULE:FUNCTION",
        help="code that trials may name beside the built-in proxies; may be given again",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(os.environ.get("PACESETTER_DIR") or DEFAULT_DIRECTORY),
        help="for checkpoints (else PACESETTER_DIR, else ./.pacesetter)",
    )
    parser.add_argument(
        "--jobs",
        action="store_true",
        help="let trials run as jobs; the token then needs the scope `register` as well",
    )
    parser.add_argument("--data", type=Path, help="folder of texts that trials may name")
    parser.add_argument(
        "--idle-exit", type=float, metavar="SECONDS", help="end when no trial came for so long"
    )
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info"
    )
    return parser


def _slots(text: str) -> int:
    slots = int(text)
    if not 1 <= slots <= 1024:
        raise argparse.ArgumentTypeError(f"{slots} slots cannot be; write 1 to 1024")
    return slots


def _share(text: str) -> float:
    share = float(text)
    if not 0.0 <= share <= 1024.0 or (share > 1.0 and not share.is_integer()):
        raise argparse.ArgumentTypeError(
            f"{share:g} GPUs cannot be; write a share up to 1, or a whole number"
        )
    return share


if __name__ == "__main__":
    sys.exit(main())
