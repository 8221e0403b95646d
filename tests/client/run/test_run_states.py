"""Segments that keep, restore and hand out states, and steps that are not made."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.protocol import Acknowledgement, Notice, SegmentEnded

from tests.support.service import ScriptedTransport, constant, segment
from tests.support.training import Noisy, Regression, attach, train

ROOT = Path(__file__).parents[3]


def start(
    transport: ScriptedTransport, **settings: Any
) -> tuple[pacesetter.Run, Noisy, torch.optim.SGD]:
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return attach(model, optimizer, transport, **settings), model, optimizer


def test_a_rollback_repeats_the_main_line_from_the_checkpoint() -> None:
    transport = ScriptedTransport(
        segments=[
            segment(1, 0, when="now", length=4),
            segment(2, 1, start=4, length=6, save_as="good"),
        ]
    )
    transport.inbox.append(
        segment(3, 2, start=4, length=16, **{"from": "good"}, data="rewind", policy=constant(1.0))
    )
    run, model, _ = start(transport)
    rows = train(run, model)
    assert [row["position"] for row in rows] == [*range(10), *range(4, 20)]
    assert [row["loss"] for row in rows[4:10]] == [row["loss"] for row in rows[10:16]]
    result = run.finish()
    assert (result.steps, result.ledger.main_steps, result.ledger.discarded_steps) == (20, 20, 6)
    assert result.ledger.discarded_tokens == 6 * 8


def test_the_initial_state_can_be_gone_back_to() -> None:
    transport = ScriptedTransport(segments=[segment(1, 0, when="now", length=6)])
    transport.inbox.append(segment(2, 1, start=0, length=20, **{"from": "initial"}, data="rewind"))
    run, model, _ = start(transport)
    rows = train(run, model)
    assert [row["loss"] for row in rows[:6]] == [row["loss"] for row in rows[6:12]]


def test_rolling_snapshots_are_named_for_the_guard_and_can_be_started_from() -> None:
    transport = ScriptedTransport(segments=[segment(1, 0, when="now", length=20, save_every=4)])
    run, model, _ = start(transport)
    train(run, model)
    kept = [notice.numbers for notice in transport.of(Notice) if notice.code == "SNAPSHOT_KEPT"]
    assert kept[0] == {"name": "rolling-1-4", "position": 4}
    assert [numbers["position"] for numbers in kept] == [4, 8, 12, 16]


def test_a_branch_hands_its_end_state_out_and_the_main_line_goes_on() -> None:
    handed: dict[str, list[torch.Tensor]] = {}

    def take(name: str) -> None:
        handed[name] = [parameter.detach().clone() for parameter in model.parameters()]

    transport = ScriptedTransport(
        segments=[
            segment(1, 0, when="now", length=5),
            segment(2, 1, kind="branch", start=5, length=4, save_end_as="short", data="rewind"),
        ]
    )
    transport.inbox.append(segment(3, 2, start=5, length=15))
    run, model, _ = start(transport, on_branch=take)
    rows = train(run, model)
    assert list(handed) == ["short"]
    # The branch trains on the main line's own batches at its rate, so its end is the main line's state at 9.
    again, same, _ = start(ScriptedTransport(), budget=pacesetter.Steps(9))
    train(again, same)
    for ours, theirs in zip(handed["short"], same.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert run.finish().ledger.branch_steps == 4
    assert [row["position"] for row in rows if row["main"]] == list(range(20))


def test_a_held_probe_trains_on_one_batch() -> None:
    transport = ScriptedTransport(
        segments=[
            segment(1, 0, when="now", length=5),
            segment(2, 1, kind="probe", start=5, length=4, data="hold"),
        ]
    )
    transport.inbox.append(segment(3, 2, start=5, length=15))
    run, _model, _optimizer = start(transport)
    held: list[torch.Tensor] = []
    main: list[torch.Tensor] = []
    for inputs, _ in run.batches(Regression()):
        (main if run.on_main_line else held).append(inputs)
        run.step(1.0)
    assert all(torch.equal(inputs, held[0]) for inputs in held)
    assert torch.equal(main[5], Regression().batch_at(5)[0])


def test_a_probe_longer_than_the_buffer_is_unpaired_and_costs_the_main_line_nothing() -> None:
    batches = [Regression().batch_at(position) for position in range(40)]
    probe = segment(2, 1, kind="probe", start=5, length=8, data="rewind")
    transport = ScriptedTransport(segments=[segment(1, 0, when="now", length=5), probe])
    transport.inbox.append(segment(3, 2, start=5, length=15))
    run, model, _ = start(transport, buffer_batches=4)
    rows = train(run, model, batches)
    assert [each.unpaired for each in transport.of(SegmentEnded)] == [False, True, False]
    again, same, _ = start(ScriptedTransport())
    undisturbed = train(again, same, batches)
    assert [row["loss"] for row in rows if row["main"]] == [row["loss"] for row in undisturbed]


def test_probe_batches_that_cannot_come_back_are_counted_as_discarded() -> None:
    batches = [Regression().batch_at(position) for position in range(40)]
    probe = segment(2, 1, kind="probe", start=5, length=3)
    transport = ScriptedTransport(segments=[segment(1, 0, when="now", length=5), probe])
    transport.inbox.append(segment(3, 2, start=5, length=15))
    run, model, _ = start(transport, buffer_batches=0)
    train(run, model, batches)
    assert run.finish().ledger.discarded_tokens == 3 * 8


@pytest.mark.parametrize("fused", [False, True])
def test_an_overflow_is_seen_in_plain_and_fused_optimizers(fused: bool) -> None:
    model = Noisy()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    transport = ScriptedTransport(segments=[segment(1, 0, when="now", length=4)])
    run = attach(model, optimizer, transport, scaler=scaler, budget=pacesetter.Steps(4))
    taken = []
    for step, (inputs, targets) in enumerate(run.batches(Regression())):
        loss = ((model(inputs) - targets) ** 2).mean()
        scaler.scale(loss * (float("inf") if step == 0 else 1.0)).backward()
        taken.append(run.step(loss, max_grad_norm=1.0))
    assert taken == [False, True, True, True, True]
    (answer,) = transport.of(Acknowledgement)
    assert answer.groups[0].verification != "mismatch"


class Wrapper(torch.optim.Optimizer):
    """Stands in for the optimizer wrappers of other libraries: same interface, another object."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.steps = 0

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        return self.optimizer.param_groups

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.steps += 1
        self.optimizer.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)


