import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter.protocol import JobSpec, Problem
from pacesetter.transport.folders import SessionFolder, folder_name, recorded_sessions
from pacesetter.transport.journal import Entry
from pacesetter.transport.locking import FileLock

from tests.client.transport.samples import make_spec


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_names_of_folders_stay_inside_and_do_not_collide(one: str, other: str) -> None:
    name = folder_name(one)
    assert "/" not in name and "\0" not in name and not name.startswith(".")
    assert len(name.encode()) <= 120
    assert (name == folder_name(other)) == (one == other)


def test_readable_names_stay_readable() -> None:
    assert folder_name("gpt-124m run=7") == "gpt-124m run=7"
    assert folder_name("..") == "%2E."
    assert folder_name("team/run") == "team%2Frun"


def test_sessions_are_found_from_every_level_oldest_first(tmp_path: Path) -> None:
    paths = []
    for nonce in ("z", "a", "m"):
        folder = SessionFolder.of_spec(tmp_path, make_spec(nonce))
        folder.write_note()
        paths.append(folder.path)
    SessionFolder.of_spec(tmp_path, make_spec("x", external_id="another")).write_note()
    (tmp_path / "junk" / "x").mkdir(parents=True)
    (tmp_path / "junk" / "x" / "session.json").write_text("{")
    assert [one.note.nonce for one in recorded_sessions(tmp_path)] == ["z", "a", "m", "x"]
    assert [one.note.nonce for one in recorded_sessions(paths[0].parent)] == ["z", "a", "m"]
    assert [one.note.nonce for one in recorded_sessions(paths[1])] == ["a"]


def test_the_spec_comes_back_byte_for_byte(tmp_path: Path) -> None:
    spec = make_spec(tags={"lr": 3e-4, "tiny": 1e-300, "text": "ü\u2028"})
    folder = SessionFolder.of_spec(tmp_path, spec)
    folder.write_note()
    again = SessionFolder.read(folder.path)
    assert again.note == folder.note
    assert type(spec).model_validate(again.note.spec) == spec


def test_what_is_not_set_is_not_sent_to_a_service_that_may_not_know_it(tmp_path: Path) -> None:
    spec = make_spec()
    document = SessionFolder.of_spec(tmp_path, spec).note.spec
    left_out = JobSpec.model_fields.keys() - document.keys()
    assert "proxies" in left_out
    # To leave a field out says the same as its null did.
    assert all(JobSpec.model_fields[name].default is None for name in left_out)
    assert all(getattr(spec, name) is None for name in left_out)


def test_a_lock_excludes_other_processes_and_this_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = FileLock(path)
    assert lock.acquire()
    assert not FileLock(path).acquire()
    attempt = (
        "import sys; from pathlib import Path; from pacesetter.transport.locking import FileLock; "
        "sys.exit(0 if FileLock(Path(sys.argv[1])).acquire() else 3)"
    )
    command = [sys.executable, "-c", attempt, str(path)]
    assert subprocess.run(command, check=False).returncode == 3
    lock.release()
    assert subprocess.run(command, check=False).returncode == 0
    assert FileLock(path).acquire(), "the lock ended with its process"


@pytest.mark.parametrize("refused", [False, True])
def test_a_finished_folder_goes_unless_something_was_refused(tmp_path: Path, refused: bool) -> None:
    folder = SessionFolder.of_spec(tmp_path, make_spec())
    assert folder.claim()
    folder.write_note()
    folder.journal.append([Entry(1, b"{}")])
    if refused:
        problem = Problem(title="t", status=422, detail="d", code="C")
        folder.set_aside(Entry(1, b'{"number":1}'), problem)
    folder.release(delete=True)
    assert folder.path.exists() == refused
    assert list(tmp_path.rglob("journal-*")) == []
    assert len(list(tmp_path.rglob("refused.jsonl"))) == int(refused)
