"""What curves can tell: decay from progress, how fast a drop is felt, and whether they belong together."""

import numpy as np
import pytest
from pacesetter.schedules import WSD, Constant, Cosine, Linear, Step
from pacesetter.schedules.families import AnyFamily
from pacesetter_search.laws import AnnealingLaw, BaselineLaw, Curve, MultiPowerLaw
from pacesetter_search.laws.annealing import MEMORIES
from pacesetter_search.laws.curves import FloatArray
from pacesetter_search.laws.identification import (
    falls_sharply,
    misfit_warnings,
    misfits,
    of_several_peaks,
    tells_decay,
)

from tests.search.laws.test_annealing import loss
from tests.search.support.loss_curves import PEAK, curve_of, rates


@pytest.mark.parametrize(
    ("bodies", "told"),
    [
        ((Constant(),), False),
        ((Cosine(),), False),
        ((Linear(),), False),
        ((Constant(), Cosine()), True),
        ((WSD(cooldown=0.2),), True),
        ((Step(),), True),
    ],
)
def test_decay_is_told_by_a_drop_beside_a_plateau(
    bodies: tuple[AnyFamily, ...], told: bool
) -> None:
    assert tells_decay([curve_of(rates(body)) for body in bodies]) is told


@pytest.mark.parametrize(
    ("body", "sharp"),
    [
        (Constant(), False),
        (Cosine(), False),
        (Linear(), False),
        (WSD(cooldown=0.4), False),
        (WSD(cooldown=0.2), True),
        (WSD(cooldown=0.2, shape="sqrt"), True),
        (Step(), True),
    ],
)
def test_a_step_and_a_short_cooldown_are_sharp(body: AnyFamily, sharp: bool) -> None:
    assert falls_sharply([curve_of(rates(body))]) is sharp


def test_a_fall_without_losses_after_it_is_no_evidence() -> None:
    lrs = rates(WSD(cooldown=0.2))
    before = curve_of(lrs)
    cut = Curve.of(
        lrs,
        before.positions[before.positions < 3300],
        before.losses[: sum(before.positions < 3300)],
    )
    assert not falls_sharply([cut])


def test_peaks_are_apart_from_half_as_much_again_on() -> None:
    here = curve_of(rates(Cosine()))
    assert not of_several_peaks([here, curve_of(rates(Cosine(), peak=1.4 * PEAK))])
    assert of_several_peaks([here, curve_of(rates(Cosine(), peak=1.6 * PEAK))])


def test_a_curve_that_a_law_does_not_describe_is_named() -> None:
    curves = [curve_of(rates(Constant())), curve_of(rates(Cosine()), seed=1)]
    law = AnnealingLaw().fit(curves)
    stranger = Curve.of(curves[1].lrs, curves[1].positions, 1.3 * curves[1].losses)
    errors = misfits(law, [*curves, stranger])
    assert errors[:2].max() < 0.005
    assert errors[2] == pytest.approx(1.0 - 1.0 / 1.3, abs=0.005)
    (warning,) = misfit_warnings(errors)
    assert warning.startswith("curve 3 of 3 lies 23 % off")


def known(lrs: FloatArray) -> Curve:
    places = np.arange(200, lrs.size + 1, 50)
    return Curve.of(lrs, places, loss(lrs)[places - 1])


@pytest.mark.parametrize(("steps", "chosen"), [(2400, 2.0), (4800, 1.0), (9600, 0.5)])
def test_a_step_chooses_between_memories(steps: int, chosen: float) -> None:
    """The true one is 200 steps; 1/24 of these runs is 100, 200 and 400."""
    step = np.where(np.arange(steps) < 0.6 * steps, PEAK, 0.3 * PEAK)
    law = AnnealingLaw().fit([known(np.full(steps, PEAK)), known(step)])
    assert law.memory == pytest.approx(chosen * steps / 24.0)
    assert chosen in MEMORIES


def test_smooth_curves_choose_no_memory_and_a_given_one_is_kept() -> None:
    smooth = [known(np.full(9600, PEAK)), known(PEAK * (1.0 - np.arange(9600) / 9600.0))]
    assert AnnealingLaw().fit(smooth).memory == 400.0
    step = np.where(np.arange(9600) < 6000, PEAK, 0.3 * PEAK)
    assert AnnealingLaw(400.0).fit([*smooth, known(step)]).memory == 400.0


def test_memory_is_in_steps_of_the_job_where_a_step_stands_for_several() -> None:
    curves = [
        curve_of(rates(Constant(), 30_000), every=300),
        curve_of(rates(Cosine(), 30_000), every=300),
    ]
    assert AnnealingLaw().fit(curves).memory == 1000.0
    assert AnnealingLaw(stride=4).fit(curves).memory == 250.0


def test_a_short_tail_among_the_curves_holds_the_shape_of_the_multi_power_law() -> None:
    """A tail that the law cannot describe would move log C by 2 under the wider belief."""
    curves = [curve_of(rates(Constant())), curve_of(rates(Cosine()), seed=1)]
    tail = curve_of(rates(WSD(cooldown=0.2)), seed=2)
    bent = Curve.of(tail.lrs, tail.positions[60:], tail.losses[60:] * np.linspace(1.0, 1.02, 31))
    assert falls_sharply([bent])
    held = np.array(MultiPowerLaw().fit([*curves, bent]).parameters[4:])
    assert np.abs(held - np.log([2.07, 0.59, 0.645])).max() < 0.5


def test_one_curve_alone_is_said_by_every_law_of_one_peak() -> None:
    for law in (AnnealingLaw(), BaselineLaw(), MultiPowerLaw()):
        warnings = law.fit([curve_of(rates(Cosine()))]).warnings
        assert any("add one with a step or a cooldown" in each for each in warnings)
