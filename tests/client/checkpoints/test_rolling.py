"""Rolling snapshots: two at a time, the newest ones."""

from pathlib import Path
from typing import Any

import pytest
from pacesetter.checkpoints import RollingSnapshots
from pacesetter.errors import SnapshotTooLarge

from tests.client.checkpoints.trainings import make_training


def test_only_the_newest_two_are_kept_and_the_others_positions_are_handed_over() -> None:
    training = make_training()
    store = training.store()
    store.save("other", {})
    released: list[dict[str, Any]] = []
    rolling = RollingSnapshots(store, on_release=released.append)
    names = []
    for step in range(12):
        names.append(rolling.save({"step": step}))
        training.steps(1)
    assert rolling.names() == tuple(names[-2:])
    assert [position["step"] for position in released] == list(range(10))
    assert store.restore(rolling.names()[0]) == {"step": 10}
    rolling.clear()
    assert store.names() == ("other",)
    assert len(released) == 12


def test_a_bound_of_two_states_is_enough() -> None:
    training = make_training()
    training.steps(1)
    two = 2 * training.store().state_bytes()
    rolling = RollingSnapshots(training.store(max_snapshot_bytes=two))
    for step in range(5):
        rolling.save({"step": step})
    too_small = RollingSnapshots(training.store(max_snapshot_bytes=two - 1))
    too_small.save({"step": 0})
    with pytest.raises(SnapshotTooLarge):
        too_small.save({"step": 1})


def test_a_restart_goes_on_with_the_files_of_before(tmp_path: Path) -> None:
    training = make_training()
    store = training.store(where="disk", directory=tmp_path)
    before = RollingSnapshots(store).save({"step": 1})
    again = RollingSnapshots(training.store(where="disk", directory=tmp_path))
    assert again.names() == (before,)
    after = again.save({"step": 2})
    assert again.names() == (before, after)
