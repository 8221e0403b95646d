"""Outlooks of running jobs: which law they rest on, and runs of any length."""

import numpy as np
import pytest
from pacesetter.curves import Points
from pacesetter.schedules import WSD, Constant, Cosine, Schedule, Warmup
from pacesetter.schedules.families import AnyFamily
from pacesetter_search.laws import LawNotFitted
from pacesetter_search.outlook import (
    Basis,
    Standing,
    choose_basis,
    default_lengths,
    fit_own,
    outlook,
)

from tests.search.support.loss_curves import PEAK, STEPS, TRUE


def standing(body: AnyFamily, at: int, total: int = STEPS) -> Standing:
    """Return a job under the true law, of which some thousand steps at most were reported."""
    plan = Schedule(length=total, warmup=Warmup(length=total // 20), body=body)
    stride = -(-total // 10_000)
    places = np.arange(0.0, at, stride) + 0.5 * (stride - 1)
    losses = TRUE.thinned(stride).losses(PEAK * plan.over(places))
    steps = np.unique(np.linspace(1, at, min(at, 2000)).astype(int))
    measured = np.interp(steps, places + 1.0, losses)
    points = Points.of(steps, PEAK * plan.over(steps - 1.0), measured)
    return Standing("job", points, plan, PEAK, at, total)


def basis(body: AnyFamily, at: int, id_: str | None = None) -> Basis:
    own = fit_own(standing(body, at))
    return Basis(own.law, own.evidence, id_)


def test_the_law_is_the_own_one_where_that_tells_decay_else_the_nearest_that_does() -> None:
    telling, silent = basis(WSD(cooldown=0.5), 3600), basis(Constant(), 2000)
    assert telling.tells_decay
    assert not silent.tells_decay
    near, far = basis(Constant(), 3000, "near"), basis(WSD(cooldown=0.4), STEPS, "far")
    assert choose_basis(telling, [far], STEPS) is telling
    assert choose_basis(silent, [near, far], STEPS) is far
    assert choose_basis(silent, [near], STEPS) is silent
    assert choose_basis("too short", [near], STEPS) is near
    with pytest.raises(LawNotFitted, match="too short"):
        choose_basis("too short", [], STEPS)


def test_no_law_is_asked_for_more_than_sixteen_times_what_it_has_seen() -> None:
    young, known = basis(Constant(), 200), basis(WSD(cooldown=0.4), STEPS, "known")
    assert choose_basis(young, [known], STEPS) is known
    with pytest.raises(LawNotFitted, match=r"more than 16 times the 200 .* ask again later"):
        choose_basis(young, [], STEPS)
    job = standing(WSD(cooldown=0.4), 2400)
    own = fit_own(job)
    (near, far) = outlook(job, own, [100], [1.5, 10.0]).extensions
    assert len(near.ways) == 3
    assert far.ways == ()
    assert "more than 16 times" in far.refused["every way"]


def test_decays_that_are_not_asked_for_fit_into_what_is_left() -> None:
    assert default_lengths(0, 1000) == (50, 100, 200, 400)
    assert default_lengths(850, 1000) == (50, 100)
    assert default_lengths(980, 1000) == (20,)
    assert default_lengths(0, 3) == (1,)


def test_a_run_of_millions_of_steps_is_told_as_a_short_one_is() -> None:
    """The plan of three million steps ends with what the truth says, from no more than 50,000 rates."""
    total = 3_000_000
    job = standing(WSD(cooldown=0.5), 2_400_000, total)
    found = outlook(job, fit_own(job), [150_000, 600_000], [1.5])
    stride = 300
    places = np.arange(0.0, total, stride) + 0.5 * (stride - 1)
    true = float(TRUE.thinned(stride).predict(PEAK * job.plan.over(places)).mean[0])
    assert found.planned.loss == pytest.approx(true, rel=2e-3)
    assert [one.length for one in found.decays] == [150_000, 600_000]
    assert found.extensions[0].total == 4_500_000
    assert not any("shorter than any" in each for each in found.warnings)


def test_a_family_that_ends_where_it_began_is_moved_to_the_level_of_the_job() -> None:
    """Twice the loss at every step is twice the loss at the end; how much of a shift stays is not known."""
    known = basis(WSD(cooldown=0.5), STEPS, "law_x")
    job = standing(WSD(cooldown=0.5), 2400)
    twice = Points.of(job.points.steps, job.points.lrs, 2.0 * job.points.losses)
    moved = Standing(job.name, twice, job.plan, job.base_lr, job.at, job.total)
    one, two = (outlook(each, known, [200], []) for each in (job, moved))
    assert one.planned.loss is not None
    assert two.planned.loss == pytest.approx(2.0 * one.planned.loss, rel=1e-6)
    assert abs(one.shift) < 2e-3
    assert two.shift == pytest.approx(1.0, abs=5e-3)
    assert two.planned.loss_90 is not None
    low, high = two.planned.loss_90
    assert high - low == pytest.approx(1.6449 * one.planned.loss, rel=0.02)
    below = Points.of(job.points.steps, job.points.lrs, job.points.losses - 10.0)
    with pytest.raises(ValueError, match="not above zero"):
        outlook(
            Standing(job.name, below, job.plan, job.base_lr, job.at, job.total), known, [200], []
        )


def test_a_cosine_that_was_half_run_leaves_every_loss_after_a_fall_out() -> None:
    job = standing(Cosine(), STEPS // 2)
    found = outlook(job, fit_own(job), [200], [1.5])
    assert (found.tells_decay, found.planned.loss, found.decays[0].loss) == (False, None, None)
    assert {way.loss for way in found.extensions[0].ways} == {None}


def test_a_run_that_is_to_stay_at_its_rate_needs_no_decay_to_be_told() -> None:
    job = standing(Constant(), STEPS // 2)
    found = outlook(job, fit_own(job), [200], [1.5])
    places = np.arange(float(STEPS))
    true = float(TRUE.predict(PEAK * job.plan.over(places)).mean[0])
    assert found.planned.loss == pytest.approx(true, rel=3e-3)
    (way,) = found.extensions[0].ways
    assert (way.rank, way.gain) == (1, 0.0)
    assert way.loss is not None
    assert found.planned.loss is not None
    assert way.loss < found.planned.loss
    assert found.decays[0].loss is None
