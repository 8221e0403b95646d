"""Feedback rules at work in whole runs: published vectors, bounds, probes, restarts, and what the service may send."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.errors import LearningRateConflict
from pacesetter.feedback import Hypergradient
from pacesetter.protocol import Acknowledgement, Measurements, Segment, SegmentEnded
from pacesetter.schedules import Constant, Linear, Schedule
from torch import Tensor, nn

from tests.support.service import ScriptedTransport, after_end, constant, segment
from tests.support.training import attach

STEPS = 6
WIDE = {"lowest": 1e-4, "highest": 1e3, "max_change_per_step": 100.0, "rise": 1e6}


class Quadratic(nn.Module):
    """``.5 (x1^2 + 10 x2^2)`` from (1, 1), each coordinate a tensor of its own if ``split``."""

    def __init__(self, *, split: bool = False) -> None:
        super().__init__()
        start = torch.ones(2, dtype=torch.float64)
        parts = list(start.chunk(2)) if split else [start]
        self.parts = nn.ParameterList([nn.Parameter(part.clone()) for part in parts])

    def forward(self) -> Tensor:
        x = torch.cat(list(self.parts))
        return 0.5 * (x[0] ** 2 + 10.0 * x[1] ** 2)

    def values(self) -> list[float]:
        return [float(each) for part in self.parts for each in part.detach()]


class Nothing:
    """A loader of empty batches."""

    def batch_at(self, position: int) -> int:
        return position


def regulated(length: int = STEPS, **rule: Any) -> Segment:
    feedback = Hypergradient.model_validate({**WIDE, **rule})
    return segment(1, 0, when="now", length=length).model_copy(update={"feedback": feedback})


def run_quadratic(
    make: Callable[[Any], torch.optim.Optimizer],
    segments: list[Segment],
    *,
    split: bool = False,
    steps: int = STEPS,
    **settings: Any,
) -> tuple[list[float], list[list[float]], ScriptedTransport]:
    """Return the learning rate of each step, the weights after it, and what the service was told."""
    model = Quadratic(split=split)
    transport = settings.pop("transport", None) or ScriptedTransport(segments=segments)
    described = {"limits": pacesetter.Limits(max_multiplier=1e6), **settings}
    run = attach(
        model,
        make(model.parameters()),
        transport,
        budget=pacesetter.Steps(steps),
        **described,
    )
    weights = []
    for _ in run.batches(Nothing()):
        loss = model()
        loss.backward()
        run.step(loss)
        weights.append(model.values())
    run.finish()
    rates = [float(lr) for each in transport.of(Measurements) for lr in each.columns["lr"] if lr]
    return rates, weights, transport


def sgd(parameters: Any, **changes: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, **changes)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


# -- published vectors (alpha_0 = .01) --


def test_sgd_hd_by_the_published_rule() -> None:
    rates, weights, _ = run_quadratic(sgd, [regulated(form="additive", beta=1e-4)])
    assert rates == pytest.approx(
        [0.01, 0.0190990000, 0.025748119107, 0.029776402354, 0.031915781451, 0.032978691357],
        abs=1e-11,
    )
    assert weights[0] == pytest.approx([0.99, 0.9], abs=1e-12)
    assert weights[1] == pytest.approx([0.971091990, 0.728109000], abs=1e-9)
    assert weights[2] == pytest.approx([0.946088197778, 0.540634627451], abs=1e-11)


def test_with_momentum_the_direction_is_that_of_the_heavy_ball() -> None:
    rates, weights, _ = run_quadratic(
        lambda parameters: sgd(parameters, momentum=0.9), [regulated(form="additive", beta=1e-5)]
    )
    assert rates[:4] == pytest.approx([0.01, 0.0109099, 0.012194740527, 0.013196287364], abs=1e-11)
    assert weights[1] == pytest.approx([0.969380289, 0.703621800], abs=1e-9)


def test_the_multiplicative_form_has_no_scale() -> None:
    expected = [0.01, 0.010199990217, 0.010403977462, 0.010612040838]
    rates, _, _ = run_quadratic(sgd, [regulated(form="multiplicative", beta=0.02)])
    assert rates[:4] == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("split", [False, True])
def test_adam_hd_takes_one_product_over_all_tensors_and_then_updates(split: bool) -> None:
    rates, weights, _ = run_quadratic(adam, [regulated(form="additive", beta=1e-4)], split=split)
    assert rates[:4] == pytest.approx(
        [0.01, 0.011088999938, 0.012165509665, 0.013228115738], abs=1e-9
    )
    # The vectors are of an Adam whose epsilon is not corrected for bias; torch's is, which moves the eighth digit.
    assert weights[1] == pytest.approx([0.978914050639, 0.978914045551], abs=1e-8)
    # The released code updates the rate between two tensors, so that the first one steps at another rate.
    assert weights[1] != pytest.approx([0.979903778542, 0.978914045551], abs=1e-6)


# -- what holds whatever the rule wants --


def test_the_multiplier_stays_within_its_bounds_and_its_change_per_step() -> None:
    rule = {"lowest": 0.5, "highest": 1.5, "max_change_per_step": 1.1, "rise": 1e6}
    rates, _, _ = run_quadratic(sgd, [regulated(40, form="additive", beta=1e-2, **rule)], steps=40)
    assert max(rates) == pytest.approx(0.015)
    assert min(rates) >= 0.005 - 1e-12
    ratios = [max(a / b, b / a) for a, b in pairwise(rates)]
    assert max(ratios) == pytest.approx(1.1)


def test_a_step_size_that_overflows_alone_is_tamed() -> None:
    """The published rule overflows here at beta = 1e-2."""
    rates, weights, _ = run_quadratic(
        sgd,
        [
            regulated(
                200, form="additive", beta=1e-2, **{**WIDE, "max_change_per_step": 1.1, "rise": 1.5}
            )
        ],
        steps=200,
    )
    assert all(abs(each) < 2.0 for pair in weights for each in pair)
    assert max(map(abs, weights[-1])) < 1e-3
    assert rates[-1] < 0.4


def test_the_rule_multiplies_the_schedule() -> None:
    rising = regulated(10, form="multiplicative", beta=0.02).model_copy(
        update={"policy": Schedule(length=10, body=Linear())}
    )
    rates, _, transport = run_quadratic(sgd, [rising], steps=10)
    policy = Schedule(length=10, body=Linear())
    multipliers = [rate / 0.01 / policy.at(step) for step, rate in enumerate(rates)]
    assert multipliers[0] == 1.0
    assert all(b > a for a, b in pairwise(multipliers))
    (rows,) = transport.of(Measurements)
    assert rows.columns["multiplier"] == pytest.approx([rate / 0.01 for rate in rates])


def test_without_a_rule_the_schedule_alone_holds_again() -> None:
    plain = segment(2, 1, start=5, length=5)
    rates, _, _ = run_quadratic(sgd, [regulated(5, beta=0.02), plain], steps=10)
    assert rates[4] > 0.0103
    assert rates[5:] == [0.01] * 5


def test_a_main_segment_with_the_same_rule_goes_on_with_it() -> None:
    second = regulated(5, beta=0.02).model_copy(
        update={"seq": 2, "after": 1, "start": 5, "when": "end"}
    )
    whole, _, _ = run_quadratic(sgd, [regulated(10, beta=0.02)], steps=10)
    halves, _, _ = run_quadratic(sgd, [regulated(5, beta=0.02), second], steps=10)
    assert halves == whole


def test_a_probe_leaves_no_trace_on_the_rule_of_the_main_line() -> None:
    probe = segment(2, 1, kind="probe", start=4, length=3, policy=constant(3.0), data="rewind")
    rest = regulated(6, beta=0.02).model_copy(
        update={"seq": 3, "after": 2, "start": 4, "when": "end"}
    )
    transport = ScriptedTransport(after_end({2: rest}), [regulated(4, beta=0.02), probe])
    rates, _, _ = run_quadratic(sgd, [], steps=10, transport=transport)
    whole, _, _ = run_quadratic(sgd, [regulated(10, beta=0.02)], steps=10)
    assert rates[4:7] == [0.03] * 3
    assert rates[:4] + rates[7:] == whole


def test_a_rollback_takes_the_multiplier_of_the_state_with_it() -> None:
    first = regulated(3, beta=0.02).model_copy(update={"save_end_as": "early"})
    second = regulated(3, beta=0.02).model_copy(
        update={"seq": 2, "after": 1, "start": 3, "when": "end"}
    )
    again = regulated(7, beta=0.02).model_copy(
        update={"seq": 3, "after": 2, "start": 3, "when": "end", "source": "early"}
    )
    rates, weights, _ = run_quadratic(sgd, [first, second, again], steps=10)
    assert len(rates) == 13
    # The step after it moves nothing, as the direction that led there is gone; then the rule goes on from there.
    assert rates[6] == rates[2]
    assert rates[2] < rates[7] < rates[5] * 1.001
    assert weights[6][1] == pytest.approx(weights[2][1] * (1.0 - 10.0 * rates[6]))


def test_a_run_that_resumes_takes_its_multiplier_with_it() -> None:
    model = Quadratic()
    optimizer = sgd(model.parameters())
    transport = ScriptedTransport(segments=[regulated(10, beta=0.02)])
    settings: dict[str, Any] = {
        "budget": pacesetter.Steps(10),
        "limits": pacesetter.Limits(max_multiplier=1e6),
    }
    run = attach(model, optimizer, transport, **settings)
    for _ in run.batches(Nothing()):
        loss = model()
        loss.backward()
        run.step(loss)
        if run.position == 5:
            break
    state = run.state_dict()
    multiplier = state["feedback"]["multiplier"]
    assert multiplier == pytest.approx(1.02**4, rel=1e-3)
    run.finish()
    resumed = attach(model, optimizer, ScriptedTransport(), resume=state, **settings)
    rates = []
    for _ in resumed.batches(Nothing()):
        loss = model()
        loss.backward()
        resumed.step(loss)
        rates.append(float(optimizer.param_groups[0]["lr"]))
    # The optimizer shows the rate of the step to come: the first one moves nothing, then the rule goes on.
    assert len(rates) == 5
    assert rates[0] == pytest.approx(0.01 * multiplier)
    assert rates[-1] > rates[0]


def test_another_hand_on_the_rate_is_still_found() -> None:
    model = Quadratic()
    optimizer = sgd(model.parameters())
    run = attach(
        model,
        optimizer,
        ScriptedTransport(segments=[regulated(10, beta=0.02)]),
        budget=pacesetter.Steps(10),
        limits=pacesetter.Limits(max_multiplier=1e6),
    )
    with pytest.raises(LearningRateConflict, match=r"was set to 0\.5"):
        for position in run.batches(Nothing()):
            loss = model()
            loss.backward()
            if position == 3:
                optimizer.param_groups[0]["lr"] = 0.5
            run.step(loss)


# -- what may be sent --


@pytest.mark.parametrize(
    ("limits", "rule", "code"),
    [
        ({"max_multiplier": 2.0}, {"highest": 2.5}, "ABOVE_LIMIT"),
        ({"max_multiplier": 2.0}, {"highest": 2.0}, None),
        ({"min_multiplier": 0.5}, {"highest": 1.0, "lowest": 0.4}, "BELOW_LIMIT"),
        ({"min_multiplier": 0.5}, {"highest": 1.0, "lowest": 0.5}, None),
        (
            {"max_change_per_step": 1.05},
            {"highest": 1.0, "max_change_per_step": 1.1},
            "CHANGE_TOO_FAST",
        ),
        ({"max_change_per_step": 1.2}, {"highest": 1.0, "max_change_per_step": 1.1}, None),
        ({}, {"highest": 1.01}, "ABOVE_LIMIT"),
    ],
)
def test_the_limits_are_held_against_the_bounds_of_the_rule(
    limits: dict[str, Any], rule: dict[str, Any], code: str | None
) -> None:
    _, _, transport = run_quadratic(sgd, [regulated(**rule)], limits=pacesetter.Limits(**limits))
    (answer,) = transport.of(Acknowledgement)
    assert answer.code == code
    assert answer.status == ("applied" if code is None else "refused")


def test_a_job_says_which_rules_it_can_run() -> None:
    _, _, transport = run_quadratic(sgd, [])
    assert transport.spec is not None
    assert "hypergradient" in transport.spec.capabilities.feedback


def test_the_first_step_of_a_regulated_segment_is_verified() -> None:
    _, _, transport = run_quadratic(sgd, [regulated(start=0.5)])
    (answer,) = transport.of(Acknowledgement)
    assert [group.lr_after for group in answer.groups] == pytest.approx([0.005])
    (ended,) = transport.of(SegmentEnded)
    assert ended.outcome == "completed"


def test_a_rule_that_cannot_begin_within_its_bounds_is_no_rule() -> None:
    with pytest.raises(ValueError, match=r"start 2 is not within lowest 0.1 and highest 1"):
        Hypergradient(start=2.0)


def test_a_schedule_of_one_value_and_a_rule_make_a_segment_that_survives_json() -> None:
    sent = regulated(beta=0.03).model_copy(
        update={"policy": Schedule(length=STEPS, body=Constant())}
    )
    assert Segment.model_validate_json(sent.model_dump_json(by_alias=True)) == sent


def test_fedhyper_g_is_the_additive_rule_around_one_whose_steps_are_rounds() -> None:
    """A server of federated rounds: the gradient is the clients' aggregated update."""
    updates = [(0.1, 0.2), (0.2, 0.1), (-0.3, 0.1), (3.0, 1.0)]
    weights = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    server = torch.optim.SGD([weights], lr=1.0)
    published = {"lowest": 1 / 3, "highest": 3.0, "max_change_per_step": 9.0, "rise": 1e6}
    sent = regulated(4, form="additive", beta=1.0, **published)
    run = attach(
        nn.ParameterList([weights]),
        server,
        ScriptedTransport(segments=[sent]),
        budget=pacesetter.Steps(4),
        limits=pacesetter.Limits(max_multiplier=3.0),
    )
    rates, places = [], []
    for position in run.batches(Nothing()):
        weights.grad = torch.tensor(updates[position], dtype=torch.float64)
        before = weights.detach().clone()
        run.step(torch.tensor(1.0))
        rates.append(float((before - weights.detach())[0]) / updates[position][0])
        places.append([-float(each) for each in weights.detach()])
    assert rates == pytest.approx([1.0, 1.04, 0.99, 1 / 3])
    assert places[1] == pytest.approx([0.308, 0.304])


