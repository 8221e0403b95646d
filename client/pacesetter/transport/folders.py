"""Where journals live: ``<root>/<job>/<session nonce>/``, with a note of what the session is.

::

    session.json         the job's spec, when it began, and where it is registered
    journal-NNNNNN.jsonl records that the service has not stored yet
    refused.jsonl        records that the service can never take, each with the problem
    lock                 held while the process of that session lives
"""

import json
import os
import shutil
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, JsonValue, ValidationError

from pacesetter.protocol import JobSpec, Problem
from pacesetter.transport.journal import Entry, Journal
from pacesetter.transport.locking import FileLock

_NOTE = "session.json"
_LONGEST_NAME = 120


class SessionNote(BaseModel):
    """What ``session.json`` holds. No token: registering again with the same nonce brings a new one."""

    version: int = 1
    created: int
    """Nanoseconds since the epoch; orders the sessions of a job."""
    spec: dict[str, JsonValue]
    service: str | None = None
    """Where it is registered; None while it is nowhere."""
    job: str | None = None
    session: str | None = None
    refused: str | None = None
    """Why the service does not take this session."""

    @property
    def nonce(self) -> str:
        """The session's nonce."""
        return str(self.spec["nonce"])

    @property
    def name(self) -> str:
        """The job's name for people."""
        return str(self.spec["name"])


class SessionFolder:
    """One session's folder."""

    def __init__(self, path: Path, note: SessionNote) -> None:
        self.path = path
        self.note = note
        self.journal = Journal(path)
        self._lock = FileLock(path / "lock")

    @classmethod
    def of_spec(cls, root: Path, spec: JobSpec) -> "SessionFolder":
        """Return the folder for a session that begins now. Nothing is written yet."""
        fields = json.loads(spec.model_dump_json(by_alias=True))
        # What is not set is not sent: an older service refuses fields that it does not know.
        document = {name: value for name, value in fields.items() if value is not None}
        note = SessionNote(created=time.time_ns(), spec=document)
        return cls(root / folder_name(spec.external_id) / folder_name(spec.nonce), note)

    @classmethod
    def read(cls, path: Path) -> "SessionFolder":
        """Return the session recorded in ``path``.

        Raises:
            OSError: There is no note, or it cannot be read.
            ValueError: The note is not one of ours.
        """
        try:
            note = SessionNote.model_validate_json((path / _NOTE).read_bytes())
            _ = note.nonce, note.name
        except (ValidationError, KeyError) as error:
            raise ValueError(
                f"{path / _NOTE} is not the note of a recorded session: {error}"
            ) from None
        return cls(path, note)

    def claim(self) -> bool:
        """Take the folder for this process; False where the process of that session still lives.

        Raises:
            OSError: The folder cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        return self._lock.acquire()

    def process_lives(self) -> bool:
        """Return whether the process of that session still lives."""
        try:
            free = self._lock.acquire()
        except OSError:
            return False
        self._lock.release()
        return not free

    def write_note(self) -> None:
        """Store the note, replacing the old one in one step.

        Raises:
            OSError: The folder cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f"{_NOTE}.{os.getpid()}"
        temporary.write_text(self.note.model_dump_json(indent=1), encoding="utf-8")
        temporary.replace(self.path / _NOTE)

    def set_aside(self, entry: Entry, problem: Problem) -> None:
        """Keep a record that the service can never take, with the reason.

        Raises:
            OSError: The folder cannot be written.
        """
        line = b'{"problem":%b,"record":%b}\n' % (problem.model_dump_json().encode(), entry.record)
        with (self.path / "refused.jsonl").open("ab") as file:
            file.write(line)

    @property
    def has_refused(self) -> bool:
        """Whether records were set aside."""
        return (self.path / "refused.jsonl").exists()

    def release(self, *, delete: bool) -> None:
        """Close the journal and let go of the folder; with ``delete``, remove what is not needed any more."""
        self.journal.close(delete=delete)
        if delete and not self.has_refused:
            shutil.rmtree(self.path, ignore_errors=True)
            with suppress(OSError):
                self.path.parent.rmdir()  # refused while the job has other sessions
        self._lock.release()


def folder_name(name: str) -> str:
    """Return ``name`` as the name of a folder, readable and without collisions."""
    quoted = quote(name, safe=" +=@,")
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    if len(quoted) <= _LONGEST_NAME:
        return quoted
    return f"{quoted[: _LONGEST_NAME - 17]}-{sha256(name.encode()).hexdigest()[:16]}"


def recorded_sessions(root: Path) -> list[SessionFolder]:
    """Return the sessions recorded in ``root`` (a journal folder, a job's or a session's), oldest first."""
    folders = []
    for note in [root / _NOTE, *root.glob(f"*/{_NOTE}"), *root.glob(f"*/*/{_NOTE}")]:
        try:
            folders.append(SessionFolder.read(note.parent))
        except (OSError, ValueError):
            continue
    return sorted(folders, key=lambda folder: folder.note.created)
