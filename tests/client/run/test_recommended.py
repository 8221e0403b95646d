"""A job on a recommendation: its schedule, its rates, its decay, and what does not fit it."""

from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.protocol import Recommendation, Target
from pacesetter.schedules import Cosine, Schedule
from pacesetter_search.recommendation import Target as Question
from pacesetter_search.recommendation import recommend
from torch import nn

from tests.support.service import ScriptedTransport
from tests.support.training import Noisy, Regression

BATCH = 8.0
"""Tokens of a step of the tiny trainings: eight samples."""

STEPS = 400


def recommended(**changes: Any) -> Recommendation:
    """Return a real answer: of a family whose best peak was measured."""
    place = {"parameters": 1e4, "tokens": STEPS * BATCH, "batch_tokens": BATCH}
    optimum = {**place, "lr": 0.02, "sd_octaves": 0.0}
    asked = {**place, "family": "tiny", "evidence": [optimum], **changes}
    return recommend(Question.model_validate(asked)).model_copy(update={"id": "rec_1"})


ANSWER = recommended()


def model_and_optimizer(**options: Any) -> tuple[Noisy, torch.optim.Optimizer]:
    model = Noisy()
    return model, torch.optim.AdamW(model.parameters(), **{"lr": 0.1, **options})


def attach(
    optimizer: Any,
    model: nn.Module,
    transport: ScriptedTransport | None = None,
    answer: Recommendation = ANSWER,
    **settings: Any,
) -> pacesetter.Run:
    return pacesetter.attach(
        model,
        optimizer,
        name="recommended",
        external_id="recommended",
        **{"budget": pacesetter.Steps(STEPS), **settings},
        recommendation=answer,
        transport=transport or ScriptedTransport(),
    )


def first_step(run: pacesetter.Run, model: nn.Module, tokens: int | None = 8) -> None:
    for inputs, targets in run.batches(Regression()):
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        run.step(loss, tokens=tokens)
        break


def test_the_schedule_is_the_base_and_the_peak_the_first_group_s_rate() -> None:
    model, optimizer = model_and_optimizer()
    transport = ScriptedTransport()
    run = attach(optimizer, model, transport)
    first_step(run, model)
    spec = transport.spec
    assert spec is not None
    assert spec.base == ANSWER.schedule
    assert spec.recommendation == "rec_1"
    assert [group.base_lr for group in spec.groups] == [ANSWER.lr]
    assert ANSWER.lr is not None
    # The rate of the second step: in the warm-up, as a share of the recommended peak.
    assert run.learning_rates()["optimizer/group0"] == pytest.approx(
        ANSWER.lr * spec.base.at(1), rel=1e-12
    )


def test_the_job_trains_what_was_asked_for() -> None:
    model, optimizer = model_and_optimizer()
    transport = ScriptedTransport()
    first_step(attach(optimizer, model, transport), model)
    assert transport.spec is not None
    assert transport.spec.regime == "pretrain"
    assert transport.spec.workload == ANSWER.target.workload()
    assert (transport.spec.workload.family, transport.spec.workload.batch_tokens) == ("tiny", 8.0)


def test_a_batch_that_was_chosen_is_told_with_the_job() -> None:
    answer = recommended(batch_tokens=None, regime="finetune", steps=STEPS)
    assert answer.target.batch_tokens is None
    model, optimizer = model_and_optimizer()
    transport = ScriptedTransport()
    first_step(attach(optimizer, model, transport, answer), model)
    assert transport.spec is not None
    assert transport.spec.workload.batch_tokens == 8.0
    assert transport.spec.regime == "finetune"


def test_ratios_between_groups_stay() -> None:
    body, head = nn.Linear(4, 4), nn.Linear(4, 1)
    groups = [
        {"params": body.parameters(), "lr": 0.1},
        {"params": head.parameters(), "lr": 0.025},
    ]
    run = attach(torch.optim.AdamW(groups), nn.Sequential(body, head))
    lr = ANSWER.lr
    assert lr is not None
    spec_lrs = run._rates.base_lrs
    assert spec_lrs == pytest.approx({"optimizer/group0": lr, "optimizer/group1": lr / 4})


def test_groups_with_an_lr_scale_keep_it_whatever_rate_they_had() -> None:
    body, head = nn.Linear(4, 4), nn.Linear(4, 1)
    groups = [
        {"params": body.parameters(), "lr": 1.0, "lr_scale": 0.125, "weight_decay": 0.1},
        {"params": head.parameters(), "lr": 1.0, "weight_decay": 0.1},
    ]
    optimizer = torch.optim.AdamW(groups)
    run = attach(optimizer, nn.Sequential(body, head), recommended_weight_decay=True)
    lr, decay = ANSWER.lr, ANSWER.weight_decay
    assert lr is not None
    assert decay is not None
    assert run._rates.base_lrs == pytest.approx(
        {"optimizer/group0": lr / 8, "optimizer/group1": lr}
    )
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    # Rate times decay is the same in both.
    assert decays == pytest.approx([8 * decay, decay])


