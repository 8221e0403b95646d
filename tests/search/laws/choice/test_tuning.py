"""Parameters of families under laws whose best is known, within bounds, and shrunken gains."""

import numpy as np
import pytest
from pacesetter.schedules import WSD, Linear, Schedule, Warmup
from pacesetter_search.laws.choice import SHRINK, TUNABLE, learning_rates, optimise_family, rank_zoo
from pacesetter_search.laws.choice.ranking import outside
from pacesetter_search.laws.choice.tuning import Frame, Range, Tuned
from pacesetter_search.laws.curves import FloatArray

from tests.search.support.fitted_laws import PUBLISHED, ensemble
from tests.search.support.loss_curves import PEAK, STEPS

WARMUP = STEPS // 20


def loss(rates: FloatArray) -> float:
    return float(ensemble().predict(rates).mean[0])


def ended(found: Tuned) -> float:
    return loss(learning_rates(found.schedule, PEAK))


@pytest.fixture(scope="module")
def tuned() -> dict[str, Tuned]:
    return {name: optimise_family(ensemble(), name, STEPS, PEAK, WARMUP) for name in TUNABLE}


def test_the_cooldown_is_the_best_of_a_fine_sweep(tuned: dict[str, Tuned]) -> None:
    shares = np.linspace(0.05, 0.9, 171)
    rise = Warmup(length=WARMUP)
    swept = [
        loss(learning_rates(Schedule(length=STEPS, warmup=rise, body=WSD(cooldown=share)), PEAK))
        for share in shares
    ]
    best = float(shares[int(np.argmin(swept))])
    assert tuned["wsd linear"].parameters["cooldown"] == pytest.approx(best, abs=0.02)
    assert ended(tuned["wsd linear"]) == pytest.approx(min(swept), rel=2e-5)
    assert 0.1 < best < 0.85


@pytest.mark.parametrize(
    ("family", "plain"),
    [
        ("cosine", "cosine"),
        ("exponential", "exponential"),
        ("infinite", "infinite"),
        ("linear", "linear"),
        ("polynomial", "polynomial 1.5"),
        ("power", "power"),
        ("rex", "rex"),
        ("uba", "uba 1"),
        ("wsd linear", "wsd linear 0.2"),
        ("wsd mirror cosine", "wsd mirror cosine 0.4"),
        ("wsd power", "wsd power 1.5 0.4"),
        ("wsd sqrt", "wsd sqrt 0.2"),
    ],
)
def test_tuned_is_never_worse_than_typical(
    tuned: dict[str, Tuned], family: str, plain: str
) -> None:
    typical = {one.name: one.loss for one in rank_zoo(ensemble(), STEPS, PEAK, WARMUP).candidates}
    assert ended(tuned[family]) <= typical[plain] * (1.0 + 2e-5)


@pytest.mark.parametrize("family", TUNABLE)
def test_what_comes_out_is_inside_of_what_was_fitted(tuned: dict[str, Tuned], family: str) -> None:
    found = tuned[family]
    rates = learning_rates(found.schedule, PEAK)
    assert rates.shape == (STEPS,)
    assert outside(ensemble(), rates) is None
    for one in TUNABLE[family].ranges:
        assert one.low <= found.parameters[one.name] <= one.high


def test_the_gain_is_shrunken_and_over_the_linear_decay(tuned: dict[str, Tuned]) -> None:
    base = loss(
        learning_rates(Schedule(length=STEPS, warmup=Warmup(length=WARMUP), body=Linear()), PEAK)
    )
    found = tuned["wsd linear"]
    assert found.gain == pytest.approx(SHRINK * (base - ended(found)) / base, rel=0.02)
    assert found.reference == "a linear decay to zero at the same peak"
    assert 0.0 < found.gain < found.gain_sd * 10.0


def test_the_published_law_asks_for_the_published_tail() -> None:
    """Its authors' optimum at 24,000 steps holds until 89 to 90 % and falls as (1 - x)^1.5."""
    found = optimise_family(PUBLISHED, "wsd power", 24_000, 3e-4, 2160)
    assert found.parameters["cooldown"] == pytest.approx(0.11, abs=0.03)
    assert found.parameters["power"] == pytest.approx(1.5, abs=0.2)
    assert found.warnings == ()


def test_a_parameter_at_its_bound_is_said() -> None:
    found = optimise_family(PUBLISHED, "polynomial", 24_000, 3e-4, 2160)
    assert found.parameters["power"] == pytest.approx(0.3, rel=0.02)
    assert any(each.startswith("power is at the end of its range") for each in found.warnings)


def test_a_range_goes_from_low_to_high_in_differences_or_ratios() -> None:
    assert [Range("x", 1.0, 4.0).at(share) for share in (-1.0, 0.0, 0.5, 1.0, 2.0)] == [
        1,
        1,
        2.5,
        4,
        4,
    ]
    assert Range("x", 1.0, 4.0, log=True).at(0.5) == pytest.approx(2.0)


@pytest.mark.parametrize("family", TUNABLE)
def test_a_tail_gives_way_to_a_long_warm_up(family: str) -> None:
    assert Frame(1000, PEAK, 700).longest_tail == 0.3
    rates = learning_rates(optimise_family(ensemble(), family, 1000, PEAK, 700).schedule, PEAK)
    assert rates[699] < PEAK
    assert rates[700] == pytest.approx(PEAK, rel=0.02)


def test_an_unknown_family_a_high_peak_and_no_room_are_refused() -> None:
    with pytest.raises(ValueError, match="'tea' has nothing to tune; give one of cosine, "):
        optimise_family(ensemble(), "tea", STEPS, PEAK)
    with pytest.raises(
        ValueError, match=r"no rex schedule lies inside .* above the largest fitted"
    ):
        optimise_family(ensemble(), "rex", STEPS, 2.0 * PEAK)
    with pytest.raises(ValueError, match="leaves nothing"):
        optimise_family(ensemble(), "rex", 100, PEAK, 100)
