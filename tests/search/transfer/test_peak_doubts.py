"""What the model of the best peak doubts: optima that contradict each other, and what was put down to a shape."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter_search.transfer import Optimum, PeakModel
from pacesetter_search.transfer.peak import SHAPE_SD

from tests.search.transfer.optima import INDEPENDENT, STEP_LAW

N, D, B = 124e6, 2.5e9, 1e5
TARGET = Optimum(N, D, B, 1.0)


def at(log2_lr: float, sd: float = 0.15, shape: float = 0.0, tokens: float = D) -> Optimum:
    return Optimum(N, tokens, B, 2.0**log2_lr, sd, shape=shape)


@pytest.mark.parametrize("count", [4, 20, 200])
def test_optima_octaves_apart_are_no_confident_number_however_many(count: int) -> None:
    """Half of them five octaves above the middle and half below, each known to .15."""
    torn = PeakModel([at(-10.0 + (5.0 if place % 2 else -5.0)) for place in range(count)])
    assert 3.0 < math.sqrt(torn.between) < 7.0
    found = torn.predict(TARGET)
    assert found.sd > 3.0
    assert abs(found.mean + 10.0) < 1.5
    agreeing = PeakModel([at(-10.0) for _ in range(count)])
    assert agreeing.between == 0.0
    assert agreeing.predict(TARGET).sd < 0.5


def test_what_optima_say_of_themselves_is_believed_while_it_is_likely() -> None:
    """Twenty that scatter as they say, and the measured ones of others: nothing is added."""
    draw = np.random.default_rng(0).normal(size=20)
    assert PeakModel([at(-10.0 + 0.18 * float(off)) for off in draw]).between == 0.0
    assert PeakModel(STEP_LAW).between == 0.0
    assert PeakModel(INDEPENDENT).between < 0.1


def test_one_optimum_contradicts_nothing_but_the_law_and_is_believed() -> None:
    model = PeakModel([at(-14.0)])
    assert model.between == 0.0
    assert model.predict(TARGET).mean < -12.5


@settings(deadline=None, max_examples=30)
@given(st.floats(0.0, 6.0), st.integers(3, 12))
def test_the_further_they_are_apart_the_wider_it_is(apart: float, count: int) -> None:
    sds = [
        PeakModel([at(-10.0 + (off if place % 2 else -off)) for place in range(2 * count)])
        .predict(TARGET)
        .sd
        for off in (0.0, apart)
    ]
    assert sds[1] > 0.98 * sds[0]
    if apart > 1.0:
        assert sds[1] > 0.7 * apart


def test_a_peak_of_another_shape_is_known_to_a_quarter_of_what_was_put_down_to_it() -> None:
    """A constant rate's, exactly known, -1.6 octaves: what it says of a linear decay is in doubt by .4."""
    level = PeakModel([at(-10.0, sd=0.0, shape=-1.6)])
    linear = PeakModel([at(-10.0, sd=0.0)])
    sds = [model.predict(TARGET).sd for model in (level, linear)]
    assert math.sqrt(sds[0] ** 2 - sds[1] ** 2) == pytest.approx(SHAPE_SD * 1.6, rel=0.15)
    own = level.predict(Optimum(N, D, B, 1.0, shape=-1.6))
    assert own.sd == pytest.approx(sds[1], abs=0.02)


def test_peaks_of_two_shapes_tell_how_far_shapes_move_them() -> None:
    """Constant rates whose best peaks lie a fifth further below a linear decay's than the bound says."""
    optima = [
        at(-10.0 + step, sd=0.05, shape=shape, tokens=D * 2.0**step)
        for step in range(-2, 3)
        for shape in (0.0, -1.6)
    ]
    moved = [
        Optimum(
            one.parameters,
            one.tokens,
            B,
            one.lr * 2.0 ** (0.2 * one.shape),
            one.sd,
            shape=one.shape,
        )
        for one in optima
    ]
    mean, sd = PeakModel(moved).slopes()["shape"]
    assert mean == pytest.approx(0.2, abs=0.06)
    assert sd < 0.1
    assert PeakModel(optima).slopes()["shape"][0] == pytest.approx(0.0, abs=0.06)
