"""How a trial is asked for a check of coordinates, and how it answers."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter.protocol import MAX_METRICS, TrialResult, coordinates


@given(st.sets(st.integers(1, 2**18), min_size=1, max_size=coordinates.MOST_WIDTHS - 1))
def test_widths_survive_being_a_parameter(widths: set[int]) -> None:
    ordered = (*sorted(widths), 4 * max(widths))
    assert coordinates.read_widths(coordinates.write_widths(ordered)) == ordered


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected 2 to 16 of them"),
        ("32", "expected 2 to 16 of them"),
        ("64 32", "rising"),
        ("32 32", "rising"),
        ("0 32", "1 to 1048576"),
        ("32 1048577", "1 to 1048576"),
        (" ".join(map(str, range(1, 18))), "expected 2 to 16 of them"),
        ("32 wide", "expected whole numbers with spaces between, such as '32 64 128'"),
        ("32 127", "let the last one be 128 or more"),
        ("32,64", "expected whole numbers"),
        ("32 6.4", "expected whole numbers"),
        ("-32 64", "expected whole numbers"),
        ("32 " + "9" * 5000, "expected whole numbers"),
    ],
)
def test_widths_that_cannot_be_compared_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        coordinates.read_widths(text)


def test_what_was_found_survives_being_metrics_beside_others() -> None:
    slopes = {"blocks.0": -0.1, "readout": 0.02}
    told = {**coordinates.to_metrics(True, slopes), "parameters": 3e4}
    assert coordinates.from_metrics(told) == (True, slopes)
    assert coordinates.from_metrics(coordinates.to_metrics(False, {})) == (False, {})
    assert coordinates.from_metrics({"parameters": 3e4, "loss": 2.0}) is None
    assert coordinates.from_metrics({"coordinates_passed": math.nan}) == (False, {})


@pytest.mark.parametrize("value", [math.nan, math.inf, "NaN", "-Infinity"])
def test_a_slope_that_is_no_number_is_left_out_and_passes_nowhere(value: float | str) -> None:
    told = {"coordinates_passed": 1.0, "slope/a": value, "slope/b": 0.1}
    assert coordinates.from_metrics(told) == (False, {"b": 0.1})


def test_of_very_many_modules_those_are_told_that_are_furthest_out() -> None:
    slopes = {f"layers.{'x' * 300}.{n}": (-1) ** n * n / 1e4 for n in range(2000)}
    told = coordinates.to_metrics(False, slopes)
    assert len(told) <= MAX_METRICS
    result = TrialResult(token="t", loss=0.2, metrics=told)
    found = coordinates.from_metrics(result.metrics)
    assert found is not None
    assert min(map(abs, found[1].values())) == 0.15
