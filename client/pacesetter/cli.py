"""The command ``pacesetter``: bring sessions and curves to a service, show schedules, ask what to run."""

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from pacesetter.commands import curves, recommend, schedule
from pacesetter.errors import ConfigurationError, ServiceError
from pacesetter.transport.opening import DEFAULT_DIRECTORY, find_service
from pacesetter.transport.syncing import Outcome, SessionSync, survey

SENT, LEFT, UNUSABLE = 0, 1, 2
"""Exit codes: everything is sent; something stayed, or nothing is known; the command cannot work as it was called."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    options = _parser().parse_args(arguments)
    try:
        if options.command == "schedule":
            return schedule.run(options, sys.stdout.write)
        if options.command == "curves":
            return curves.run(options, sys.stdout.write)
        if options.command == "recommend":
            return recommend.run(options, sys.stdout.write)
        return _sync(options) if options.command == "sync" else _status(options)
    except ConfigurationError as error:
        sys.stderr.write(f"pacesetter: {error}\n")
        return UNUSABLE
    except ServiceError as error:
        sys.stderr.write(f"pacesetter: the service: {error}\n")
        return UNUSABLE
    except KeyboardInterrupt:
        sys.stderr.write("stopped; run the same command again to go on\n")
        return LEFT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pacesetter", description=__doc__)
    parser.add_argument(
        "--version", action="version", version=f"pacesetter {version('pacesetter')}"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    sync = commands.add_parser(
        "sync", help="send what was recorded offline or while the service was away"
    )
    sync.add_argument(
        "directory", type=Path, help="a journal folder, or that of one job or session"
    )
    sync.add_argument("--url", help="the service (else PACESETTER_URL)")
    sync.add_argument("--token", help="a token that may register (else PACESETTER_TOKEN)")
    sync.add_argument(
        "--give-up-after",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="end when the service took nothing for so long (default: 60)",
    )
    status = commands.add_parser("status", help="list the recorded sessions and what waits in them")
    status.add_argument("directory", type=Path, nargs="?", default=Path(DEFAULT_DIRECTORY))
    schedule.add_parser(commands)
    curves.add_parser(commands)
    recommend.add_parser(commands)
    return parser


def _sync(options: argparse.Namespace) -> int:
    directory = _existing(options.directory)
    service, locate = find_service(options.url)
    token = options.token or os.environ.get("PACESETTER_TOKEN") or None
    outcomes = []
    for folder, obstacle in survey(directory, service):
        if obstacle is not None:
            _say(f"{folder.note.name} {folder.note.nonce}: left alone: {obstacle}")
            outcomes.append(Outcome.LEFT)
            continue
        sync = SessionSync(folder, service, locate, token)
        outcomes.append(_follow(sync, options.give_up_after))
    if not outcomes:
        _say(f"nothing to send in {directory}")
    return SENT if all(outcome is Outcome.SENT for outcome in outcomes) else LEFT


def _follow(sync: SessionSync, give_up_seconds: float) -> Outcome:
    """Run one session's replay in a thread and print how far it is."""
    thread = threading.Thread(target=sync.run, name="pacesetter-sync", daemon=True)
    thread.start()
    sent, moved = 0, time.monotonic()
    while thread.is_alive():
        thread.join(0.2)
        if sync.sent != sent:
            sent, moved = sync.sent, time.monotonic()
            _progress(sync)
        elif time.monotonic() - moved > give_up_seconds:
            sync.stop()
            thread.join(5.0)
            break
    outcome, text = sync.outcome()
    if sys.stdout.isatty():
        sys.stdout.write("\r")
    _say(f"{sync.title}: {text}")
    return outcome


def _status(options: argparse.Namespace) -> int:
    directory = _existing(options.directory)
    sessions = survey(directory, None)
    for folder, _ in sessions:
        note = folder.note
        where = note.service or "not registered"
        alive = ", running" if folder.process_lives() else ""
        refused = f", refused: {note.refused}" if note.refused else ""
        _say(
            f"{note.name} {note.nonce}: {folder.journal.count(0)} records wait ({where}{alive}{refused})"
        )
    if not sessions:
        _say(f"no recorded sessions in {directory}")
    return SENT


def _existing(directory: Path) -> Path:
    if not directory.is_dir():
        raise ConfigurationError(f"{directory} is not a folder; give the journal folder of a job")
    return directory


def _progress(sync: SessionSync) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r{sync.title}: {sync.sent} of {sync.total} records")
        sys.stdout.flush()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
