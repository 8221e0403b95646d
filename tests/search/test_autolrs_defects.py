"""The defects of the only released implementation (B1-B8 in the notes on it), each as a test that it stays away."""

import math
from typing import Any

import numpy as np
import pytest
from pacesetter.protocol import SegmentEnded
from pacesetter_search.contract import Context, Event
from pacesetter_search.forecasting import forecast
from pacesetter_search.strategies.autolrs import AutoLRS
from pacesetter_search.surrogates import Response, training_set
from pacesetter_search.surrogates.gaussian_process import fit

from tests.search.support.landscape import NoisyQuadratic
from tests.search.support.simulator import SimulatedJob, job_facts

SHORT = 420
WINDOW = np.arange(100.0)


def run(parameters: dict[str, Any] | None = None, **landscape: Any) -> SimulatedJob:
    strategy = AutoLRS.from_document({"candidates": 5, **(parameters or {})})
    return SimulatedJob(strategy, job_facts(SHORT), NoisyQuadratic(**landscape)).run()


def responses(job: SimulatedJob) -> list[Any]:
    found = job.controller.state["responses"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param(np.full(100, 0.7), id="constant"),
        pytest.param(2 - 0.01 * WINDOW, id="line"),
        pytest.param(2 - 1e-4 * WINDOW**2, id="concave"),
        pytest.param(2 * np.exp(-WINDOW / 5000) + 0.5, id="slow exponential"),
    ],
)
def test_b1_the_forecaster_survives_windows_that_an_exponential_cannot_fit(
    losses: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> None:
    answer = forecast(WINDOW, losses, 1000.0)
    assert math.isfinite(answer.mean)
    assert answer.mean <= losses[-1] + 1e-6


def test_b1_no_flat_noisy_window_of_four_hundred_crashes_or_goes_negative() -> None:
    for seed in range(400):
        losses = 0.5 + 0.05 * np.random.default_rng(seed).standard_normal(100)
        assert forecast(WINDOW, losses, 1000.0).mean >= 0


def test_b2_a_probe_that_turns_nan_ends_at_once_and_the_job_goes_on() -> None:
    job = run(explode_above=0.3)
    diverged = [one for one in responses(job) if one["status"] == "diverged"]
    assert diverged
    assert len(job.main_losses) == SHORT
    ended = [e.body for e in job.controller.events if isinstance(e.body, SegmentEnded)]
    stopped = [one for one in ended if one.outcome == "stopped"]
    assert [one.code for one in stopped] == ["NON_FINITE"] * len(diverged)
    assert all(one.steps == 1 for one in stopped)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_b3_a_rate_that_ended_in_a_non_finite_loss_is_never_chosen(bad: float) -> None:
    """Also where the client let it run on: a completed probe with such losses among its rows has diverged."""

    class Infinite(NoisyQuadratic):
        def step(self, lr: float) -> float:
            loss = super().step(lr)
            return bad if lr > 0.2 and self.data % 3 == 0 else loss

    strategy = AutoLRS.from_document({"candidates": 5})
    job = SimulatedJob(strategy, job_facts(SHORT), Infinite())
    job.refuse = lambda _: None
    job.obeys_clauses = False
    job.run()
    chosen = [one.policy.peak for one in job.controller.segments if one.kind == "main"]
    tried = [one.policy.peak for one in job.controller.segments if one.kind == "probe"]
    assert max(tried) > 2.0
    assert max(chosen) <= 2.0


def test_b4_each_probe_is_scored_by_its_own_rows_only() -> None:
    """The release scored a NaN probe by the last loss of the candidate before it."""
    job = run(explode_above=0.3)
    diverged = [one for one in responses(job) if one["status"] == "diverged"]
    assert all(one["mean"] == 0.0 for one in diverged)
    finite = [one["mean"] for one in responses(job) if one["status"] == "finite"]
    assert len(set(finite)) == len(finite)


def test_b5_the_first_step_after_a_restore_runs_at_the_announced_rate() -> None:
    """Policy, start and source travel in one segment, so there is no step between restore and rate."""
    job = run()
    for segment in job.controller.segments:
        assert segment.policy.at(segment.start) == segment.policy.peak
    main = [one for one in job.controller.segments if one.kind == "main"]
    for segment in main:
        assert job.main_multipliers[segment.start] == segment.policy.peak


def test_b6_the_forecast_of_a_noiseless_exponential_is_its_limit_not_a_parabolas() -> None:
    """2 exp(-t/30) + .5 was forecast as .351 at ten times the window."""
    answer = forecast(WINDOW, 2 * np.exp(-WINDOW / 30) + 0.5, 1000.0)
    assert answer.mean == pytest.approx(0.5, abs=0.02)


def test_b7_a_diverged_probe_does_not_flatten_the_surrogate() -> None:
    bowl = [Response(0, x, (x - 0.4) ** 2) for x in (0.0, 0.2, 0.45, 0.6, 0.8)]
    grid = np.column_stack([np.linspace(0, 0.8, 81), np.zeros(81)])
    plain, _ = fit(training_set(bowl)).posterior(grid)
    censored = [*bowl, Response(0, 1.0, status="diverged")]
    mean, _ = fit(training_set(censored)).posterior(grid)
    assert np.ptp(mean) > 0.5 * np.ptp(plain)
    assert abs(grid[int(np.argmin(mean)), 0] - 0.4) < 0.05


def test_b7_rates_at_and_above_a_divergence_are_not_tried_again_in_the_stage() -> None:
    job = run({"candidates": 8}, explode_above=0.3)
    by_stage: dict[int, float] = {}
    for one in responses(job):
        assert one["x"] < by_stage.get(one["stage"], math.inf)
        if one["status"] == "diverged":
            by_stage[one["stage"]] = one["x"]


def test_b7_a_stage_without_a_finite_probe_halves_the_rate() -> None:
    job = run(explode_above=1e-9)
    assert "all_diverged" in [entry.code for entry in job.controller.log]
    probes = [one.policy.peak for one in job.controller.segments if one.kind == "probe"]
    main = next(one for one in job.controller.segments if one.kind == "main")
    assert main.policy.peak == pytest.approx(max(min(probes[:5]) / 2, 0.01))


def test_b8_the_final_model_is_never_a_probe() -> None:
    job = run()
    assert job.controller.segments[-1].kind == "main"
    assert job.follower.on_main_line
    assert len(job.main_losses) == SHORT


def test_b8_whatever_is_cut_short_the_last_segment_runs_on_the_main_line() -> None:
    """The job falls back at every probe's end: it still ends on its main line."""
    strategy = AutoLRS.from_document({"candidates": 5})
    job = SimulatedJob(strategy, job_facts(SHORT), deaf=lambda _: True).run()
    assert job.follower.on_main_line
    assert len(job.main_losses) == SHORT


def test_nothing_is_planned_once_the_job_is_over() -> None:
    job = run()
    strategy, state = job.controller.strategy, job.controller.state
    for event in job.controller.events:
        answer = strategy.advance(state, Event(999, event.body), Context(job.facts, 99))
        assert answer.segments == ()


def test_noise_around_a_small_loss_is_not_called_a_divergence() -> None:
    """A single first batch is no level: late in training its neighbours are many times higher or lower."""

    class Noisy(NoisyQuadratic):
        """Losses spread over two decades around a level that no longer changes."""

        def step(self, lr: float) -> float:
            super().step(lr)
            generator = np.random.default_rng([5, self.data])
            return float(0.01 * 10.0 ** generator.normal(0.0, 0.5))

    strategy = AutoLRS.from_document({"candidates": 4, "max_multiplier": 1.5, "stop_ratio": 1.2})
    job = SimulatedJob(strategy, job_facts(SHORT), Noisy()).run()
    ended = [e.body for e in job.controller.events if isinstance(e.body, SegmentEnded)]
    assert len(ended) > 8
    assert [one.code for one in ended if one.outcome == "stopped"] == []
