"""How many trials a worker claims."""

import pytest
from pacesetter_workers.claiming import MOST_AHEAD, ahead


@pytest.mark.parametrize(
    ("slots", "seconds", "expected"),
    [
        (2, 600.0, 0),  # long trials wait for whoever is free
        (2, 2.0, 0),
        (2, 1.9, 1),
        (2, 0.25, 2),
        (2, 0.1, 5),  # a quarter of a second of two slots
        (1, 0.05, 5),
        (2, 0.0, MOST_AHEAD),
        (64, 0.01, MOST_AHEAD),
    ],
)
def test_short_trials_alone_are_claimed_in_advance(
    slots: int, seconds: float, expected: int
) -> None:
    assert ahead(slots, seconds) == expected
