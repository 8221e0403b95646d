"""Which runs one law is fitted to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter.protocol import Objective, Workload
from pacesetter_search.memory import LawGroup, RunRecord, fitted_of, law_key, obstacle
from pacesetter_search.memory.groups import ALIKE, MOST_CURVES, SAME_PEAK

from tests.search.memory.runs import record


def keys_of(records: list[RunRecord]) -> list[str]:
    """Return the key of each as they come in, one after another."""
    known: list[str] = []
    for one in records:
        known.append(law_key(one, known))
    return known


@pytest.mark.parametrize(
    "changes",
    [
        {"family": "other"},
        {"regime": "lora"},
        {"objective": Objective(name="accuracy")},
        {"objective": Objective(mode="max")},
        {"optimizer": "adam"},
        {"momentum": 0.9},
        {"parameters": 51_100.0},
        {"batch": 523.0},
        {"peak_lr": 1.51 * 2.0**-7},
        {"peak_lr": 2.0**-7 / 1.51},
        {"source": "upload", "validated": True},
    ],
    ids=str,
)
def test_what_a_law_needs_to_be_the_same_tells_groups_apart(changes: dict[str, Any]) -> None:
    first, second = keys_of([record(1), record(2, **changes)])
    assert first != second


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": 50_400.0, "batch": 508.0, "peak_lr": 1.2 * 2.0**-7},
        {"steps": 9, "tokens": 1e9, "shape_octaves": -1.6, "weight_decay": 0.1},
        {"final_loss": None, "completed": False},
        {"validated": True},
    ],
    ids=str,
)
def test_schedule_length_and_outcome_do_not(changes: dict[str, Any]) -> None:
    first, second = keys_of([record(1), record(2, **changes)])
    assert first == second


def test_width_and_parametrization_are_part_of_a_group() -> None:
    plain = record(1)
    for changes in ({"width_ratio": 2.0}, {"depth_ratio": 2.0}, {"parametrization": "mup"}):
        workload = plain.workload.model_copy(update=changes)
        other = plain.model_copy(update={"workload": workload})
        assert LawGroup.of(other).key != LawGroup.of(plain).key


def test_a_run_of_which_nothing_is_known_is_evidence_for_no_law() -> None:
    unknown = record(1).model_copy(update={"workload": Workload()})
    assert law_key(unknown, []) == ""
    named = record(1).model_copy(update={"workload": Workload(family="bytes")})
    assert law_key(named, []).endswith("/?/?/0.0078125")
    sized = record(2, family="").workload
    assert law_key(record(2, family=""), []) and sized.family == ""


def test_a_size_that_is_not_known_is_not_within_any_tolerance() -> None:
    unsized = record(1).workload.model_copy(update={"parameters": None})
    first, second = keys_of([record(1).model_copy(update={"workload": unsized}), record(2)])
    assert first != second


def test_of_two_groups_within_reach_the_nearer_one_is_joined() -> None:
    keys = keys_of([record(1, peak_lr=1e-3), record(2, peak_lr=1.4e-3), record(3, peak_lr=1.2e-3)])
    assert keys[0] != keys[1]
    assert keys[2] == keys[1]  # log(1.4 / 1.2) < log(1.2 / 1.0)


numbers = st.tuples(st.floats(1e6, 1.2e6), st.floats(500.0, 560.0), st.floats(1e-4, 1e-2))


@given(st.lists(numbers, min_size=2, max_size=30))
def test_any_two_runs_of_a_group_are_within_the_tolerances(
    runs: list[tuple[float, float, float]],
) -> None:
    records = [
        record(at, parameters=size, batch=batch, peak_lr=peak)
        for at, (size, batch, peak) in enumerate(runs)
    ]
    groups: dict[str, list[RunRecord]] = {}
    for key, one in zip(keys_of(records), records, strict=True):
        groups.setdefault(key, []).append(one)
    for members in groups.values():
        sizes = [one.workload.parameters or 0.0 for one in members]
        batches = [one.workload.batch_tokens or 0.0 for one in members]
        peaks = [one.peak_lr for one in members]
        for values, ratio in ((sizes, ALIKE), (batches, ALIKE), (peaks, SAME_PEAK)):
            assert max(values) <= 1.0001 * ratio * min(values)


def test_a_key_is_short_whatever_the_names() -> None:
    longest = record(1, family="f" * 200, objective=Objective(name="o" * 200), optimizer="x" * 200)
    assert len(LawGroup.of(longest).key) < 80


def test_runs_that_diverged_are_no_part_of_a_fit() -> None:
    runs = [record(1), record(2, final_loss=None)]
    assert [one.id for one in fitted_of(runs)] == ["curve_1"]
    assert obstacle(runs) is None
    assert "diverged" in str(obstacle(runs[1:]))
    assert "no run is left" in str(obstacle([]))
    assert "rises" in str(obstacle([record(1, objective=Objective(mode="max"))]))


def test_of_many_runs_as_different_ones_as_there_are_are_fitted() -> None:
    """A single constant run, the oldest of all, is not lost among a hundred cosines."""
    runs = [record(0, shape_octaves=-1.65)]
    runs += [record(at, shape_octaves=-0.05) for at in range(1, 101)]
    runs += [record(101, steps=4096)]
    found = [one.id for one in fitted_of(runs)]
    assert len(found) == MOST_CURVES
    assert {"curve_0", "curve_101"} <= set(found)
    assert found[1:-1] == [f"curve_{at}" for at in range(63, 101)]
