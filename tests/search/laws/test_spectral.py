import numpy as np
import pytest
from pacesetter_search.laws import Curve, FittedSpectrum, LawNotFitted, SpectralLaw
from pacesetter_search.laws.curves import FloatArray

from tests.search.support.expected_quadratic import ExpectedQuadratic

STEPS, LR = 4000, 0.3


def run(lrs: FloatArray) -> FloatArray:
    problem = ExpectedQuadratic()
    losses = []
    for lr in lrs:
        problem.step(lr)
        losses.append(problem.validate())
    return np.array(losses)


def linear(steps: int) -> FloatArray:
    return LR * (1.0 - np.arange(steps) / steps)


def cosine(steps: int) -> FloatArray:
    rates: FloatArray = 0.5 * LR * (1.0 + np.cos(np.pi * np.arange(steps) / steps))
    return rates


def curve(lrs: FloatArray, first: int = 100) -> Curve:
    positions = np.unique(np.geomspace(first, lrs.size, 60).astype(int))
    return Curve.of(lrs, positions, run(lrs)[positions - 1])


@pytest.fixture(scope="module")
def law() -> FittedSpectrum:
    return SpectralLaw(members=6).fit([curve(linear(STEPS)), curve(np.full(STEPS, LR))])


def test_a_noisy_quadratic_is_fitted_to_a_per_cent(law: FittedSpectrum) -> None:
    assert law.residual_sd < 0.01


def test_another_decay_of_a_noisy_quadratic_is_predicted(law: FittedSpectrum) -> None:
    prediction = law.predict(cosine(STEPS))
    truth = run(cosine(STEPS))[-1]
    assert prediction.mean == pytest.approx([truth], rel=0.05)


def test_rates_at_zero_change_nothing(law: FittedSpectrum) -> None:
    lrs = cosine(500)
    padded = np.concatenate([lrs, np.zeros(300)])
    members = law.members(padded, [500, 800])
    assert members[:, 1] == pytest.approx(members[:, 0], rel=1e-9)


def test_ends_agree_with_running_every_step(law: FittedSpectrum) -> None:
    trunk, tails = np.full(300, LR), np.vstack([linear(400), cosine(400)])
    fast = law.ends(trunk, tails)
    for index, tail in enumerate(tails):
        slow = law.members(np.concatenate([trunk, tail]), [700])[:, 0]
        assert fast[:, index] == pytest.approx(slow, rel=2e-3)


def test_wide_steps_agree_with_narrow_ones(law: FittedSpectrum) -> None:
    trunk = np.full(300, LR)
    narrow = law.ends(trunk, linear(400)[None, :])
    wide = law.ends(trunk, linear(400).reshape(100, 4).mean(axis=1)[None, :], stride=4.0)
    assert wide == pytest.approx(narrow, rel=0.03)


def test_the_further_ahead_the_wider() -> None:
    early = SpectralLaw(horizon=STEPS, members=12).fit([curve(linear(STEPS)[:400], 20)])
    ahead = [early.predict(linear(STEPS)[:steps]) for steps in (400, 1200, 4000)]
    spread = [float(one.sd[0] / one.mean[0]) for one in ahead]
    assert spread[0] < spread[1] < spread[2]


def test_the_same_seed_gives_the_same_law() -> None:
    runs = [curve(linear(400), 20)]
    laws = [SpectralLaw(members=3, seed=seed).fit(runs) for seed in (1, 1, 2)]
    assert laws[0] == laws[1] != laws[2]


def test_a_law_survives_json(law: FittedSpectrum) -> None:
    again = FittedSpectrum.model_validate_json(law.model_dump_json())
    assert again.losses(cosine(50)).tolist() == law.losses(cosine(50)).tolist()


@pytest.mark.parametrize(
    ("curves", "words"),
    [
        ([Curve.of(np.ones(9), [1, 2], [1.0, 0.9])], "2 points"),
        ([Curve.of(np.ones(9), np.arange(1, 10), np.linspace(1, -1, 9))], "not above zero"),
        ([Curve.of(np.zeros(9), np.arange(1, 10), np.ones(9))], "every learning rate is zero"),
    ],
)
def test_what_cannot_be_fitted_is_said(curves: list[Curve], words: str) -> None:
    with pytest.raises(LawNotFitted, match=words):
        SpectralLaw().fit(curves)
