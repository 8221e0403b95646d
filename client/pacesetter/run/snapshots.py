"""The folder of a process's snapshots on disk: its own while it lives, and removed by the next one if it was killed."""

import logging
import os
import shutil
import weakref
from pathlib import Path
from urllib.parse import quote

from pacesetter.errors import SnapshotError
from pacesetter.transport.locking import FileLock

logger = logging.getLogger("pacesetter")

_LOCK = ".lock"


class SnapshotFolder:
    """A folder for each process start: an older process of the job may still live, and be inside a probe.

    The lock lies beside the folder and is taken before the folder is made, so a folder whose lock is free belongs to a
    dead process.

    Args:
        root: Folder of all snapshots of all jobs.
        external_id: Of the job.
        nonce: Of this start of its process.
    """

    def __init__(self, root: Path, external_id: str, nonce: str) -> None:
        self._root = root
        self.path = root / quote(external_id, safe="") / nonce
        self._lock_path = self.path.with_name(nonce + _LOCK)
        self._lock = FileLock(self._lock_path)
        self._process = os.getpid()

    def claim(self) -> None:
        """Make the folder this process's own, and remove those of dead processes.

        Raises:
            SnapshotError: It cannot be made.
        """
        try:
            self._lock_path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise SnapshotError(
                f"{self.path} cannot be made ({error}); expected a directory to write states to: pass directory=..."
            ) from error
        self._remove_leftovers()

    def remove_with(self, owner: object) -> None:
        """Have the folder removed once ``owner`` is gone, at the end of the process at the latest."""
        weakref.finalize(owner, self._remove)

    def _remove(self) -> None:
        # A forked child leaves by the same door, and the folder is its parent's.
        if os.getpid() == self._process:
            _delete(self.path, self._lock_path)
            self._lock.release()

    def _remove_leftovers(self) -> None:
        for lock_path in self._root.glob(f"*/*{_LOCK}"):
            lock = FileLock(lock_path)
            try:
                dead = lock_path != self._lock_path and lock.acquire()
            except OSError:  # another user's, or a file system without locks: nobody can tell
                continue
            if dead:
                leftover = lock_path.with_name(lock_path.name.removesuffix(_LOCK))
                _delete(leftover, lock_path)
                lock.release()
                logger.info("removed %s, the snapshots of a process that is gone", leftover)


def _delete(folder: Path, lock_path: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock_path.unlink(missing_ok=True)
