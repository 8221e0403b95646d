"""What trainings really combine: scaler, accumulation, an average, tokens, compiled steps, two optimizers."""

import copy
import inspect
from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.protocol import Acknowledgement, Notice, Segment, SegmentEnded
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tests.support.service import ScriptedTransport, constant, segment
from tests.support.training import Noisy, Regression, attach

TOKENS = pacesetter.Tokens(400)
MAIN = segment(1, 0, when="now", length=100)
PROBE = segment(2, 1, kind="probe", start=100, length=90, policy=constant(3.0), data="rewind")
REST = segment(3, 2, start=100, length=300)


def train_everything(segments: list[Segment]) -> tuple[list[list[Any]], AveragedModel]:
    """Train with all of it at once; return the main line's rows and its average."""
    model = Noisy()
    average = AveragedModel(model)
    weight = torch.optim.AdamW([model.layer.weight], lr=0.01)
    bias = torch.optim.SGD([model.layer.bias], lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    transport = ScriptedTransport(segments=segments[:1])
    transport.inbox.extend(segments[1:])
    run = attach(
        model,
        {"weight": weight, "bias": bias},
        transport,
        budget=TOKENS,
        scaler=scaler,
        extras={"average": average},
    )
    rows: list[list[Any]] = []
    seen = False
    for number, (inputs, targets) in enumerate(run.batches(Regression()), start=1):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = ((model(inputs) - targets) ** 2).mean() / 2
        # The scale changes twice: by an overflow on the main line, and by one that only the probe sees.
        overflows = (number == 10) if run.on_main_line else (run.position == 130 and not seen)
        seen = seen or (overflows and not run.on_main_line)
        scaler.scale(loss * (float("inf") if overflows else 1.0)).backward()
        if number % 2:
            continue
        # The batch ramps up: what a step consumes is not constant.
        tokens = 10 if run.position < 200 else 25
        position, main, rates = run.position, run.on_main_line, run.learning_rates()
        if run.step(loss, tokens=tokens, max_grad_norm=1.0):
            average.update_parameters(model)
        if main:
            rows.append([position, loss.item(), scaler.get_scale(), rates])
    run.finish()
    if len(segments) > 1:
        assert [each.segment for each in transport.of(SegmentEnded)][:2] == [1, 2]
        assert seen
    return rows, copy.deepcopy(average)


def test_all_of_it_together_returns_from_a_probe_bit_for_bit() -> None:
    plain, plain_average = train_everything([segment(1, 0, when="now", length=400)])
    probed, average = train_everything([MAIN, PROBE, REST])
    assert probed == plain
    assert [row[0] for row in plain[4:6]] == [40, 40]  # a skipped step does not move the clock
    assert plain[-1][0] == 375
    assert len({row[2] for row in plain}) > 2
    for ours, theirs in zip(average.parameters(), plain_average.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_compiled_steps_with_a_tensor_rate_follow_a_segment_and_are_verified() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 512), nn.Linear(512, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01, dtype=torch.float64))
    compiled = torch.compile(optimizer.step, backend="eager")
    vars(optimizer)["step"] = compiled
    slower = segment(1, 0, when="now", length=3)
    faster = segment(2, 1, start=3, length=3, policy=constant(0.5))
    transport = ScriptedTransport(segments=[slower, faster])
    run = attach(model, optimizer, transport, budget=pacesetter.Steps(6))
    for inputs, targets in run.batches(Regression()):
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        assert run.step(loss)
    run.finish()
    shown = [answer.groups[0] for answer in transport.of(Acknowledgement)]
    assert [group.verification for group in shown] == ["verified", "verified"]
    assert [group.lr_announced for group in shown] == [0.01, 0.005]
    assert optimizer.param_groups[0]["lr"].item() == 0.005


class Captured(torch.optim.AdamW):
    """AdamW whose update is compiled once and for all: without guards nobody sees that a float in the graph is old."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, lr=lr)
        unguarded: dict[str, Any] = {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
        step = inspect.unwrap(torch.optim.AdamW.step)
        self._update: Any = torch.compile(step, backend="eager", dynamic=False, options=unguarded)

    def step(self, closure: Any = None) -> Any:
        if self.state:
            with torch.no_grad():
                self._update(self)
        else:
            super().step()  # what is compiled next finds its state


def test_a_rate_that_a_compiled_step_holds_on_to_is_an_alert() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 512), nn.Linear(512, 1))
    optimizer = Captured(model.parameters(), lr=0.01)
    first = segment(1, 0, when="now", length=3)
    halved = segment(2, 1, start=3, length=3, policy=constant(0.5))
    transport = ScriptedTransport(segments=[first, halved])
    run = attach(model, optimizer, transport, budget=pacesetter.Steps(6))
    for inputs, targets in run.batches(Regression()):
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        assert run.step(loss)
    run.finish()
    before, after = (answer.groups[0] for answer in transport.of(Acknowledgement))
    assert (before.verification, after.verification) == ("verified", "mismatch")
    assert (after.lr_announced, after.lr_after) == (0.005, 0.005)
    assert after.lr_applied == pytest.approx(0.01, rel=1e-3)
    assert [(notice.level, notice.code) for notice in transport.of(Notice)] == [
        ("alert", "LR_NOT_APPLIED")
    ]