def test_weight_decay_is_set_where_asked_for_and_where_there_is_any() -> None:
    body, gains = nn.Linear(4, 4), nn.Linear(4, 1)
    groups = [
        {"params": body.parameters(), "weight_decay": 0.1},
        {"params": gains.parameters(), "weight_decay": 0.0},
    ]
    for asked, expected in ((False, 0.1), (True, ANSWER.weight_decay)):
        optimizer = torch.optim.AdamW(groups, lr=0.1)
        run = attach(optimizer, nn.Sequential(body, gains), recommended_weight_decay=asked)
        decays = [group["weight_decay"] for group in optimizer.param_groups]
        assert decays == [expected, 0.0]
        run.finish()


def test_a_budget_in_tokens_takes_the_schedule_in_tokens() -> None:
    model, optimizer = model_and_optimizer()
    transport = ScriptedTransport()
    budget = pacesetter.Tokens(STEPS * BATCH)
    run = attach(optimizer, model, transport, budget=budget)
    first_step(run, model)
    assert transport.spec is not None
    assert ANSWER.schedule is not None
    assert ANSWER.schedule.warmup is not None
    base = transport.spec.base
    assert base.length == STEPS * 8
    assert base.warmup is not None
    assert base.warmup.length == ANSWER.schedule.warmup.length * 8
    for step in (0, 5, 100, 399):
        assert base.at(8 * step) == pytest.approx(ANSWER.schedule.at(step), abs=1e-12)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"budget": pacesetter.Steps(500)},
            "the budget is 500 steps and the recommendation is for 400 of 8 tokens",
        ),
        ({"budget": pacesetter.Tokens(5000)}, "the budget is 5000 tokens and .* for 3200"),
        ({"base": Schedule(length=STEPS, body=Cosine())}, "leave one of them out"),
        ({"target": Target(batch_tokens=16)}, "a step has 16 tokens and .* for 8"),
        ({"recommendation": {"lr": 1.0}}, "expected what pacesetter.recommend"),
        ({"recommendation": recommended(evidence=[], regime="lora")}, "nothing was recommended"),
        (
            {"recommendation": recommended(optimizer="adam"), "recommended_weight_decay": True},
            "no weight decay was recommended for adam in pretrain",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(
    settings: dict[str, Any], words: str
) -> None:
    model, optimizer = model_and_optimizer()
    given = {"answer": settings.pop("recommendation", ANSWER), **settings}
    with pytest.raises(pacesetter.ConfigurationError, match=words):
        attach(optimizer, model, **given)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert not optimizer._optimizer_step_pre_hooks


def test_a_rate_of_another_optimizer_is_refused() -> None:
    model = Noisy()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(pacesetter.ConfigurationError, match=r"for adamw and .* is SGD"):
        attach(sgd, model)
    adam = torch.optim.Adam(model.parameters(), lr=0.1)
    attach(adam, model).finish()


def test_decay_without_a_recommendation_or_a_decaying_group_is_refused() -> None:
    model, optimizer = model_and_optimizer(weight_decay=0.0)
    with pytest.raises(
        pacesetter.ConfigurationError, match="no parameter group has a weight decay"
    ):
        attach(optimizer, model, recommended_weight_decay=True)
    with pytest.raises(pacesetter.ConfigurationError, match="takes a recommendation"):
        pacesetter.attach(
            model,
            optimizer,
            name="x",
            budget=pacesetter.Steps(10),
            recommended_weight_decay=True,
            transport=ScriptedTransport(),
        )


def test_a_first_step_of_another_batch_is_refused_before_the_weights_move() -> None:
    model, optimizer = model_and_optimizer()
    run = attach(optimizer, model)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(pacesetter.ConfigurationError, match="the first step has 16 tokens and"):
        first_step(run, model, tokens=16)
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("tokens", [8, None])
def test_a_first_step_that_fits_or_does_not_say_goes_on(tokens: int | None) -> None:
    model, optimizer = model_and_optimizer()
    run = attach(optimizer, model)
    for number, (inputs, targets) in enumerate(run.batches(Regression())):
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        # Only the first one is judged: batches may ramp up.
        assert run.step(loss, tokens=tokens if number == 0 else tokens and 16)
        if number == 3:
            break


def test_a_resumed_run_keeps_the_rates_and_the_decay_that_it_has() -> None:
    model, optimizer = model_and_optimizer(weight_decay=0.1)
    run = attach(optimizer, model)
    first_step(run, model)
    state = run.state_dict()
    run.finish()
    optimizer.param_groups[0]["lr"] = 0.0  # as a loaded state may show it
    moved = ANSWER.model_copy(update={"lr": 0.5, "weight_decay": 7.0})
    again = attach(optimizer, model, answer=moved, resume=state, recommended_weight_decay=True)
    assert again._rates.base_lrs == {"optimizer/group0": ANSWER.lr}
    assert optimizer.param_groups[0]["weight_decay"] == 0.1


def test_disabled_leaves_rate_and_decay_to_the_training_code() -> None:
    model, optimizer = model_and_optimizer(weight_decay=0.1)
    pacesetter.attach(
        model,
        optimizer,
        name="plain",
        budget=pacesetter.Steps(STEPS),
        mode="disabled",
        recommendation=ANSWER,
        recommended_weight_decay=True,
    )
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]) == (
        0.1,
        0.1,
    )
