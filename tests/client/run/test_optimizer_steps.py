"""One optimizer step in a run: unscaled, measured, clipped, stepped, or skipped on an overflow."""

from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.protocol import Measurements
from pacesetter.schedules import Linear, Schedule

from tests.support.service import ScriptedTransport
from tests.support.training import Noisy, Regression, attach, start

ALL = ("grad_norm", "grad_norm_l1", "parameter_norm")


def test_norms_and_clipping_are_measured_before_the_step() -> None:
    transport = ScriptedTransport()
    run, model, _ = start(transport, statistics=("grad_norm", "grad_norm_l1", "parameter_norm"))
    for inputs, targets in run.batches(Regression()):
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        expected = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        run.step(loss, max_grad_norm=1.0)
    columns = transport.of(Measurements)[-1].columns
    assert columns["grad_norm"][-1] == pytest.approx(expected.norm().item(), rel=1e-6)
    assert columns["grad_norm_l1"][-1] == pytest.approx(expected.abs().sum().item(), rel=1e-6)
    assert len(columns["parameter_norm"]) == len(columns["loss"])
    rate = run.finish().clip_rate
    assert rate is not None
    assert 0.0 < rate <= 1.0


def test_an_overflow_skips_the_step_and_the_schedule() -> None:
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    transport = ScriptedTransport()
    run = attach(model, optimizer, transport, scaler=scaler, budget=pacesetter.Steps(4))
    taken = []
    for step, (inputs, targets) in enumerate(run.batches(Regression())):
        loss = ((model(inputs) - targets) ** 2).mean()
        scaler.scale(loss * (float("inf") if step == 1 else 1.0)).backward()
        taken.append(run.step(loss))
    assert taken == [True, False, True, True, True]
    assert run.finish().skipped_steps == 1
    assert transport.of(Measurements)[-1].columns["position"] == [0, 1, 2, 3]


def train_with_norms(scaler: Any, micro_batches: int = 1) -> tuple[list[Any], torch.Tensor]:
    """Train 12 clipped steps; return the columns of what was measured, and the weights at the end."""
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    transport = ScriptedTransport()
    run = attach(
        model,
        optimizer,
        transport,
        scaler=scaler,
        statistics=ALL,
        budget=pacesetter.Steps(12),
    )
    for number, (inputs, targets) in enumerate(run.batches(Regression()), start=1):
        loss = ((model(inputs) - targets) ** 2).mean() / micro_batches
        (loss if scaler is None else scaler.scale(loss)).backward()
        if number % micro_batches == 0:
            run.step(loss, max_grad_norm=0.5)
    run.finish()
    columns = transport.of(Measurements)[-1].columns
    return [columns[name] for name in (*ALL, "clipped")], model.layer.weight.detach()


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_norms_under_a_scaler_are_those_without_one(micro_batches: int) -> None:
    plain, weights = train_with_norms(None, micro_batches)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=5)
    scaled, scaled_weights = train_with_norms(scaler, micro_batches)
    assert scaler.get_scale() == 2.0**14
    # A power of two scales without rounding.
    assert scaled == plain
    assert torch.equal(scaled_weights, weights)
    norms, _, _, clipped = plain
    assert max(norms) > 1.0  # before clipping to 0.5
    assert clipped == [float(norm > 0.5) for norm in norms]


@pytest.mark.parametrize("scaled", [False, True])
def test_the_clip_rate_is_the_share_of_steps_above_the_bound(scaled: bool) -> None:
    weight = torch.nn.Parameter(torch.zeros(4))
    model = torch.nn.Module()
    model.weight = weight
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10) if scaled else None
    transport = ScriptedTransport()
    optimizer = torch.optim.SGD([weight], lr=0.1)
    run = attach(model, optimizer, transport, scaler=scaler, budget=pacesetter.Steps(400))
    norms = {
        0: 3.0,
        1: 1.0,
        2: 0.5,
        3: 1.5,
        4: 0.0,
    }  # of five in turn two are above 1.0, one is at it
    overflows = 0
    while not run.done:
        norm = norms[run.position % 5]
        if scaled and run.position == 100 and not overflows:
            norm, overflows = float("inf"), 1  # not a step, so no part of the share either
        loss = (weight * torch.tensor([norm, 0.0, 0.0, 0.0])).sum()
        (loss if scaler is None else scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        run.step(1.0, max_grad_norm=1.0)
    result = run.finish()
    assert result.skipped_steps == overflows
    assert result.clip_rate == 0.4
    rows = [each for record in transport.of(Measurements) for each in record.columns["clipped"]]
    assert rows == [1.0, 0.0, 0.0, 1.0, 0.0] * 80


def test_without_clipping_there_is_no_clip_rate() -> None:
    run, model, _ = start(ScriptedTransport(), statistics=ALL, budget=pacesetter.Steps(3))
    for inputs, _ in run.batches(Regression()):
        model(inputs).sum().backward()
        run.step(1.0)
    assert run.finish().clip_rate is None


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_only_steps_that_were_made_follow_the_schedule(micro_batches: int) -> None:
    model, base = Noisy(), Schedule(length=12, body=Linear())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    budget = pacesetter.Steps(12)
    run = attach(model, optimizer, ScriptedTransport(), scaler=scaler, base=base, budget=budget)
    used: list[float] = []
    optimizer.register_step_pre_hook(lambda o, *_: used.append(o.param_groups[0]["lr"]))
    taken = []
    for number, (inputs, targets) in enumerate(run.batches(Regression()), start=1):
        overflows = (number + micro_batches - 1) // micro_batches in (1, 2, 6, 13)
        loss = ((model(inputs) - targets) ** 2).mean() * (float("inf") if overflows else 1.0)
        scaler.scale(loss / micro_batches).backward()
        if number % micro_batches == 0:
            taken.append(run.step(loss))
    assert [step + 1 for step, made in enumerate(taken) if not made] == [1, 2, 6, 13]
    assert len(taken) == 16
    assert used == pytest.approx([0.1 * (1 - step / 12) for step in range(12)])
    assert run.finish().skipped_steps == 4
