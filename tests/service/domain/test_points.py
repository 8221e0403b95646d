"""Points of a trial's heartbeats, joined to one curve."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter_service.experiments.points import COLUMNS, joined
from pacesetter_service.reports.packing import FloatArray

Part = tuple[int, dict[str, FloatArray]]


def part(lease: int, steps: Sequence[int]) -> Part:
    """Return what one heartbeat measured; each value says of which lease it is."""
    values = np.array(steps, dtype=np.float64)
    return lease, {"step": values, "lr": values + 1000.0 * lease, "loss": -values - 1000.0 * lease}


def by_step(parts: Sequence[Part]) -> dict[float, tuple[float, float]]:
    """Return the points by their steps, one by one: slow, and obvious."""
    found: dict[float, tuple[float, float]] = {}
    last = 0
    for lease, columns in parts:
        if lease != last:
            found = {step: one for step, one in found.items() if step < columns["step"][0]}
            last = lease
        for step, lr, loss in zip(*(columns[name] for name in COLUMNS), strict=True):
            found[float(step)] = (float(lr), float(loss))
    return found


@st.composite
def leases(draw: st.DrawFn) -> list[Part]:
    """Return parts of up to four leases, each from some step on."""
    parts = []
    for lease in range(1, draw(st.integers(0, 4)) + 1):
        steps = sorted(draw(st.sets(st.integers(0, 30), max_size=12)))
        while steps:
            count = draw(st.integers(1, len(steps)))
            parts.append(part(lease, steps[:count]))
            steps = steps[count:]
    return parts


@given(leases())
def test_a_later_lease_takes_the_place_of_earlier_ones_from_its_first_step_on(
    parts: list[Part],
) -> None:
    whole, expected = joined(parts), by_step(parts)
    assert whole["step"].tolist() == sorted(expected)
    assert list(zip(whole["lr"].tolist(), whole["loss"].tolist(), strict=True)) == [
        expected[step] for step in sorted(expected)
    ]


def test_a_trial_without_points_has_empty_columns() -> None:
    assert {name: len(column) for name, column in joined([]).items()} == dict.fromkeys(COLUMNS, 0)


def test_many_heartbeats_are_put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    concatenate = np.concatenate

    def counted(*given: object) -> object:
        nonlocal calls
        calls += 1
        return concatenate(*given)  # type: ignore[call-overload]  # passed on as it came

    monkeypatch.setattr("numpy.concatenate", counted)
    beats = [part(1, [step]) for step in range(20_000)]
    again = [part(2, [step]) for step in range(10_000, 15_000)]
    whole = joined([*beats, *again])
    assert calls == len(COLUMNS)
    assert whole["step"].tolist() == list(range(15_000))
    assert whole["lr"][9_999] == 10_999.0
    assert whole["lr"][10_000] == 12_000.0
