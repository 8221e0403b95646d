"""Laws that are kept: the same answers once they were stored, and no value a step for long runs."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter.curves import Points, averaged
from pacesetter.schedules import WSD, Constant, Cosine, Schedule, Warmup
from pacesetter.schedules.families import AnyFamily
from pacesetter_search.laws import Curve, FittedMultiPower, LawNotFitted, parse_law
from pacesetter_search.laws.stored import NamedCurve, fit_stored, mean_rates
from pacesetter_search.prediction import BEYOND, Candidate, predict, predict_by

PEAK = 3e-4
TRUE = FittedMultiPower.of(3.0, 0.5, 0.5, 360.0, 2.0, 0.6, 0.64, exact=False)

columns = st.lists(
    st.tuples(st.floats(0.0, 300.0), st.floats(0.0, 1.0)),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[0],
)


def schedule(body: AnyFamily, steps: int) -> Schedule:
    return Schedule(length=steps, warmup=Warmup(length=steps // 50), body=body)


def curve(
    body: AnyFamily, steps: int, rows: int = 400, noise: float = 0.0, stride: int = 1
) -> NamedCurve:
    """Return a run of the true law, of whose steps one may stand for several."""
    places = np.linspace(steps / rows, steps, rows).round()
    lrs = PEAK * schedule(body, steps).over(np.arange(0.0, steps, stride))
    losses = TRUE.predict(lrs, places / stride).mean
    drawn = np.exp(noise * np.random.default_rng(rows).standard_normal(rows))
    rates = PEAK * schedule(body, steps).over(places - 1.0)
    return NamedCurve(body.family, Points.of(places, rates, losses * drawn, warmup=steps // 50))


def candidate(body: AnyFamily, steps: int) -> Candidate:
    return Candidate(schedule=schedule(body, steps), base_lr=PEAK)


@given(columns, st.integers(1, 350), st.integers(2, 40))
def test_mean_rates_are_those_of_every_step(
    rows: list[tuple[float, float]], last: int, factor: int
) -> None:
    steps, lrs = (np.array(column) for column in zip(*sorted(rows), strict=True))
    every = np.interp(np.arange(1, last + 1), steps, lrs)
    assert mean_rates(steps, lrs, last, 1).tolist() == every.tolist()
    obvious = Curve(every, np.ones(1), np.ones(1)).thinned(factor).lrs
    found = mean_rates(steps, lrs, last, factor)
    assert found.shape == obvious.shape
    assert found == pytest.approx(obvious, abs=1e-9)


def test_mean_rates_of_a_hundred_million_steps_need_no_value_a_step() -> None:
    """A linear decay: a block's mean is the rate in its middle."""
    last, factor = 100_000_000, 2000
    steps, lrs = np.array([1.0, float(last)]), np.array([1.0, 0.0])
    found = mean_rates(steps, lrs, last, factor)
    middles = 1.0 + np.arange(50_000) * factor + (factor - 1) / 2.0
    assert found == pytest.approx(1.0 - (middles - 1.0) / (last - 1.0), abs=1e-11)


def test_a_stored_law_answers_as_it_did_when_it_was_fitted() -> None:
    curves = [curve(Constant(), 3000), curve(Cosine(), 3000)]
    asked = {"wsd": candidate(WSD(cooldown=0.3), 4000), "cosine": candidate(Cosine(), 4000)}
    law, evidence = fit_stored(curves)
    read = parse_law(law.model_dump_json())
    assert read == law
    fresh = predict_by(law, evidence, asked, "cosine")
    assert predict_by(read, evidence, asked, "cosine") == fresh
    assert fresh == predict(curves, asked, "cosine")
    assert [one.name for one in fresh.evidence] == ["constant", "cosine"]
    assert len(law.model_dump_json()) < 5000


def test_long_runs_are_fitted_in_steps_that_stand_for_several() -> None:
    curves = [curve(Constant(), 200_000, stride=10), curve(Cosine(), 150_000, stride=10)]
    law, evidence = fit_stored(curves)
    assert law.hull is not None
    assert law.longest == pytest.approx(200_000, rel=2e-3)
    assert law.hull.highest == pytest.approx(PEAK, rel=1e-4)
    assert max(one.residual for one in evidence) < 2e-3
    asked = {"wsd": candidate(WSD(cooldown=0.3), 150_000)}
    (found,) = predict_by(law, evidence, asked, None).candidates
    true = curve(WSD(cooldown=0.3), 150_000, stride=10).points.losses[-1]
    assert found.loss == pytest.approx(true, rel=2e-3)
    assert found.loss_90[0] < true < found.loss_90[1]


def test_what_was_averaged_on_arrival_fits_as_the_whole_curve_does() -> None:
    whole = [curve(body, 20_000, 20_000, noise=0.003) for body in (Constant(), Cosine())]
    short = [NamedCurve(each.name, averaged(each.points)) for each in whole]
    assert all(each.points.steps.size <= 2000 for each in short)
    asked = {"wsd": candidate(WSD(cooldown=0.3), 20_000)}
    (before,), (after,) = (predict(each, asked, None).candidates for each in (whole, short))
    assert after.loss == pytest.approx(before.loss, rel=3e-4)


def test_more_than_sixteen_times_the_longest_run_is_refused_by_name() -> None:
    law, evidence = fit_stored([curve(Constant(), 3000), curve(Cosine(), 3000)])
    asked = {"long": candidate(Cosine(), 3000 * BEYOND), "longer": candidate(Cosine(), 48_001)}
    found = predict_by(law, evidence, asked, "longer")
    assert [one.name for one in found.candidates] == ["long"]
    assert "48,001 steps are more than 16 times the 3,000" in found.refused["longer"]
    none = predict_by(law, evidence, {"longer": asked["longer"]}, None)
    assert (none.candidates, list(none.refused)) == ((), ["longer"])


def test_a_peak_above_the_fitted_ones_is_refused_by_a_stored_law_too() -> None:
    law, evidence = fit_stored([curve(Constant(), 3000), curve(Cosine(), 3000)])
    higher = Candidate(schedule=schedule(Cosine(), 3000), base_lr=2 * PEAK)
    assert (
        "above the largest fitted rate"
        in predict_by(
            law, evidence, {"higher": higher, "same": candidate(Cosine(), 3000)}, None
        ).refused["higher"]
    )


def test_a_warm_up_before_the_first_row_is_part_of_the_rates() -> None:
    points = Points.of([100, 200], [1.0, 0.5], [3.0, 2.0], warmup=50)
    rates: npt.NDArray[np.float64] = NamedCurve("a", points).curve(1, 300).lrs
    assert rates[:3] == pytest.approx([0.02, 0.04, 0.06])
    assert rates[[49, 99, 149, 199]] == pytest.approx([1.0, 1.0, 0.75, 0.5])


def test_too_few_losses_are_no_law() -> None:
    points = Points.of([10, 20, 30], [1.0, 0.5, 0.1], [3.0, 2.0, 1.0])
    with pytest.raises(LawNotFitted, match="3 points for"):
        fit_stored([NamedCurve("a", points)])
    no_loss = Points(np.ones(1), np.ones(1), np.full(1, np.inf))
    with pytest.raises(ValueError, match="curve 'b' has no finite loss"):
        fit_stored([NamedCurve("b", no_loss)])