def test_a_wrapped_optimizer_is_stepped_through_its_wrapper() -> None:
    model = Noisy()
    wrapper = Wrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    transport = ScriptedTransport(
        segments=[segment(1, 0, when="now", length=20, policy=constant(0.5))]
    )
    run = attach(model, wrapper, transport)
    train(run, model)
    assert wrapper.steps == 20
    assert wrapper.optimizer.param_groups[0]["lr"] == 0.05


def test_gradients_accumulate_over_batches_and_the_schedule_counts_steps() -> None:
    run, model, _ = start(ScriptedTransport(), budget=pacesetter.Steps(5))
    batches = 0
    for inputs, targets in run.batches(Regression()):
        loss = ((model(inputs) - targets) ** 2).mean() / 3
        loss.backward()
        batches += 1
        if batches % 3 == 0:
            run.step(loss)
    assert (batches, run.position) == (15, 5)


EXITS = """
import sys, torch, pacesetter
from tests.support.training import Noisy, Regression
model = Noisy()
run = pacesetter.attach(
    model, torch.optim.SGD(model.parameters(), lr=0.1), name="exits", external_id="exits",
    budget=pacesetter.Steps(100), mode="offline", directory=sys.argv[1],
)
for inputs, targets in run.batches(Regression()):
    ((model(inputs) - targets) ** 2).mean().backward()
    run.step(1.0)
    if run.position == 7:
        sys.exit(0)
"""


def test_a_process_that_ends_without_finish_loses_no_row(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXITS, tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    text = "".join(file.read_text() for file in tmp_path.rglob("*") if file.is_file())
    assert json.dumps([0, 1, 2, 3, 4, 5, 6]).replace(" ", "") in text.replace(" ", "").replace(
        ".0", ""
    )
