"""The batch: given, by law, or that of one's own evidence, and where it only saves steps."""

import math

import pytest
from pacesetter_search.recommendation import recommend

from tests.search.recommendation.cases import ASKED, best_at, target


def test_without_a_batch_the_law_s_is_chosen_with_an_interval_of_three_tenths_of_an_octave() -> (
    None
):
    found = recommend(target())
    assert found.batch_tokens == pytest.approx(0.58 * 2.5e9**0.571)
    assert found.batch_90 is not None
    low, high = found.batch_90
    assert math.log2(high / low) == pytest.approx(2 * 1.6449 * 0.3, rel=1e-3)
    assert found.steps == round(2.5e9 / (0.58 * 2.5e9**0.571))


def test_outside_of_what_was_fitted_laws_part_and_the_interval_widens() -> None:
    """At 1.6e12 tokens, four octaves beyond 1e11: .3 + 4 x .19."""
    found = recommend(target(parameters=7e9, tokens=1.6e12))
    assert found.batch_90 is not None
    width = math.log2(found.batch_90[1] / found.batch_90[0])
    assert width == pytest.approx(2 * 1.6449 * (0.3 + 4 * 0.19), rel=1e-3)


def test_a_given_batch_is_kept_and_has_no_interval() -> None:
    found = recommend(target(batch_tokens=51_200))
    assert (found.batch_tokens, found.batch_90) == (51_200, None)


def test_fixed_steps_fix_the_batch() -> None:
    found = recommend(target(steps=50_000))
    assert (found.batch_tokens, found.steps) == (50_000, 50_000)
    assert found.schedule is not None
    assert found.schedule.length == 50_000


def test_steps_and_batch_make_the_budget() -> None:
    found = recommend(target(tokens=None, steps=10_000, batch_tokens=250_000))
    other = recommend(target(batch_tokens=250_000))
    assert found.lr == other.lr


def test_what_the_hardware_takes_caps_the_batch_and_the_peak_is_that_of_the_smaller_one() -> None:
    capped = recommend(target(max_batch_tokens=32_768))
    assert capped.batch_tokens == 32_768
    assert any("the hardware takes 3.28e+04" in one for one in capped.warnings)
    assert capped.lr == recommend(target(batch_tokens=32_768)).lr
    free = recommend(target())
    assert capped.lr is not None
    assert free.lr is not None
    # 2.04 octaves below the best batch, at .75 octaves of rate an octave.
    assert math.log2(free.lr / capped.lr) == pytest.approx(0.75 * 2.04, abs=0.4)


def test_a_batch_above_the_critical_one_is_warned_of_with_what_it_wastes() -> None:
    found = recommend(target(batch_tokens=4_000_000))
    assert found.critical_batch_tokens == pytest.approx((463_796, 2_119_333), rel=1e-4)
    warning = next(one for one in found.warnings if "critical batch" in one)
    # 4e6 / (4e6 + 2.12e6) and 4e6 / (4e6 + .464e6).
    assert "65 to 90 %" in warning
    assert "samples are wasted" in warning
    assert not any("critical" in one for one in recommend(target(batch_tokens=2e5)).warnings)


def test_laws_of_the_batch_are_named_with_what_each_says() -> None:
    sources = [one for one in recommend(target()).evidence if one.about == "batch"]
    values = {one.name.partition(":")[0]: one.value for one in sources}
    assert values["step_law"] == pytest.approx(134_788, rel=1e-4)
    assert values["power_lines"] == pytest.approx(249_151, rel=1e-4)
    assert values["zhang"] == pytest.approx(463_796, rel=1e-4)
    assert {one.trust for one in sources} == {"first_hand", "second_hand", "memory"}


def test_where_no_law_is_about_it_the_batch_is_that_of_the_nearest_evidence() -> None:
    places = [(1e8, 4096.0), (2e9, 8192.0)]
    evidence = [
        {"parameters": 1e8, "tokens": tokens, "batch_tokens": batch, "lr": 1e-4}
        for tokens, batch in places
    ]
    found = recommend(target(regime="finetune", evidence=evidence))
    assert found.batch_tokens == 8192
    assert found.batch_90 is None
    assert found.critical_batch_tokens is None
    assert any("no law is about the best batch of finetune" in one for one in found.warnings)


def test_under_mup_the_laws_of_the_batch_hold_as_they_are() -> None:
    optimum = {"parameters": 1e7, "tokens": 1e9, "batch_tokens": 1e5, "lr": 1e-2}
    found = recommend(target(parametrization="mup", width_ratio=4.0, evidence=[optimum]))
    assert found.batch_tokens == recommend(target()).batch_tokens


def test_the_peak_follows_the_batch_that_was_chosen() -> None:
    found = recommend(target())
    law = next(one for one in found.evidence if one.name.startswith("hinge"))
    assert found.batch_tokens is not None
    assert law.lr == pytest.approx(
        best_at(ASKED["parameters"], ASKED["tokens"], found.batch_tokens)
    )
