"""What a training loop may pass by mistake: a clear error before anything is stepped, and nothing lost."""

import math
from typing import Any

import numpy as np
import pacesetter
import pytest
import torch
from pacesetter.errors import ConfigurationError
from pacesetter.protocol import Measurements

from tests.support.service import ScriptedTransport
from tests.support.training import Noisy, Regression, attach


def start(**settings: Any) -> tuple[pacesetter.Run, Noisy, ScriptedTransport]:
    model, transport = Noisy(), ScriptedTransport()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return attach(model, optimizer, transport, **settings), model, transport


@pytest.mark.parametrize(
    "loss", [torch.ones(3), torch.tensor(1 + 2j), torch.empty(0), "x", 10**400, 1j, [1.0], None]
)
def test_a_loss_that_is_not_one_number_is_named_and_nothing_is_stepped(loss: Any) -> None:
    run, model, _ = start()
    next(run.batches(Regression()))
    before = model.layer.weight.clone()
    model.layer.weight.grad = torch.ones_like(before)
    with pytest.raises(ConfigurationError, match="loss is"):
        run.step(loss)
    assert run.position == 0
    assert torch.equal(model.layer.weight, before)


def test_every_kind_of_one_number_is_a_loss() -> None:
    run, _, transport = start(budget=pacesetter.Steps(7))
    losses = [1, True, np.float32(2.5), torch.tensor([3.0]), torch.tensor(4), math.nan, math.inf]
    for loss, _ in zip(losses, run.batches(Regression()), strict=True):
        run.step(loss)  # type: ignore[arg-type]
    run.finish()
    recorded = [each for m in transport.of(Measurements) for each in m.columns["loss"]]
    assert recorded[:5] == [1.0, 1.0, 2.5, 3.0, 4.0]
    assert recorded[5] is not None and math.isnan(recorded[5])
    assert recorded[6] == math.inf


@pytest.mark.parametrize("tokens", [-1, math.nan, math.inf, 2.5, "8", torch.ones(2)])
def test_tokens_that_are_no_count_do_not_move_the_clock(tokens: Any) -> None:
    run, _, _ = start(budget=pacesetter.Tokens(100))
    next(run.batches(Regression()))
    with pytest.raises(ConfigurationError, match="tokens is"):
        run.step(1.0, tokens=tokens)
    assert run.position == 0


@pytest.mark.parametrize("tokens", [8.0, torch.tensor(8), np.int64(8)])
def test_a_count_in_another_type_moves_the_clock_as_an_int(tokens: Any) -> None:
    run, _, _ = start(budget=pacesetter.Tokens(100))
    next(run.batches(Regression()))
    run.step(1.0, tokens=tokens)
    assert run.position == 8
    assert type(run.position) is int


@pytest.mark.parametrize("budget", [1000, None, "1000"])
def test_a_budget_without_its_unit_is_refused_with_examples(budget: Any) -> None:
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ConfigurationError, match=r"pacesetter\.Steps"):
        pacesetter.attach(model, optimizer, name="test", budget=budget)
