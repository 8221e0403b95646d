"""FLOPs where no trial ran yet."""

import pytest
from pacesetter.protocol import Cost, Value
from pacesetter_search.studies import Finished
from pacesetter_search.studies.cells import Cell, Names
from pacesetter_search.studies.costs import Costs

from tests.search.studies.truth import TARGET, cost

NAMES = Names()


def trial(width: float, steps: float, loss: float | None = 2.0) -> Finished:
    parameters: dict[str, Value] = {"width": width, "steps": steps, "batch": 16, "lr": 0.01}
    return Finished(1, parameters, loss, cost(parameters))


def test_nothing_measured_leaves_ratios() -> None:
    costs = Costs((), NAMES)
    assert not costs.measured
    assert costs.share(Cell(width=32.0, steps=600.0), Cell(width=256.0, steps=1200.0)) == (
        pytest.approx(2.0 ** (-3 * 1.9 - 1))
    )


def test_two_widths_tell_the_power() -> None:
    costs = Costs([trial(32, 300), trial(64, 300)], NAMES)
    there = cost({"width": 256, "steps": 1200, "batch": 16}).flops
    assert costs.measured
    assert costs.flops(TARGET) == pytest.approx(there, rel=0.25)
    assert Costs([trial(256, 300)], NAMES).flops(TARGET) == pytest.approx(there, rel=0.01)


def test_a_trial_that_diverged_ended_early_and_tells_nothing() -> None:
    early = Finished(2, trial(64, 300).parameters, None, Cost(flops=1.0))
    assert Costs([trial(32, 300), early], NAMES).flops(TARGET) == (
        Costs([trial(32, 300)], NAMES).flops(TARGET)
    )
    assert not Costs([trial(64, 300, loss=None)], NAMES).measured
