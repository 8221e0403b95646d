"""What holds for any target and any evidence."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pacesetter.protocol import Recommendation
from pacesetter_search.memory import RunRecord
from pacesetter_search.recommendation import recommend
from pacesetter_search.transfer.hinge import hinge_batch

from tests.search.recommendation.cases import best_at, bowl, run, target, width_of

quick = settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))

sizes = st.floats(25.0, 33.0).map(lambda place: 2.0**place)
ratios = st.floats(2.0, 8.0).map(lambda place: 2.0**place)
shares = st.floats(-6.0, 0.0).map(lambda place: 2.0**place)


@st.composite
def optima(draw: st.DrawFn, most: int = 6, apart: float = 1.0) -> list[dict[str, Any]]:
    """Optima within ``apart`` octaves of the law."""
    found = []
    for _ in range(draw(st.integers(1, most))):
        parameters = draw(sizes)
        tokens = parameters * draw(ratios)
        batch = max(1.0, hinge_batch(tokens) * draw(shares))
        lr = best_at(parameters, tokens, batch, draw(st.floats(-apart, apart)))
        sd = draw(st.floats(0.05, 0.5))
        place = {"parameters": parameters, "tokens": tokens, "batch_tokens": batch}
        found.append({**place, "lr": lr, "sd_octaves": sd})
    return found


def middle(found: Recommendation) -> float:
    assert found.lr_90 is not None
    return 0.5 * (math.log2(found.lr_90[0]) + math.log2(found.lr_90[1]))


def same(one: Recommendation, other: Recommendation) -> None:
    """Check that two answers are alike but for the last digits and the order of sources."""
    assert one.lr == pytest.approx(other.lr, rel=1e-9)
    assert one.lr_90 == pytest.approx(other.lr_90, rel=1e-9)
    assert one.batch_tokens == other.batch_tokens
    assert one.weight_decay == pytest.approx(other.weight_decay, rel=1e-9)
    weights = [sorted((s.name, round(s.weight, 9)) for s in each.evidence) for each in (one, other)]
    assert weights[0] == weights[1]


@quick
@given(optima(), st.randoms())
def test_the_order_of_evidence_is_irrelevant(evidence: list[dict[str, Any]], random: Any) -> None:
    named = [{**one, "name": f"optimum of {place}"} for place, one in enumerate(evidence)]
    mixed = list(named)
    random.shuffle(mixed)
    same(recommend(target(evidence=named)), recommend(target(evidence=mixed)))


@quick
@given(st.randoms())
def test_the_order_of_records_is_irrelevant(random: Any) -> None:
    records = [
        *bowl(1e-3, 5e-4, 1e-3, 2e-3),
        run(4e-3, None, id="lost"),
        run(1e-3, 3.2, id="other", family="other", tokens=1e9),
    ]
    mixed = list(records)
    random.shuffle(mixed)
    same(
        recommend(target(), records),
        recommend(target(), mixed),
    )


OTHERS: tuple[dict[str, Any], ...] = (
    {"regime": "finetune"},
    {"regime": "lora"},
    {"regime": "vision"},
    {"optimizer": "sgd"},
    {"parametrization": "mup"},
    {"workload": {"objective": {"name": "accuracy", "mode": "max"}}},
)


@quick
@given(
    st.lists(st.sampled_from(OTHERS), min_size=1, max_size=4),
    st.floats(1e-6, 1.0),
    st.booleans(),
)
def test_evidence_of_another_kind_never_moves_the_answer(
    others: list[dict[str, Any]], lr: float, own: bool
) -> None:
    mine: list[RunRecord] = bowl(1e-3, 5e-4, 1e-3, 2e-3) if own else []
    apart = [
        each
        for place, changes in enumerate(others)
        for each in (
            *bowl(lr, lr, 2.0 * lr, **changes),
            run(lr / 2, None, id=f"lost {place}", **changes),
        )
    ]
    alone = recommend(target(), mine)
    found = recommend(target(), [*mine, *apart])
    for name in type(found).model_fields:
        if name != "warnings":
            assert getattr(found, name) == getattr(alone, name), name


@quick
@given(optima())
def test_weights_add_up_to_one_at_most(evidence: list[dict[str, Any]]) -> None:
    found = recommend(target(evidence=evidence))
    assert sum(one.weight for one in found.evidence) <= 1.15
    assert sum(one.loss_weight for one in found.evidence) <= 1.0 + 1e-9


@quick
@given(optima(most=4, apart=0.3), optima(most=1, apart=0.3))
def test_another_optimum_does_not_widen_the_interval(
    evidence: list[dict[str, Any]], another: list[dict[str, Any]]
) -> None:
    """But for what a surprise teaches of hinge and scatter, a third of an octave at most where runs are alike."""
    few = recommend(target(evidence=evidence))
    more = recommend(target(evidence=[*evidence, *another]))
    assert width_of(more) <= width_of(few) + 0.35


@quick
@given(sizes, ratios)
def test_evidence_narrows_what_the_laws_alone_say(parameters: float, ratio: float) -> None:
    tokens = parameters * ratio
    place = {"parameters": parameters, "tokens": tokens, "batch_tokens": hinge_batch(tokens)}
    lr = best_at(parameters, tokens, hinge_batch(tokens))
    alone = recommend(target(**place))
    backed = recommend(target(**place, evidence=[{**place, "lr": lr}]))
    assert width_of(backed) < 0.7 * width_of(alone)


@quick
@given(sizes, ratios, st.floats(-7.0, -1.0), st.floats(0.5, 1.0))
def test_below_the_hinge_a_larger_batch_raises_the_peak(
    parameters: float, ratio: float, place: float, more: float
) -> None:
    tokens = parameters * ratio
    small = max(2.0, hinge_batch(tokens) * 2.0 ** (place - more))
    asked = {"parameters": parameters, "tokens": tokens}
    low = middle(recommend(target(**asked, batch_tokens=small)))
    high = middle(recommend(target(**asked, batch_tokens=small * 2.0**more)))
    assert high > low


@quick
@given(sizes, ratios, st.floats(0.1, 2.0))
def test_a_longer_run_of_one_batch_wants_a_lower_peak(
    parameters: float, ratio: float, more: float
) -> None:
    tokens = parameters * ratio
    asked = {"parameters": parameters, "batch_tokens": max(1.0, hinge_batch(tokens) / 16)}
    short = middle(recommend(target(**asked, tokens=tokens)))
    long = middle(recommend(target(**asked, tokens=tokens * 2.0**more)))
    assert long < short


@quick
@given(sizes, ratios, st.floats(-18.0, -4.0), st.floats(-3.0, 3.0))
def test_rates_in_another_unit_move_the_answer_by_it_where_no_law_holds_it(
    parameters: float, ratio: float, log2_lr: float, octaves: float
) -> None:
    """Twice the rate that was measured is twice the answer, but for the pull of a wide anchor."""
    tokens = parameters * ratio
    place = {"parameters": parameters, "tokens": tokens, "batch_tokens": hinge_batch(tokens)}
    middles = []
    for lr in (2.0**log2_lr, 2.0 ** (log2_lr + octaves)):
        evidence = [{**place, "lr": lr}]
        middles.append(middle(recommend(target(**place, regime="finetune", evidence=evidence))))
    assert middles[1] - middles[0] == pytest.approx(octaves, abs=0.01 + 0.05 * abs(octaves))


@quick
@given(sizes, ratios, st.sampled_from([512.0, 2048.0, 4096.0]))
def test_a_batch_counted_in_steps_is_the_batch_counted_in_tokens(
    parameters: float, ratio: float, sequence: float
) -> None:
    tokens = parameters * ratio
    steps = max(1, round(tokens / (256 * sequence)))
    by_steps = recommend(target(parameters=parameters, tokens=tokens, steps=steps))
    by_tokens = recommend(target(parameters=parameters, tokens=tokens, batch_tokens=tokens / steps))
    assert by_steps.lr == by_tokens.lr
    assert by_steps.steps == steps


@quick
@given(sizes, ratios, st.sampled_from(["pretrain", "finetune"]), optima(most=3))
def test_answers_are_ordered_numbers_and_are_read_back(
    parameters: float, ratio: float, regime: str, evidence: list[dict[str, Any]]
) -> None:
    asked = {"parameters": parameters, "tokens": parameters * ratio}
    found = recommend(target(**asked, regime=regime, evidence=evidence))
    assert found.lr is not None
    assert found.lr_50 is not None
    assert found.lr_90 is not None
    assert 0.0 < found.lr_90[0] < found.lr_50[0] < found.lr_50[1] < found.lr_90[1]
    assert found.lr < found.lr_50[1]
    assert found.schedule is not None
    assert found.schedule.length == found.steps
    if found.loss is not None:
        low, high = found.loss.interval_90
        assert 0.0 < low < found.loss.interval_50[0] < found.loss.mean
        assert found.loss.mean < found.loss.interval_50[1] < high
    assert Recommendation.model_validate_json(found.model_dump_json()) == found
