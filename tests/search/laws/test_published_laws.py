"""Published laws of the peak, by hand, and silent outside of what they were fitted on."""

import pytest
from pacesetter_search.laws import step_law_peak


@pytest.mark.parametrize(
    ("parameters", "tokens", "peak"),
    [(124e6, 2.5e9, 2.330e-3), (60e6, 2e9, 3.651e-3), (1e9, 100e9, 1.632e-3)],
)
def test_step_law_by_hand(parameters: float, tokens: float, peak: float) -> None:
    assert step_law_peak(parameters, tokens) == pytest.approx(peak, rel=1e-3)


@pytest.mark.parametrize(
    ("parameters", "tokens"), [(59e6, 5e9), (1.1e9, 5e9), (1e8, 1.9e9), (1e8, 101e9)]
)
def test_step_law_says_nothing_outside_of_its_range(parameters: float, tokens: float) -> None:
    assert step_law_peak(parameters, tokens) is None
