"""Folders of snapshots on disk: whose they are, and when they go."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pacesetter.errors import SnapshotError
from pacesetter.run.snapshots import SnapshotFolder

HOLD = """
import sys, time
from pathlib import Path
from pacesetter.run.snapshots import SnapshotFolder
folder = SnapshotFolder(Path(sys.argv[1]), "a job", sys.argv[2])
folder.claim()
(folder.path / "left.state").write_text("state")
print("held", flush=True)
time.sleep(60)
"""


class Owner:
    """Something that can be referred to weakly."""


def hold(root: Path, nonce: str) -> subprocess.Popen[str]:
    """Return a process that holds a folder with a state in it."""
    command = [sys.executable, "-c", HOLD, str(root), nonce]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_folder_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    with hold(tmp_path, "dead") as dead, hold(tmp_path, "alive") as alive:
        os.kill(dead.pid, signal.SIGKILL)
        dead.wait()
        other = SnapshotFolder(tmp_path, "another job", "mine")
        other.claim()
        alive.kill()
    held = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*")}
    assert held == {"a%20job/alive", "a%20job/alive.lock"} | {
        "another%20job/mine",
        "another%20job/mine.lock",
    }
    assert (tmp_path / "a%20job/alive/left.state").read_text() == "state"


def test_the_folder_goes_with_its_owner(tmp_path: Path) -> None:
    owner = Owner()
    folder = SnapshotFolder(tmp_path, "job", "nonce")
    folder.claim()
    folder.remove_with(owner)
    (folder.path / "left.state").write_text("state")
    del owner
    assert list(tmp_path.glob("*/*")) == []


def test_a_forked_child_leaves_its_parents_folder_alone(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path, "job", "nonce")
    folder.claim()
    folder._process = os.getpid() + 1  # as seen from another process than the one that claimed it
    folder._remove()
    assert folder.path.is_dir()


def test_two_runs_of_one_process_leave_each_other_alone(tmp_path: Path) -> None:
    first, second = (SnapshotFolder(tmp_path, "job", nonce) for nonce in ("1", "2"))
    first.claim()
    second.claim()
    assert first.path.is_dir()
    assert second.path.is_dir()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SnapshotError, match=r"cannot be made.*pass directory="):
        SnapshotFolder(tmp_path / "file", "job", "nonce").claim()
