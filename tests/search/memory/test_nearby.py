"""What is alike is found without comparing each with all: nothing that is gets lost."""

import math

from hypothesis import given
from hypothesis import strategies as st
from pacesetter_search.memory.nearby import Nearby

numbers = st.floats(1e-6, 1e15)
factors = st.floats(0.97, 1.03)


@given(st.lists(st.tuples(numbers, numbers, factors, factors), min_size=1, max_size=20))
def test_all_that_is_alike_is_near_and_in_the_order_in_which_it_came(
    drawn: list[tuple[float, float, float, float]],
) -> None:
    known: Nearby[int] = Nearby(0.02)
    places = [(one, other) for one, other, *_ in drawn]
    for number, place in enumerate(places):
        known.add(*place, number)
    for one, other, by, also in drawn:
        asked = one * by, other * also
        found = known.near(*asked)
        assert found == sorted(found)
        alike = {
            number
            for number, place in enumerate(places)
            if all(math.isclose(a, b, rel_tol=0.02) for a, b in zip(asked, place, strict=True))
        }
        assert alike <= set(found)


def test_what_is_far_away_is_not_looked_at() -> None:
    known: Nearby[str] = Nearby(0.02)
    for place in range(100):
        known.add(1e8 * 1.1**place, 1e9, f"{place}")
    assert known.near(1e8, 1e9) == ["0"]
    assert known.near(1e8, 1.1e9) == []


def test_numbers_at_the_very_edge_of_the_tolerance_are_near() -> None:
    known: Nearby[float] = Nearby(0.02)
    for place in range(1000):
        one = 1e6 * 1.013**place
        known.add(one, one, one)
        assert one in known.near(one * 0.98, one * 0.98)
        assert one in known.near(one / 0.98, one / 0.98)
