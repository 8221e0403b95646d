"""Weight decay by its timescale, beta2 by the batch, and the warm-up by both."""

import pytest
from pacesetter_search.recommendation import recommend

from tests.search.recommendation.cases import target


def test_weight_decay_has_the_timescale_of_its_law_and_half_an_octave_of_doubt() -> None:
    found = recommend(target(batch_tokens=51_200))
    assert found.timescale == pytest.approx(1.084 * (2.5e9 / 124e6) ** -0.527)
    assert found.lr is not None
    assert found.weight_decay is not None
    assert found.weight_decay_90 is not None
    assert 51_200 / (found.lr * found.weight_decay * 2.5e9) == pytest.approx(found.timescale)
    low, high = found.weight_decay_90
    assert high / found.weight_decay == pytest.approx(2 ** (1.6449 * 0.5), rel=1e-4)
    assert low * high == pytest.approx(found.weight_decay**2)
    assert found.weight_decay_hidden is None


def test_under_mup_hidden_matrices_decay_by_the_width_more_as_their_rate_is_lower() -> None:
    optimum = {"parameters": 1e7, "tokens": 1e9, "batch_tokens": 1e5, "lr": 1e-2}
    found = recommend(target(parametrization="mup", width_ratio=4.0, evidence=[optimum]))
    assert found.weight_decay is not None
    assert found.weight_decay_hidden == pytest.approx(4.0 * found.weight_decay)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adam"},
        {"regime": "finetune"},
        {"objective": {"name": "accuracy", "mode": "max"}},
    ],
)
def test_no_decay_is_made_up_where_its_law_is_not_about_the_target(
    changes: dict[str, object],
) -> None:
    optimum = {"parameters": 1e8, "tokens": 1e9, "batch_tokens": 1e5, "lr": 1e-3}
    found = recommend(target(evidence=[optimum], **changes))
    assert found.status == "ok"
    assert (found.weight_decay, found.timescale) == (None, None)


@pytest.mark.parametrize(
    ("batch", "beta2"),
    [(134_788, 0.95), (67_394, 0.975), (13_479, 0.995), (1_000_000, 0.95), (128, 0.999)],
)
def test_small_batches_want_a_longer_memory_and_large_ones_keep_the_usual(
    batch: float, beta2: float
) -> None:
    """The best batch is 134,788 tokens: half of it has half of 1 - .95."""
    assert recommend(target(batch_tokens=batch)).beta2 == pytest.approx(beta2, abs=1e-4)


def test_the_warm_up_is_two_percent_of_the_steps_or_twice_what_beta2_remembers() -> None:
    assert recommend(target(batch_tokens=51_200)).warmup_steps == round(0.02 * 48_828)
    longer = recommend(target(batch_tokens=134_788, beta2=0.999))
    assert (longer.beta2, longer.warmup_steps) == (0.999, 2000)
    short = recommend(target(tokens=1e7, batch_tokens=1e5))
    assert (short.steps, short.warmup_steps) == (100, 25)


def test_a_beta2_far_from_what_the_batch_asks_for_is_told() -> None:
    found = recommend(target(batch_tokens=134_788, beta2=0.999))
    assert any("remembers 1000 steps" in one and "0.95, 20 steps" in one for one in found.warnings)
    near = recommend(target(batch_tokens=134_788, beta2=0.97))
    assert not any("remembers" in one for one in near.warnings)


def test_a_warm_up_that_is_fixed_is_kept() -> None:
    found = recommend(target(batch_tokens=51_200, warmup_steps=300))
    assert found.warmup_steps == 300
    assert found.schedule is not None
    assert found.schedule.warmup is not None
    assert found.schedule.warmup.length == 300
    none = recommend(target(batch_tokens=51_200, warmup_steps=0))
    assert (none.warmup_steps, none.schedule and none.schedule.warmup) == (0, None)


def test_momentum_lowers_the_rate_of_sgd_by_what_it_adds_up() -> None:
    optimum = {"parameters": 1e7, "tokens": 1e8, "batch_tokens": 1e4, "lr": 0.1}
    asked = {"optimizer": "sgd", "parameters": 1e7, "tokens": 1e8, "batch_tokens": 1e4}
    plain = recommend(target(**asked, evidence=[optimum]))
    heavy = recommend(target(**asked, momentum=0.9, evidence=[optimum]))
    # What was measured was measured with the target's own momentum.
    assert plain.lr is not None
    assert heavy.lr == pytest.approx(plain.lr, rel=0.02)
    assert heavy.beta2 is None
