"""How much snapshots may take by default."""

from pathlib import Path

import pytest
from pacesetter.checkpoints.budget import (
    SHARE_OF_AVAILABLE,
    available_memory_bytes,
    check_room,
    default_disk_bytes,
    default_memory_bytes,
)
from pacesetter.errors import SnapshotTooLarge


def machine(root: Path, available_kb: int, limit: str | None = None, used: int = 0) -> Path:
    (root / "proc").mkdir()
    text = f"MemTotal: 99 kB\nMemAvailable:   {available_kb} kB\n"
    (root / "proc/meminfo").write_text(text)
    if limit is not None:
        (root / "sys/fs/cgroup").mkdir(parents=True)
        (root / "sys/fs/cgroup/memory.max").write_text(limit + "\n")
        (root / "sys/fs/cgroup/memory.current").write_text(f"{used}\n")
    return root


def test_available_memory_is_the_machines(tmp_path: Path) -> None:
    assert available_memory_bytes(machine(tmp_path, 2000)) == 2_048_000
    assert available_memory_bytes() > 0


def test_a_containers_limit_counts_if_it_is_lower(tmp_path: Path) -> None:
    assert available_memory_bytes(machine(tmp_path, 2000, "1000000", 400_000)) == 600_000


def test_a_container_without_a_limit_does_not(tmp_path: Path) -> None:
    assert available_memory_bytes(machine(tmp_path, 2000, "max", 400_000)) == 2_048_000


def test_a_full_container_leaves_nothing(tmp_path: Path) -> None:
    assert available_memory_bytes(machine(tmp_path, 2000, "1000", 4000)) == 0


def test_a_system_without_these_files_gives_half_its_memory(tmp_path: Path) -> None:
    assert available_memory_bytes(tmp_path) > 0


def test_ranks_on_one_machine_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    alone, alone_on_disk = default_memory_bytes(), default_disk_bytes(tmp_path)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    # Other processes take and free memory between the two readings.
    assert default_memory_bytes() == pytest.approx(alone / 8, rel=0.2)
    assert default_disk_bytes(tmp_path) == pytest.approx(alone_on_disk / 8, rel=0.2)
    assert SHARE_OF_AVAILABLE == 0.4


def test_the_message_says_needed_held_allowed_and_what_to_do() -> None:
    check_room("x", 5, 5, 10, ["a"], on_disk=False)
    with pytest.raises(SnapshotTooLarge) as caught:
        check_room("x", 1_500_000_000, 2_000_000, 999, ["a", "b"], on_disk=False)
    message = str(caught.value)
    assert "keeping 'x' needs 1.5 GB; 2 MB are held (a, b)" in message
    assert "allows 999 bytes" in message
    assert "where='disk'" in message
    with pytest.raises(SnapshotTooLarge, match="larger disk"):
        check_room("x", 2, 0, 1, [], on_disk=True)
