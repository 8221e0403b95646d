"""What misleads in short runs: high rates that do not diverge, and losses that level out above the best rate."""

from dataclasses import replace

import numpy as np
import pytest
from pacesetter_search.strategies.zero_tuning.evidence import Rung
from pacesetter_search.strategies.zero_tuning.finding import found_peaks
from pacesetter_search.strategies.zero_tuning.posterior import Posterior
from pacesetter_search.strategies.zero_tuning.prior import (
    Component,
    Remembered,
    likeness,
    prior_for,
    unbiased,
)

from tests.search.support.simulator import job_facts

LEVEL = (-5.0, -3.0, -1.0, 1.0)
"""Rates at which a small language model has learned how frequent bytes are, and no more."""

# A T/64 run of a byte language model: steep below its best rate at -7, level from -5 on, and nothing diverges.
LANGUAGE = [
    Rung(1 / 64, -11.0, 1.60),
    Rung(1 / 64, -8.0, 1.24),
    Rung(1 / 64, -7.0, 1.12),
    *(Rung(1 / 64, rate, 1.17) for rate in LEVEL),
]


def posterior(*rungs: Rung, regime: str = "pretrain") -> Posterior:
    prior = replace(unbiased(regime), optimum=(Component(1.0, -9.0, 3.0),), drift_mean=0.3)
    return Posterior.from_rungs(rungs, prior, start=1.72)


def test_rates_that_level_out_are_no_sign_of_a_higher_best_one() -> None:
    (found,) = found_peaks(LANGUAGE, 1.72, unbiased("pretrain"))
    assert found.log2_lr == pytest.approx(-7.0, abs=1.2)
    assert posterior(*LANGUAGE).mean < -6.5
    few = posterior(*LANGUAGE[:4]).mean
    assert posterior(*LANGUAGE).mean < few + 0.7


def test_rates_that_diverged_above_one_that_did_are_no_more_witnesses() -> None:
    """There is one threshold, and the lowest of them bounds it."""
    lost = [Rung(1 / 8, rate, None) for rate in (-6.0, -5.0, -4.0, -3.0)]
    assert posterior(*lost).mean == pytest.approx(posterior(lost[0]).mean)
    assert posterior(lost[0]).mean < posterior(lost[3]).mean < posterior().mean


def test_one_rate_far_up_that_ended_moves_the_best_one_less_than_if_every_model_diverged() -> None:
    prior = posterior().prior
    every = replace(prior, thresholds=((1.0, 3.0, 0.7),))
    ended = [Rung(1 / 8, 0.0, 1.0)]
    bound = Posterior.from_rungs(ended, every, start=1.72).mean
    assert posterior().mean < posterior(*ended).mean < bound - 1.0


def test_a_threshold_lies_between_what_ended_and_what_diverged() -> None:
    ended, lost = Rung(1 / 64, -6.0, 1.2), Rung(1 / 64, -4.0, None)
    below, above = posterior(lost).mean, posterior(ended).mean
    assert below < posterior(ended, lost).mean <= above + 0.1
    contrary = posterior(Rung(1 / 64, -3.0, 1.2), lost)
    assert np.isfinite(contrary.mean)


def test_without_plateaus_the_same_rungs_point_higher() -> None:
    (language,) = found_peaks(LANGUAGE, 1.72, unbiased("pretrain"))
    vision = found_peaks(LANGUAGE, 1.72, unbiased("vision"))
    assert vision == () or vision[0].log2_lr > language.log2_lr + 1.0


def test_what_other_jobs_ended_with_changes_what_a_wrong_rate_costs_and_nothing_else() -> None:
    facts = job_facts(1500)

    def told(steepness: float) -> Posterior:
        remembered = Remembered(-8.0, 1.0, 1.0, 0.3, 0.2, steepness)
        prior = prior_for(facts, trust=0.0, trust_octaves=1.0, hint=None, remembered=remembered)
        return Posterior.from_rungs(LANGUAGE, prior, start=1.72)

    flat, steep = told(0.25), told(1.0)
    assert flat.mean == pytest.approx(steep.mean)
    rates = np.array([flat.mean + 0.5])
    assert 0.2 < flat.regret(rates)[0] / steep.regret(rates)[0] < 0.45


def test_the_more_runs_the_more_a_job_is_like_them() -> None:
    assert likeness(0) == 0.5
    chances = [likeness(runs) for runs in range(40)]
    assert np.all(np.diff(chances) > 0.0)
    assert 1.0 - chances[-1] == pytest.approx(0.5 / 40.0)
