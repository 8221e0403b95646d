"""Drawings of schedules."""

import sys

import numpy as np
import pytest
from pacesetter.errors import ConfigurationError
from pacesetter.schedules import Linear, Schedule, Step
from pacesetter.schedules.plotting import plot, samples


def test_both_sides_of_a_jump_are_drawn() -> None:
    schedule = Schedule(zero=100, length=1000, body=Step(milestones=(0.5,), factors=(0.1,)))
    axes = plot(schedule, points=3, label="step")
    (line,) = axes.get_lines()

    assert np.asarray(line.get_xdata()).tolist() == [100, 599, 600, 1099, 1100]
    assert np.asarray(line.get_ydata()).tolist() == [1.0, 1.0, 0.1, 0.1, 0.1]
    assert line.get_label() == "step"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("steps", "multiplier of the base rate")


def test_a_second_schedule_goes_into_the_same_axes() -> None:
    axes = plot(Schedule(length=10, unit="absolute"), clock="tokens")

    assert plot(Schedule(length=20, body=Linear()), axes) is axes
    assert len(axes.get_lines()) == 2


def test_samples_are_whole_positions_of_the_schedule() -> None:
    assert samples(Schedule(length=3), 1000).tolist() == [0.0, 1.0, 2.0, 3.0]


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(ConfigurationError, match="pip install matplotlib"):
        plot(Schedule(length=10))
