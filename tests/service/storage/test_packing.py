"""Measurements as one binary value, bit for bit."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter_service.reports.curves import keep_extremes
from pacesetter_service.reports.packing import is_missing, missing, pack, to_array, to_lists, unpack

VALUES = st.none() | st.floats(allow_nan=True, allow_infinity=True)


def same(left: float | None, right: float | None) -> bool:
    if left is None or right is None:
        return left is right
    return (math.isnan(left) and math.isnan(right)) or struct.pack("d", left) == struct.pack(
        "d", right
    )


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.integers(1, 20).flatmap(
        lambda rows: st.dictionaries(
            st.text(min_size=1), st.lists(VALUES, min_size=rows, max_size=rows), min_size=1
        )
    )
)
def test_columns_come_back_as_they_went_in(columns: dict[str, list[float | None]]) -> None:
    arrays = {name: to_array(values) for name, values in columns.items()}
    back = to_lists(unpack(pack(arrays)))
    assert list(back) == list(columns)
    for name, values in columns.items():
        assert all(same(a, b) for a, b in zip(values, back[name], strict=True))


def test_missing_is_told_from_nan() -> None:
    column = to_array([1.0, None, math.nan])
    assert is_missing(column).tolist() == [False, True, False]
    assert np.isnan(column).tolist() == [False, True, True]


def test_a_row_takes_eight_bytes_a_value() -> None:
    columns = {name: to_array([0.0] * 1000) for name in ("position", "step", "loss", "lr")}
    assert len(pack(columns)) == 32_000 + 10 + 4 * 2 + len("positionsteplosslr")


def test_a_column_that_was_not_measured_is_missing_throughout() -> None:
    assert to_lists({"loss": missing(3)}) == {"loss": [None, None, None]}


def test_a_record_of_the_first_release_is_read() -> None:
    stored = (Path(__file__).parent / "measurements_psm1.bin").read_bytes()
    columns = to_lists(unpack(stored))
    loss = columns.pop("loss")
    assert loss[0] is not None and math.isnan(loss[0])
    assert all(same(a, b) for a, b in zip(loss[1:], [None, math.inf, -0.0, 2.5], strict=True))
    assert columns == {"position": [0.0, 1.0, 2.0, 3.0, 4.0], "step": [1.0, 2.0, 3.0, 4.0, 5.0]}


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected b'PSM1'"):
        unpack(b"\x00" * 64)


def test_downsampling_keeps_a_spike_and_the_bound() -> None:
    loss = np.ones(100_000)
    loss[12_345], loss[54_321], loss[70_000] = 9.0, -9.0, np.nan
    loss[80_000:80_003] = missing(3)
    kept = keep_extremes([loss], 500)
    assert kept.size <= 500
    assert {12_345, 54_321, 70_000} <= set(kept.tolist())
    assert not {80_001, 80_002} & set(kept.tolist())
    assert (np.diff(kept) > 0).all()


def test_a_short_curve_is_kept_whole() -> None:
    assert keep_extremes([np.arange(10.0)], 10).tolist() == list(range(10))
