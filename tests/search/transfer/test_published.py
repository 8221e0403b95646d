"""Every published law by a number that was printed or worked out by hand, and the traps of their units."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter_search.transfer.published import (
    LAWS,
    AdamSettings,
    Change,
    CompleteP,
    PublishedLaw,
    adam_rescaled,
    best_batch,
    chinchilla_loss,
    effective_tokens,
    steps_over_least,
    tokens_over_least,
    weight_decay_of,
    weight_decay_timescale,
)

factors = st.floats(0.01, 100.0)


def law(name: str) -> PublishedLaw:
    return LAWS[name]


def peak(name: str, parameters: float, tokens: float, batch: float = 1e6) -> float:
    found = law(name).peak
    assert found is not None
    return found(parameters, tokens, batch)


@pytest.mark.parametrize("name", list(LAWS))
def test_every_law_says_where_it_comes_from_and_what_it_counts(name: str) -> None:
    one = law(name)
    assert one.name == name
    assert one.source
    assert one.units
    assert one.holds
    assert one.trust in ("measured", "first_hand", "second_hand", "memory")
    assert one.parameters[0] < one.parameters[1]
    assert one.tokens[0] < one.tokens[1]
    assert one.optimizers
    assert one.regimes


def test_kaplan_s_peak_is_the_one_of_gpt_3_at_its_smallest_size() -> None:
    """125M were trained at 6e-4: .003239 - .0001395 x ln 124e6 = .003239 - .0001395 x 18.636 = 6.39e-4."""
    assert peak("kaplan", 124e6, 1.0) == pytest.approx(6.39e-4, rel=1e-3)
    assert peak("kaplan", 1e12, 1.0) == peak("kaplan", 1e10, 1.0) > 0.0
    assert not law("kaplan").covers(2e10, 1e11)


def test_kaplan_s_batch_has_a_prefactor_of_2e8_and_not_of_the_misprinted_2e18() -> None:
    batch = law("kaplan").batch_at_loss
    assert batch is not None
    assert batch(2.5) == pytest.approx(2.1e8 / 78.37, rel=1e-3)
    assert 1e5 < batch(4.0) < batch(2.0) < 1e8


def test_minicpm_s_batch_is_a_quotient_and_not_the_product_that_some_prints_have() -> None:
    """Its own run had 3.93M tokens a step: the law says so at a loss of 2.505. The product would be 4e11."""
    batch = law("minicpm").batch_at_loss
    assert batch is not None
    assert batch(2.505) == pytest.approx(3.93e6, rel=2e-3)
    assert batch(2.0) > batch(3.0)
    assert peak("minicpm", 1e9, 1e12) == 0.01
    assert law("minicpm").parametrization == "mup"


def test_power_counts_its_batch_in_sequences_of_4096_whatever_the_job_s_are() -> None:
    """A thousand sequences of 512 tokens are 125 of theirs."""
    assert peak("power", 1e9, 1e13, 1024 * 4096) == pytest.approx(1.104e-3, rel=1e-3)
    ours = peak("power", 1e9, 1e11, 1000 * 512)
    assert ours == pytest.approx(125 * 4.6 * 1e11**-0.51)
    assert peak("power", 1e9, 1e11, 1000 * 4096) == pytest.approx(8.0 * ours)


def test_deepseek_counts_compute_and_a_third_more_of_it_lowers_the_rate_by_3_5_percent() -> None:
    """Their M D has attention in it and no embeddings: 6 N D is .75 of it at some sizes, which moves little."""
    assert peak("deepseek", 6.9e9, 2e12) == pytest.approx(4.2e-4, rel=0.05)
    assert peak("deepseek", 6.9e9 * 4 / 3, 2e12) / peak("deepseek", 6.9e9, 2e12) == pytest.approx(
        0.9647, abs=1e-4
    )
    batch = law("deepseek").batch
    assert batch is not None
    assert batch(67e9, 2e12) == pytest.approx(18.9e6, rel=0.1)


def test_porian_s_batch_in_tokens() -> None:
    batch = law("porian").batch
    assert batch is not None
    assert batch(1e9, 2e10) == pytest.approx(1.608e6, rel=2e-3)
    assert peak("porian", 1e9, 2e10) == pytest.approx(2.13e-3, rel=2e-3)


def test_bjorck_gives_ratios_alone() -> None:
    carry = law("bjorck").carry
    assert carry is not None
    assert law("bjorck").peak is None
    assert carry(1.0, Change(tokens=10.0)) == pytest.approx(0.4786, abs=1e-4)
    assert carry(1.0, Change(parameters=10.0)) == pytest.approx(0.5888, abs=1e-4)
    assert carry(3e-4, Change()) == 3e-4


def test_at_a_fixed_batch_the_rate_falls_with_tokens_and_with_its_own_batch_it_rises() -> None:
    """The signs of Bjorck and Step Law differ because one holds the batch and the other does not."""
    carry = law("bjorck").carry
    assert carry is not None
    assert carry(1.0, Change(tokens=2.0)) < 1.0
    assert peak("step_law", 5e8, 2e10) > peak("step_law", 5e8, 1e10)
    held = [peak("hinge", 5e8, tokens, 1e5) for tokens in (1e10, 2e10)]
    moved = [peak("hinge", 5e8, tokens, best_batch(tokens)) for tokens in (1e10, 2e10)]
    assert held[1] < held[0]
    assert moved[1] > moved[0]


def test_power_lines_counts_batches_in_sequences_of_2048_tokens() -> None:
    one = law("power_lines")
    assert one.batch is not None
    assert one.critical_batch is not None
    assert one.batch(1e9, 2.5e9) == pytest.approx(121.66 * 2048, rel=1e-3)
    assert one.critical_batch(1e9, 2.5e9) == pytest.approx(1034.8 * 2048, rel=1e-3)
    # Read as tokens they would be far below a single sequence's gradient: 122 tokens a step.
    assert one.batch(1e9, 2.5e9) > 1e5


def test_zhang_s_critical_batch_agrees_with_the_same_paper_s_law_in_parameters() -> None:
    """At 3.07e9 tokens, where 621.34 N^.087 (N in millions) gives 961 sequences for 151M."""
    critical = law("zhang").critical_batch
    assert critical is not None
    by_parameters = 512 * 621.34 * 151**0.087
    assert critical(151e6, 3.07e9) == pytest.approx(by_parameters, rel=0.05)
    assert critical(151e6, 3.07e9) == critical(1.2e9, 3.07e9)
    # Billions in the place of millions would be 39 sequences.
    assert critical(151e6, 3.07e9) / 512 > 900


def test_weight_decay_follows_from_its_timescale_and_grows_with_the_batch() -> None:
    """20 tokens a parameter: 1.084 x 20^-.527 = .2235 of the run."""
    tau = weight_decay_timescale(20.0)
    assert tau == pytest.approx(0.2235, rel=1e-3)
    one = weight_decay_of(tau, batch=2.5e5, lr=1e-3, tokens=2.5e9)
    assert one == pytest.approx(0.4474, rel=1e-3)
    assert weight_decay_of(tau, batch=5e5, lr=1e-3, tokens=2.5e9) == pytest.approx(2 * one)
    assert 2.5e5 / (1e-3 * one * 2.5e9) == pytest.approx(tau)


def test_chinchilla_s_loss_of_its_own_model() -> None:
    """70B at 1.4e12 tokens: 1.69 + .083 + .163 = 1.937."""
    assert chinchilla_loss(70e9, 1.4e12) == pytest.approx(1.937, abs=2e-3)
    assert chinchilla_loss(124e6, 2.5e9) == pytest.approx(3.369, abs=1e-3)


def test_repeated_data_are_nearly_new_up_to_four_passes_and_worthless_in_the_end() -> None:
    assert effective_tokens(4e9, 4.0) / 4e9 == pytest.approx(0.931, abs=1e-3)
    assert effective_tokens(4e9, 1.0) == 4e9
    assert effective_tokens(1e12, 1000.0) == pytest.approx(16.4e9, rel=1e-6)


def test_adam_s_settings_for_four_times_the_batch() -> None:
    found = adam_rescaled(AdamSettings(lr=1e-3, beta1=0.9, beta2=0.95, eps=1e-8), 4.0)
    assert (found.lr, found.eps) == (2e-3, 5e-9)
    assert found.beta1 == pytest.approx(0.6)
    assert found.beta2 == pytest.approx(0.8)


@pytest.mark.parametrize("factor", [10.0, 100.0, 0.0, -1.0, math.nan])
def test_the_sde_rule_ends_where_an_average_would_hold_less_than_a_step(factor: float) -> None:
    with pytest.raises(ValueError, match=r"the rule holds for|give a factor above 0"):
        adam_rescaled(AdamSettings(lr=1e-3, beta1=0.9, beta2=0.95, eps=1e-8), factor)


@given(st.floats(0.05, 3.0), st.floats(0.05, 3.0))
def test_the_sde_rule_in_two_moves_is_the_rule_in_one(first: float, second: float) -> None:
    start = AdamSettings(lr=1e-3, beta1=0.9, beta2=0.95, eps=1e-8)
    twice = adam_rescaled(adam_rescaled(start, first), second)
    once = adam_rescaled(start, first * second)
    for name in ("lr", "beta1", "beta2", "eps"):
        assert getattr(twice, name) == pytest.approx(getattr(once, name), rel=1e-9)


def test_the_batch_moves_sgd_in_a_line_and_adam_by_its_root() -> None:
    linear, root = law("sgd_linear").carry, law("adam_sde").carry
    assert linear is not None
    assert root is not None
    assert linear(0.1, Change(batch=4.0)) == pytest.approx(0.4)
    assert root(0.1, Change(batch=4.0)) == pytest.approx(0.2)
    assert law("sgd_linear").concerns("vision", "SGD", "standard")
    assert not law("sgd_linear").concerns("pretrain", "adamw", "standard")


def test_scion_s_exponents() -> None:
    one = law("scion")
    assert one.carry is not None
    assert one.carry_batch is not None
    assert one.carry(1.0, Change(batch=2.0)) == pytest.approx(1.537, abs=1e-3)
    assert one.carry(1.0, Change(tokens=2.0)) == pytest.approx(0.678, abs=1e-3)
    assert one.carry_batch(Change(tokens=2.0)) == pytest.approx(1.366, abs=1e-3)


@given(st.sampled_from(["bjorck", "scion", "adam_sde", "sgd_linear"]), factors, factors)
def test_ratio_laws_compose(name: str, first: float, second: float) -> None:
    carry = law(name).carry
    assert carry is not None
    once = carry(1e-3, Change(first * second, first * second, first * second))
    one, two = Change(first, first, first), Change(second, second, second)
    assert carry(carry(1e-3, one), two) == pytest.approx(once, rel=1e-9)


def test_what_a_batch_costs_at_the_critical_one() -> None:
    assert (steps_over_least(1e6, 1e6), tokens_over_least(1e6, 1e6)) == (2.0, 2.0)
    assert tokens_over_least(3e6, 1e6) == 4.0


def test_complete_p_at_nine_times_the_width_and_four_times_the_depth() -> None:
    """MiniCPM: base rate .01 at base width 256, width 2304: hidden matrices run at 1.11e-3."""
    one = CompleteP(width=2304 / 256, depth=4.0)
    assert 0.01 * one.hidden_lr == pytest.approx(1.11e-3, rel=2e-3)
    assert one.hidden_lr * one.hidden_weight_decay == 1.0
    assert one.residual == 0.25
    assert one.output == pytest.approx(1 / 9)
    assert one.hidden_eps == pytest.approx(1 / 36)
    assert one.hidden_deviation == pytest.approx(1 / 3)
    base = CompleteP(width=1.0)
    assert {base.hidden_lr, base.hidden_eps, base.residual, base.output} == {1.0}


def test_lora_s_rate_is_ten_times_that_of_full_fine_tuning() -> None:
    one = law("lora")
    assert one.carry is not None
    assert one.carry(2e-5, Change()) == pytest.approx(2e-4)
    assert one.regimes == {"lora"}
