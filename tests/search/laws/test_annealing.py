import numpy as np
import pytest
from pacesetter_search.laws import AnnealingLaw, Curve, FittedAnnealing, LawNotFitted
from pacesetter_search.laws.curves import FloatArray

PEAK, STEPS = 3e-4, 6000
MEMORY = 200.0


def reference(lrs: FloatArray, memory: float) -> tuple[FloatArray, FloatArray]:
    """S1 and S2 as the double sum that the paper prints: slow and obvious."""
    drops = [lrs[0] * 0.0 - lrs[0], *(lrs[:-1] - lrs[1:])]
    decay = 1.0 - 1.0 / memory
    momentum, total, area = 0.0, 0.0, 0.0
    signal, annealed = [], []
    for lr, drop in zip(lrs, drops, strict=True):
        momentum = decay * momentum + drop
        total += momentum
        area += lr
        signal.append(area)
        annealed.append(total)
    return np.array(signal), np.array(annealed)


def loss(lrs: FloatArray) -> FloatArray:
    signal, annealed = reference(lrs, MEMORY)
    result: FloatArray = 2.5 + 0.4 * signal**-0.5 - 3.0 * annealed
    return result


def cosine(steps: int) -> FloatArray:
    rates: FloatArray = 0.5 * PEAK * (1.0 + np.cos(np.pi * np.arange(steps) / steps))
    return rates


def constant(steps: int) -> FloatArray:
    return np.full(steps, PEAK)


def wsd(steps: int) -> FloatArray:
    rates: FloatArray = PEAK * np.minimum(1.0, 5.0 * (1.0 - np.arange(steps) / steps))
    return rates


def curve(lrs: FloatArray) -> Curve:
    positions = np.arange(200, lrs.size + 1, 100)
    return Curve.of(lrs, positions, loss(lrs)[positions - 1])


def fitted(*curves: Curve, memory: float | None = MEMORY) -> FittedAnnealing:
    return AnnealingLaw(memory).fit(curves)


def test_both_sums_are_those_of_the_paper() -> None:
    law = fitted(curve(cosine(STEPS)), curve(constant(STEPS)))
    lrs = wsd(900)
    signal, annealed = reference(lrs, MEMORY)
    floor, amplitude, alpha, response = np.exp(law.parameters)
    expected = floor + amplitude * (signal / law.signal_scale) ** -alpha
    expected -= response * annealed / law.noise_scale
    assert law.losses(lrs) == pytest.approx(expected, rel=1e-9)


def test_two_curves_of_the_law_predict_a_third() -> None:
    law = fitted(curve(cosine(STEPS)), curve(constant(STEPS)))
    lrs = wsd(STEPS)
    positions = np.arange(1000, STEPS + 1, 500)
    prediction = law.predict(lrs, positions)
    assert prediction.mean == pytest.approx(loss(lrs)[positions - 1], rel=1e-4)
    assert law.warnings == ()


def test_the_end_is_predicted_where_no_position_is_given() -> None:
    law = fitted(curve(cosine(STEPS)), curve(constant(STEPS)))
    assert law.predict(wsd(STEPS)).mean == pytest.approx([loss(wsd(STEPS))[-1]], rel=1e-4)


def test_a_cosine_alone_is_said_not_to_identify_the_decay() -> None:
    law = fitted(curve(cosine(STEPS)))
    assert "add one with a step or a cooldown" in law.warnings[0]


def test_different_peaks_are_said() -> None:
    law = fitted(curve(cosine(STEPS)), curve(2.0 * constant(STEPS)))
    assert any("different peak learning rates" in warning for warning in law.warnings)


def test_memory_is_a_thousand_steps_and_less_in_short_runs() -> None:
    assert fitted(curve(cosine(STEPS)), memory=None).memory == STEPS / 24
    assert fitted(curve(constant(30_000)), memory=None).memory == 1000.0


def test_a_fit_survives_a_few_wild_losses() -> None:
    one, other = curve(cosine(STEPS)), curve(constant(STEPS))
    losses = one.losses.copy()
    losses[::13] *= 1.5
    law = fitted(Curve.of(one.lrs, one.positions, losses), other)
    assert law.predict(wsd(STEPS)).mean == pytest.approx([loss(wsd(STEPS))[-1]], rel=2e-3)


def test_noise_widens_the_interval_and_the_interval_covers() -> None:
    generator = np.random.default_rng(0)
    outside = 0
    for _ in range(20):
        runs = [curve(cosine(STEPS)), curve(constant(STEPS))]
        noisy = [
            Curve.of(
                one.lrs,
                one.positions,
                one.losses * np.exp(0.003 * generator.standard_normal(one.losses.size)),
            )
            for one in runs
        ]
        prediction = fitted(*noisy).predict(wsd(STEPS))
        outside += abs(prediction.mean[0] - loss(wsd(STEPS))[-1]) > 1.645 * prediction.sd[0]
    assert prediction.sd[0] > 0.003
    assert outside <= 2


def test_a_law_survives_json() -> None:
    law = fitted(curve(cosine(STEPS)), curve(constant(STEPS)))
    again = FittedAnnealing.model_validate_json(law.model_dump_json())
    assert again.losses(wsd(900)).tolist() == law.losses(wsd(900)).tolist()


def test_drawn_ends_scatter_around_the_fit() -> None:
    law = fitted(curve(cosine(STEPS)), curve(constant(STEPS)))
    ends = law.ends(
        constant(1000), np.vstack([wsd(500), constant(500)]), np.random.default_rng(0), 30
    )
    whole = law.predict(np.concatenate([constant(1000), wsd(500)])).mean[0]
    assert ends.shape == (30, 2)
    assert ends[0, 0] == pytest.approx(whole, rel=1e-12)
    assert np.all(ends[:, 0] < ends[:, 1])


@pytest.mark.parametrize(
    ("curves", "words"),
    [
        ([Curve.of(np.ones(9), [1, 2], [1.0, 0.9])], "2 points for 4 parameters"),
        ([Curve.of(np.ones(9), np.arange(1, 10), np.linspace(1, -1, 9))], "not above zero"),
        ([Curve.of(np.zeros(9), np.arange(1, 10), np.ones(9))], "every learning rate is zero"),
    ],
)
def test_what_cannot_be_fitted_is_said(curves: list[Curve], words: str) -> None:
    with pytest.raises(LawNotFitted, match=words):
        AnnealingLaw().fit(curves)
