"""From a curve to its record: what the run ended with, the shape that it really had, and units that agree."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter import CurveError
from pacesetter.curves import Points, averaged
from pacesetter.protocol import Workload
from pacesetter.schedules import WSD, Constant, Cosine, Linear, Schedule, Step, Warmup
from pacesetter.schedules.convex_bound import convex_bound
from pacesetter.schedules.families import AnyFamily
from pacesetter_search.memory import FoundPeak, Known, RunRecord, record_of
from pacesetter_search.transfer.shape import octaves_over_linear

STEPS = 10_000


def run(body: AnyFamily, warmup: int = 200, every: int = 1) -> Points:
    """Return a run whose loss is 3 plus a hundredth of the steps left, in thousands."""
    schedule = Schedule(length=STEPS, warmup=Warmup(length=warmup) if warmup else None, body=body)
    steps = np.arange(every, STEPS + 1.0, every)
    return Points.of(
        steps, 2e-3 * schedule.over(steps - 1.0), 3.0 + 1e-5 * (STEPS - steps), warmup=warmup
    )


def record(points: Points | None = None, **known: Any) -> RunRecord:
    workload = Workload(**known.pop("workload", {}))
    about = Known(id="c", name="a run", source="upload", workload=workload, **known)
    return record_of(points or run(Linear()), about)


def test_a_run_is_described_by_its_curve() -> None:
    found = record(optimizer="AdamW", weight_decay=0.1, momentum=0.9, tokens=5e7, regime="pretrain")
    assert (found.steps, found.tokens, found.workload.batch_tokens) == (STEPS, 5e7, 5000.0)
    assert (found.optimizer, found.weight_decay, found.momentum) == ("adamw", 0.1, 0.9)
    assert found.peak_lr == pytest.approx(2e-3)
    assert (found.completed, found.validated, found.found) == (True, False, ())


def test_training_losses_are_averaged_over_the_last_twentieth() -> None:
    found = record()
    assert found.final_loss == pytest.approx(3.0 + 1e-5 * 249.5, abs=1e-9)
    assert record(averaged(run(Linear()))).final_loss == pytest.approx(found.final_loss, abs=5e-5)


def test_the_last_validation_is_the_final_loss() -> None:
    assert record(validated=True).final_loss == 3.0
    assert record(validated=True).validated
    beside = record(final_loss=2.875)
    assert (beside.final_loss, beside.validated) == (2.875, True)


@pytest.mark.parametrize("final", [math.nan, math.inf, 1e200])
def test_a_validation_that_is_no_number_is_a_divergence(final: float) -> None:
    assert record(final_loss=final).final_loss is None


def test_a_run_that_ends_in_nan_has_no_final_loss() -> None:
    points = run(Linear())
    losses = points.losses.copy()
    losses[-1] = np.inf
    assert record(Points(points.steps, points.lrs, losses)).final_loss is None
    losses[-1], losses[5000] = 3.0, np.inf
    assert record(Points(points.steps, points.lrs, losses)).final_loss == pytest.approx(
        3.0025, 1e-4
    )


SHAPES: dict[str, AnyFamily] = {
    "linear": Linear(),
    "cosine": Cosine(),
    "wsd half": WSD(cooldown=0.5),
    "wsd fifth": WSD(cooldown=0.2, shape="sqrt"),
    "constant": Constant(),
    "steps": Step(),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("every", [1, 100])
def test_the_shape_is_that_of_the_convex_bound(name: str, every: int) -> None:
    """Without its warm-up, whatever the rows are apart."""

    def best(body: AnyFamily) -> float:
        rates = Schedule(length=4000, body=body).over(np.arange(4000.0))
        return convex_bound(rates).best_base_lr

    expected = math.log2(best(SHAPES[name]) / best(Linear()))
    assert record(run(SHAPES[name], every=every)).shape_octaves == pytest.approx(expected, abs=0.03)


@given(st.sampled_from(sorted(SHAPES)), st.floats(1e-6, 1e3), st.integers(0, 300))
def test_a_shape_has_no_unit_and_ends_with_its_rates(name: str, unit: float, zeros: int) -> None:
    points = run(SHAPES[name], warmup=0, every=10)
    plain = octaves_over_linear(points.steps, points.lrs, 0.0)
    assert octaves_over_linear(points.steps, unit * points.lrs, 0.0) == pytest.approx(plain)
    # Steps at a rate of zero after the run move nothing.
    steps = np.append(points.steps, STEPS + 1.0 + np.arange(zeros))
    lrs = np.append(points.lrs, np.zeros(zeros))
    assert octaves_over_linear(steps, lrs, 0.0) == pytest.approx(plain, abs=0.05)


def test_rates_of_zero_in_the_middle_leave_a_shape() -> None:
    points = run(Linear(), every=10)
    lrs = np.where((points.steps > 4000) & (points.steps < 5000), 0.0, points.lrs)
    found = record(Points(points.steps, lrs, points.losses, points.warmup))
    assert abs(found.shape_octaves) < 0.2


def test_losses_that_end_early_count_up_to_the_last() -> None:
    points = run(Constant(), warmup=0)
    losses = np.where(points.steps <= 6000, points.losses, np.nan)
    found = record(Points(points.steps, points.lrs, losses), tokens=1e6)
    assert (found.steps, found.tokens, found.completed) == (6000, 6e5, False)
    late = np.where(points.steps <= 9600, points.losses, np.nan)
    found = record(Points(points.steps, points.lrs, late), tokens=1e6)
    assert (found.steps, found.tokens, found.completed) == (STEPS, 1e6, True)


def test_tokens_are_steps_times_batch() -> None:
    assert record(workload={"batch_tokens": 512}).tokens == 512 * STEPS
    assert record(workload={"batch_tokens": 512}, tokens=5e6).tokens == 5e6
    assert record().tokens is None


@pytest.mark.parametrize(
    ("batch", "tokens", "words"),
    [
        (512, 5.4e6, r"10,000 steps of 512 tokens are 5.12e\+06, and tokens are 5.4e\+06"),
        (512, 4.8e6, "give batch_tokens and tokens in one unit"),
        (None, 9000, "9000 tokens are fewer than the curve's 10,000 steps"),
    ],
)
def test_contradictory_units_are_refused(batch: float | None, tokens: float, words: str) -> None:
    with pytest.raises(CurveError, match=f"(?i){words}") as error:
        record(workload={"batch_tokens": batch}, tokens=tokens)
    assert error.value.code == "CONTRADICTORY_UNITS"


def test_rates_of_zero_up_to_the_last_loss_are_refused() -> None:
    points = Points.of([1, 2, 50, 100], [0.0, 0.0, 0.0, 1.0], [3.0, 2.0, 1.0, np.nan])
    with pytest.raises(CurveError, match="up to the last loss, at step 50, is zero"):
        record(points)


def test_what_its_own_short_runs_found_is_kept() -> None:
    peak = FoundPeak(share=0.1, log2_lr=-9.0, sd=0.4)
    assert record(found=(peak,)).found == (peak,)
