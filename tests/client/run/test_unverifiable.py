"""Steps that prove nothing: exempt, or unverifiable, and never a false alarm."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pacesetter.run.verification import Resolution, Verifier
from torch import nn
from torch.optim import SGD, AdamW, NAdam, Optimizer

from tests.client.run.verified import LR, OPTIMIZERS, Make, give_gradients, observe, weights


class Cautious(AdamW):
    """Another rule under the same name: it undoes the update of half of the elements."""

    def step(self, closure: Any = None) -> Any:
        before = [p.detach().clone() for group in self.param_groups for p in group["params"]]
        result = super().step(closure)
        after = [p for group in self.param_groups for p in group["params"]]
        with torch.no_grad():
            for old, new in zip(before, after, strict=True):
                new.copy_(torch.where(new.grad * old > 0, old, new))
        return result


def test_zero_rate_is_exempt() -> None:
    parameters = weights()

    assert observe(SGD(parameters, 0.0), parameters, 0.0) == Resolution(None, "exempt", None)


def test_step_that_was_skipped_is_exempt() -> None:
    for name in ("adamw", "sgd momentum"):
        parameters = weights()
        optimizer = OPTIMIZERS[name](parameters)
        observe(optimizer, parameters, LR)
        verifier = Verifier(optimizer)
        give_gradients(parameters)
        verifier.arm()

        assert verifier.collect().resolve(LR) == Resolution(None, "exempt", None)


@pytest.mark.parametrize("fused", [False, True])
def test_grad_scaler_unscales_and_its_skipped_step_is_exempt(fused: bool) -> None:
    parameters = weights()
    optimizer = SGD(parameters, LR, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    verifier = Verifier(optimizer)

    def train(factor: float) -> Resolution:
        total = torch.stack([(p * torch.randn_like(p)).sum() for p in parameters]).sum()
        torch.autograd.backward(scaler.scale(total * factor))
        verifier.arm()
        scaler.step(optimizer)
        pending = verifier.collect()
        scaler.update()
        optimizer.zero_grad()
        return pending.resolve(LR)

    usual = train(1.0)
    assert usual.status == "verified"
    assert usual.lr_applied == pytest.approx(LR, rel=1e-6)
    assert train(math.inf).status == "exempt"
    assert train(1.0).status == "verified"


def test_rule_that_is_not_the_closed_form_is_unverifiable_and_no_alarm() -> None:
    parameters = weights()

    assert observe(Cautious(parameters, LR), parameters, LR).status == "unverifiable"


def test_subclass_with_groups_of_its_own_never_raises() -> None:
    parameters = weights()
    optimizer = AdamW(parameters, LR)
    observe(optimizer, parameters, LR)
    verifier = Verifier(optimizer)
    give_gradients(parameters)
    verifier.arm()
    optimizer.step()
    optimizer.param_groups[0]["betas"] = (0.9, 0.95, 0.99)
    del optimizer.param_groups[0]["amsgrad"]

    assert verifier.collect().resolve(LR).status == "unverifiable"


@pytest.mark.parametrize(
    "make",
    [
        lambda p: NAdam(p, LR),
        lambda p: torch.optim.RMSprop(p, LR),
    ],
)
def test_optimizer_without_closed_form_is_unverifiable(make: Make) -> None:
    parameters = weights()

    assert observe(make(parameters), parameters, LR) == Resolution(None, "unverifiable", None)


def test_group_without_a_tensor_of_a_thousand_elements_is_unverifiable() -> None:
    small, large = weights(shape=(37, 27)), weights(shape=(40, 25))

    assert observe(SGD(small, LR), small, LR).status == "unverifiable"
    assert observe(SGD(large, LR), large, LR).status == "verified"


def test_second_group_is_watched_by_its_index() -> None:
    first, second = weights(), weights()
    groups: list[dict[str, Any]] = [{"params": first}, {"params": second, "lr": 0.1}]
    optimizer = SGD(groups, LR)
    verifiers = Verifier(optimizer, 0), Verifier(optimizer, 1)
    give_gradients([*first, *second])
    for verifier in verifiers:
        verifier.arm()
    optimizer.step()
    applied = [
        verifier.collect().resolve(lr) for verifier, lr in zip(verifiers, (LR, 0.1), strict=True)
    ]

    assert [seen.status for seen in applied] == ["verified", "verified"]
    assert applied[1].lr_applied == pytest.approx(0.1, rel=1e-6)


def test_group_without_gradients_is_unverifiable() -> None:
    parameters = weights()
    verifier = Verifier(SGD(parameters, LR))
    verifier.arm()

    assert verifier.collect().resolve(LR).status == "unverifiable"


def test_collect_without_arm_is_unverifiable() -> None:
    parameters = weights()

    assert Verifier(SGD(parameters, LR)).collect().resolve(LR).status == "unverifiable"


def test_sparse_gradient_is_unverifiable() -> None:
    embedding = nn.Embedding(100, 20, sparse=True)
    optimizer = SGD(embedding.parameters(), LR)
    verifier = Verifier(optimizer)
    embedding(torch.arange(50)).sum().backward()
    verifier.arm()
    optimizer.step()

    assert verifier.collect().resolve(LR).status == "unverifiable"


@pytest.mark.parametrize("make", [SGD, AdamW])
def test_non_finite_gradient_is_unverifiable(make: Callable[..., Optimizer]) -> None:
    parameters = weights()
    verifier = Verifier(optimizer := make(parameters, lr=LR))
    give_gradients(parameters)
    assert parameters[0].grad is not None
    parameters[0].grad[3, 3] = math.nan
    verifier.arm()
    optimizer.step()

    assert verifier.collect().resolve(LR).status == "unverifiable"