def test_a_scaler_changes_nothing_and_a_skipped_step_moves_nothing() -> None:
    """Gradients are seen unscaled; the scaler skips the step whose gradient overflows."""

    def multipliers(scaler: Any, broken: int | None) -> list[float]:
        model = Quadratic()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        transport = ScriptedTransport(segments=[regulated(beta=0.05)])
        run = attach(
            model,
            optimizer,
            transport,
            budget=pacesetter.Steps(STEPS),
            limits=pacesetter.Limits(max_multiplier=1e6),
            scaler=scaler,
        )
        for taken in range(20):
            if run.done:
                break
            loss = model()
            scaled = loss if scaler is None else scaler.scale(loss)
            scaled.backward()
            if taken == broken:
                for part in model.parts:
                    assert part.grad is not None
                    part.grad.fill_(torch.inf)
            run.step(loss.detach())
        run.finish()
        rows = transport.of(Measurements)
        return [float(value) for each in rows for value in each.columns["multiplier"] if value]

    plain = multipliers(None, None)
    scaled = multipliers(torch.amp.GradScaler("cpu", init_scale=1024.0), None)
    skipped = multipliers(torch.amp.GradScaler("cpu", init_scale=1024.0), 3)
    assert len(plain) == STEPS
    assert plain[-1] > plain[0]
    assert scaled == pytest.approx(plain, rel=1e-9)
    assert skipped == pytest.approx(plain, rel=1e-9)
