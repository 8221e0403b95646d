"""How many bytes snapshots may take."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pacesetter.errors import SnapshotTooLarge

SHARE_OF_AVAILABLE = 0.4
"""Two states at a time (the main line and a probe's end) leave a fifth of the memory for the data pipeline."""


def default_memory_bytes() -> int:
    """Return this rank's share of the host memory that is available now."""
    ranks_here = max(int(os.environ.get("LOCAL_WORLD_SIZE", "1") or 1), 1)
    return int(SHARE_OF_AVAILABLE * available_memory_bytes()) // ranks_here


def default_disk_bytes(directory: Path) -> int:
    """Return this rank's share of the disk space that is free now."""
    ranks_here = max(int(os.environ.get("LOCAL_WORLD_SIZE", "1") or 1), 1)
    return int(SHARE_OF_AVAILABLE * shutil.disk_usage(directory).free) // ranks_here


def available_memory_bytes(root: Path = Path("/")) -> int:
    """Return the host memory that can be had without swapping, within the limit of the container."""
    found = [_from_meminfo(root), _from_cgroup(root)]
    known = [value for value in found if value is not None]
    if known:
        return min(known)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _from_meminfo(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kilobytes[0]) * 1024 if kilobytes else None


def _from_cgroup(root: Path) -> int | None:
    try:
        limit = (root / "sys/fs/cgroup/memory.max").read_text().strip()
        used = (root / "sys/fs/cgroup/memory.current").read_text().strip()
    except OSError:
        return None
    return max(int(limit) - int(used), 0) if limit.isdigit() else None


def check_room(
    name: str, needed: int, held: int, allowed: int, kept_names: Sequence[str], *, on_disk: bool
) -> None:
    """Refuse a snapshot that would go over the bound.

    Raises:
        SnapshotTooLarge: ``needed + held`` is above ``allowed``.
    """
    if needed + held <= allowed:
        return
    names = ", ".join(kept_names) or "nothing"
    elsewhere = "a larger disk (directory=...)" if on_disk else "disk (where='disk')"
    raise SnapshotTooLarge(
        f"keeping {name!r} needs {_readable(needed)}; {_readable(held)} are held ({names}) and max_snapshot_bytes "
        f"allows {_readable(allowed)} on this rank. Keep states on {elsewhere}, raise max_snapshot_bytes, or turn "
        "rollback off"
    )


def _readable(count: int) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.4g} {unit}" if unit != "bytes" else f"{count} bytes"
        count = count / 1000  # type: ignore[assignment]
    return f"{count} bytes"
