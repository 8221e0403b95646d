"""Predictions from recorded curves: laws that are kept, runs of any length, and curves called by their names."""

import numpy as np
import pytest
from pacesetter.schedules import WSD, Constant, Cosine, Schedule, Warmup
from pacesetter.schedules.families import AnyFamily
from pacesetter_search.laws import LawNotFitted
from pacesetter_search.laws.stored import fit_stored
from pacesetter_search.prediction import (
    Candidate,
    Predictions,
    RecordedCurve,
    Usual,
    curves_of,
    predict,
)

from tests.search.support.loss_curves import PEAK, STEPS, TRUE

BODIES: dict[str, AnyFamily] = {
    "constant": Constant(),
    "cosine": Cosine(),
    "wsd": WSD(cooldown=0.4),
}


def schedule(body: AnyFamily, steps: int = STEPS) -> Schedule:
    return Schedule(length=steps, warmup=Warmup(length=steps // 20), body=body)


def recorded(
    name: str, body: AnyFamily, steps: int = STEPS, *, rows: int = 200, factor: float = 1.0
) -> RecordedCurve:
    """Return rows of a run under the true law."""
    stride = max(1, steps // 10_000)
    coarse = PEAK * schedule(body, steps).over(np.arange(0.0, steps, stride) + 0.5 * (stride - 1))
    at = np.unique(np.geomspace(steps // 20 + 1, steps, rows).astype(int))
    losses = TRUE.thinned(stride).predict(coarse, np.maximum(at / stride, 1.0)).mean
    rates = PEAK * schedule(body, steps).over(at - 1.0)
    return RecordedCurve(
        name=name,
        steps=tuple(at.tolist()),
        lrs=tuple(rates.tolist()),
        losses=tuple((factor * losses).tolist()),
        warmup=steps // 20,
    )


def candidates(steps: int = STEPS) -> dict[str, Candidate]:
    return {
        name: Candidate(schedule=schedule(body, steps), base_lr=PEAK)
        for name, body in BODIES.items()
    }


def two(steps: int = STEPS) -> list[RecordedCurve]:
    return [recorded("flat", Constant(), steps), recorded("round", Cosine(), steps)]


def test_the_answer_is_near_the_truth_and_covers_it() -> None:
    found = predict(curves_of(two()), candidates(), "cosine")
    for one in found.candidates:
        rates = PEAK * schedule(BODIES[one.name]).over(np.arange(float(STEPS)))
        truth = float(TRUE.predict(rates).mean[0])
        assert one.loss == pytest.approx(truth, rel=3e-3)
        assert one.loss_90[0] < truth < one.loss_90[1]
    assert all(each.residual < 2e-3 for each in found.evidence)


@pytest.mark.parametrize("steps", [200_000, 100_000_000])
def test_runs_of_any_length_are_fitted_and_predicted(steps: int) -> None:
    curves = curves_of(two(steps))
    found = predict(curves, candidates(steps), "cosine")
    stride = steps // 10_000
    for one in found.candidates:
        rates = PEAK * schedule(BODIES[one.name], steps).over(np.arange(0.0, steps, stride))
        truth = float(TRUE.thinned(stride).predict(rates).mean[0])
        assert one.loss == pytest.approx(truth, rel=4e-3), one.name
    assert found.candidates[-1].name == "constant"
    assert found.evidence[0].steps == steps
    assert not any("extrapolated" in each for each in found.warnings)


def test_a_candidate_longer_than_twice_the_curves_is_said_to_be_extrapolated() -> None:
    found = predict(curves_of(two()), candidates(3 * STEPS), None)
    assert any("more than twice as long" in each for each in found.warnings)
    inside = predict(curves_of(two()), candidates(), None)
    widths = [
        min(one.loss_90[1] - one.loss_90[0] for one in each.candidates) for each in (inside, found)
    ]
    assert widths[1] > 1.5 * widths[0]


def test_a_curve_that_contradicts_the_others_is_called_by_its_name() -> None:
    strange = recorded("perplexity", WSD(cooldown=0.2), factor=5.0)
    with pytest.raises(LawNotFitted, match="curve 'perplexity' lies"):
        fit_stored(curves_of([*two(), strange]))
    other = recorded("other data", WSD(cooldown=0.2), factor=1.06)
    law, _ = fit_stored(curves_of([*two(), other]))
    assert any(each.startswith("curve 'other data' lies") for each in law.warnings)


def test_a_run_that_never_left_zero_does_not_shift_the_names() -> None:
    still = RecordedCurve(
        name="still", steps=(1, 2, 3), lrs=(0.0, 0.0, 0.0), losses=(9.0, 9.0, 9.0)
    )
    other = recorded("other data", WSD(cooldown=0.2), factor=1.06)
    law, evidence = fit_stored(curves_of([still, *two(), other]))
    assert any(each.startswith("curve 'other data' lies") for each in law.warnings)
    assert next(each.residual for each in evidence) == 0.0


def test_usual_is_the_whole_zoo_and_is_ranked() -> None:
    usual = Usual(steps=STEPS, base_lr=PEAK, warmup=STEPS // 20).candidates()
    found: Predictions = predict(curves_of(two()), usual, "linear")
    assert len(usual) == 34
    assert len(found.candidates) + len(found.refused) == 34
    ranks = {one.name: one.rank for one in found.candidates}
    assert ranks["wsd linear 0.4"] < ranks["linear"] < ranks["polynomial 2"]


def test_the_present_is_no_place_for_candidates_that_are_none() -> None:
    with pytest.raises(ValueError, match="a reference among"):
        predict(curves_of(two()), candidates(), "nobody")
    with pytest.raises(ValueError, match="give candidates"):
        predict(curves_of(two()), {}, None)
