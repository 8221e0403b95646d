"""Final losses as those of well-tuned runs: what a run missed is taken off, and what is not known of it widens."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.curves import Points, averaged
from pacesetter.protocol import Workload
from pacesetter_search.memory import Known, Recorded, RunRecord, record_of
from pacesetter_search.memory.kinds import Kind
from pacesetter_search.recommendation import recommend
from pacesetter_search.recommendation.finals import (
    FINAL_SD,
    NEVER_DECAYED,
    NEVER_DECAYED_SD,
    finals_of,
    missed_of,
)
from pacesetter_search.recommendation.gathering import gather
from pacesetter_search.transfer import Optimum, hinge_peak
from pacesetter_search.transfer.peak import PeakModel
from pacesetter_search.transfer.sweeps import CURVATURE_SD, DEPARTURE

from benchmarks.public_curves import FOLDER, runs_124m
from benchmarks.public_curves import Run as PublicRun
from tests.search.recommendation.cases import BATCH, PARAMETERS, TOKENS, run, target

BEST = hinge_peak(PARAMETERS, TOKENS, BATCH)


@cache
def sure() -> PeakModel:
    """Knows the best peak there to within a tenth of an octave, as seeds allow."""
    return PeakModel([Optimum(PARAMETERS, TOKENS, BATCH, BEST, 0.01) for _ in range(200)])


def missed(*runs: RunRecord, model: PeakModel | None = None) -> tuple[list[float], list[float]]:
    means, sds = missed_of(runs, model or sure())
    return list(means), list(sds)


def whole(octaves: float = 0.0, **changes: Any) -> RunRecord:
    """Return a run of the asked budget, so far from its best peak."""
    return run(BEST * 2.0**octaves, 3.0, **{"tokens": TOKENS, **changes})


def test_a_run_at_its_best_peak_missed_nothing() -> None:
    (mean,), (sd,) = missed(whole())
    assert mean < 3e-4
    assert sd < 3e-4


def test_what_a_peak_missed_is_the_parabola_s_with_its_doubt() -> None:
    """Twenty tokens a parameter: .63 % an octave squared."""
    means, sds = missed(*[whole(octaves) for octaves in (-2.0, -1.0, 1.0, 2.0)])
    assert means == pytest.approx([0.0252, 0.0063, 0.0063, 0.0252], rel=0.2)
    share = math.hypot(CURVATURE_SD, 2.0 * DEPARTURE)
    for mean, sd in zip(means, sds, strict=True):
        assert share * mean < sd < 1.3 * share * mean


def test_a_best_peak_that_is_hardly_known_widens_and_takes_off_what_is_likely_missed() -> None:
    means, sds = missed(whole(), model=PeakModel())
    theta = PeakModel().predict(Optimum(PARAMETERS, TOKENS, BATCH, 1.0))
    apart = math.log2(BEST) - theta.mean
    assert means[0] == pytest.approx(0.0063 * (apart**2 + theta.sd**2))
    assert sds[0] > 0.0063 * math.sqrt(2.0) * theta.sd**2


def test_the_shape_of_a_run_counts_and_so_does_one_that_never_came_down() -> None:
    """A plateau with a cooldown of a fifth is best an octave lower; a constant rate ends a few per cent above."""
    cooled, level = whole(-0.96, shape_octaves=-0.96), whole(-1.65, shape_octaves=-1.65)
    means, sds = missed(cooled, level)
    assert means[0] < 6e-4  # of the quarter by which the octaves of a shape may be off
    assert means[1] == pytest.approx(NEVER_DECAYED, abs=2e-3)
    assert sds[1] == pytest.approx(NEVER_DECAYED_SD, abs=2e-3)


def test_a_final_is_taken_down_and_its_sd_is_in_nats_with_the_noise_of_the_objective() -> None:
    one = whole(2.0, workload={"objective": {"noise": 0.02}})
    found = gather(target(), Recorded([one]))
    (final,) = finals_of(target(), found, sure())
    (mean,), (sd,) = missed(one)
    assert final.loss == pytest.approx(3.0 / (1.0 + mean))
    assert final.sd == pytest.approx(math.hypot(FINAL_SD * 3.0, sd * final.loss, 0.02))


def test_places_of_many_are_expected_as_one_by_one() -> None:
    places = [Optimum(1e8 * 2.0**at, 2e9, 1e5, 1.0, family="ab"[at % 2]) for at in range(-6, 6)]
    for model in (PeakModel(), PeakModel([Optimum(6e7, 1e9, 1e5, 3e-3, 0.1, family="a")])):
        means, sds = model.expect(places)
        one_by_one = [model.predict(place) for place in places]
        assert means == pytest.approx([each.mean for each in one_by_one], abs=1e-9)
        assert sds == pytest.approx([each.sd for each in one_by_one], abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.floats(-6.0, 6.0), st.floats(-2.0, 0.5))
def test_whatever_a_run_s_peak_and_shape_it_missed_something_and_is_never_surer_for_it(
    octaves: float, shape: float
) -> None:
    (mean,), (sd,) = missed(whole(octaves, shape_octaves=shape))
    assert mean > 0.0
    assert sd > 0.4 * mean


def test_a_run_far_below_its_best_peak_widens_what_is_expected_of_the_size() -> None:
    tuned, low = (recommend(target(), [whole(octaves)]).loss for octaves in (0.0, -4.0))
    assert tuned is not None
    assert low is not None
    widths = [math.log(one.interval_90[1] / one.interval_90[0]) for one in (tuned, low)]
    assert widths[1] > 2.0 * widths[0]
    assert low.mean < tuned.mean


def test_the_best_run_of_each_place_is_looked_for_once_for_all_questions() -> None:
    runs = [whole(octaves, id=f"at {octaves}") for octaves in (-1.0, 0.0, 1.0)]
    worse, best = runs[0].model_copy(update={"final_loss": 3.1}), runs[1]
    recorded = Recorded([worse, best, runs[2].model_copy(update={"final_loss": 3.05})])
    kind = Kind.of_target(target())
    assert recorded.finals(kind, "") == (best,)
    assert recorded.finals(kind, "") is recorded.finals(kind, "")
    assert recorded.finals(kind, "other") == ()


# -- public runs of one peak: none of them is tuned, and what well-tuned ones end with is inside --

PUBLIC = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"the public curves are not at {FOLDER}; they stay outside the repo"
)


def record(one: PublicRun) -> RunRecord:
    lrs = one.curve.lrs[one.curve.positions.astype(int) - 1]
    points = averaged(Points.of(one.curve.positions, lrs, one.curve.losses, warmup=299))
    workload = Workload(parameters=PARAMETERS, batch_tokens=BATCH)
    known = Known(
        id=one.name,
        name=one.name,
        source="upload",
        workload=workload,
        regime="pretrain",
        validated=True,
    )
    return record_of(points, known)


def fours(lr: float, count: int = 10) -> Sequence[list[PublicRun]]:
    """Return sets of four runs of one peak, drawn once."""
    pool = [one for one in runs_124m() if one.lr == lr]
    generator = np.random.default_rng(0)
    return [
        [pool[at] for at in generator.choice(len(pool), 4, replace=False)] for _ in range(count)
    ]


@PUBLIC
@pytest.mark.parametrize("lr", [1e-4, 5e-4, 1e-3])
def test_four_public_runs_of_one_peak_leave_the_best_run_inside_the_interval(lr: float) -> None:
    best = min(one.final for one in runs_124m() if one.steps == 50_000)
    asked = target(tokens=50_000 * BATCH)
    alone = recommend(asked).loss
    assert alone is not None
    for four in fours(lr):
        found = recommend(asked, [record(one) for one in four]).loss
        assert found is not None
        low, high = found.interval_90
        assert low < best < high
        assert math.log(high / low) < 0.5 * math.log(alone.interval_90[1] / alone.interval_90[0])
