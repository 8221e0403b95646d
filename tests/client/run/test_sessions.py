"""Sessions: a run that is started again goes on where its own checkpoint stands."""

import json
from pathlib import Path
from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.protocol import Acknowledgement, Measurements, SegmentEnded, SessionBegan
from pacesetter.schedules import Linear, Schedule

from tests.support.service import ScriptedTransport, constant, segment
from tests.support.training import Noisy, Regression, attach, train

DECAY = Schedule(length=20, peak=2.0, body=Linear())
SEGMENTS = (
    segment(1, 0, when="now", length=5, policy=constant(1.5)),
    segment(2, 1, kind="probe", start=5, length=3, policy=constant(3.0), data="rewind"),
    segment(3, 2, start=5, length=15, policy=DECAY),
)


def save_all(run: pacesetter.Run, model: torch.nn.Module, optimizer: Any, path: Path) -> None:
    run_state = json.dumps(run.state_dict())  # it has to be JSON
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "run": run_state}
    torch.save(state, path)


def build() -> tuple[Noisy, torch.optim.SGD]:
    model = Noisy()
    model.dropout.p = 0.0  # the user's checkpoint in these tests holds no random state
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def run_once(path: Path, save_at: int) -> list[dict[str, Any]]:
    """Train over all segments, saving a checkpoint before the main-line step at ``save_at``."""
    model, optimizer = build()
    transport = ScriptedTransport(segments=SEGMENTS[:2])
    transport.inbox.append(SEGMENTS[2])
    run = attach(model, optimizer, transport)
    rows, saved = [], False
    for inputs, targets in run.batches(Regression()):
        if run.on_main_line and run.position == save_at and not saved:
            save_all(run, model, optimizer, path)
            saved = True
        row = {"position": run.position, "main": run.on_main_line, **run.learning_rates()}
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        run.step(loss)
        rows.append({**row, "loss": loss.item()})
    return [row for row in rows if row["main"]]


def resume(
    path: Path, transport: ScriptedTransport, *, late: bool = False
) -> tuple[pacesetter.Run, Noisy]:
    model, optimizer = build()
    saved = torch.load(path, weights_only=True)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    state = json.loads(saved["run"])
    run = attach(model, optimizer, transport, **({} if late else {"resume": state}))
    if late:
        run.load_state_dict(state)
    return run, model


@pytest.mark.parametrize(("save_at", "kept"), [(2, 2), (5, 3), (11, 3)])
def test_a_resumed_run_repeats_the_main_line_to_the_bit(
    tmp_path: Path, save_at: int, kept: int
) -> None:
    path = tmp_path / "checkpoint.pt"
    whole = run_once(path, save_at)
    transport = ScriptedTransport(segments=SEGMENTS[:kept], session_number=2, kept_through=kept)
    if kept < 3:
        transport.inbox.append(SEGMENTS[2].model_copy(update={"seq": 4}))
    run, model = resume(path, transport)
    rows = [row for row in train(run, model) if row["main"]]
    expected = [row for row in whole if row["position"] >= save_at]
    assert [row["position"] for row in rows] == [row["position"] for row in expected]
    assert [row["lr"] for row in rows] == [row["optimizer/group0"] for row in expected]
    assert [row["loss"] for row in rows] == [row["loss"] for row in expected]


def test_it_announces_where_it_resumes_and_does_not_acknowledge_twice(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    run_once(path, 11)
    transport = ScriptedTransport(segments=SEGMENTS, session_number=2, kept_through=3)
    run, model = resume(path, transport)
    train(run, model)
    result = run.finish()
    began = transport.records[0]
    assert isinstance(began, SessionBegan)
    assert (began.position, began.resumed, began.segment) == (11, True, 3)
    assert transport.of(Acknowledgement) == []
    (ended,) = transport.of(SegmentEnded)
    assert (ended.segment, ended.outcome, ended.steps) == (3, "completed", 9)
    assert result.steps == 20


def test_segments_that_the_service_superseded_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    run_once(path, 2)
    transport = ScriptedTransport(segments=SEGMENTS, session_number=2, kept_through=1)
    transport.inbox.extend(SEGMENTS)  # the stream repeats what the registration carried
    run, model = resume(path, transport)
    rows = train(run, model)
    assert {row["lr"] for row in rows} == {0.1 * 1.5}
    assert transport.of(Acknowledgement) == []


def test_base_rates_come_from_the_state_and_not_from_the_optimizer(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    run_once(path, 11)
    transport = ScriptedTransport()
    transport.away = True
    run, model = resume(path, transport, late=True)
    # With the service away it goes on under the segment that ran when it was saved.
    assert run.learning_rates() == {"optimizer/group0": 0.1 * DECAY.at(11)}
    rows = train(run, model)
    assert rows[0]["position"] == 11
    assert rows[-1]["lr"] == pytest.approx(0.1 * DECAY.at(19))


def test_inside_a_probe_the_state_is_the_main_line_s(tmp_path: Path) -> None:
    del tmp_path
    model, optimizer = build()
    run = attach(model, optimizer, ScriptedTransport(segments=SEGMENTS[:2]))
    for inputs, targets in run.batches(Regression()):
        if not run.on_main_line:
            state = run.state_dict()
            assert run.position >= 5
            assert (state["position"], state["step"], state["running"]["seq"]) == (5, 5, 1)
            assert state["data"]["batch"] == 5
        ((model(inputs) - targets) ** 2).mean().backward()
        run.step(1.0)


def test_a_batch_in_hand_comes_again_after_a_resume() -> None:
    model, optimizer = build()
    run = attach(model, optimizer, ScriptedTransport())
    batches = run.batches(Regression())
    next(batches)
    assert run.state_dict()["data"]["batch"] == 0
    next(batches)  # gradient accumulation: two batches in one step
    assert run.state_dict()["data"]["batch"] == 0
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    run.step(1.0)
    assert run.state_dict()["data"]["batch"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clock": "tokens"}, "same clock"),
        ({"version": 99}, "version"),
        ({"external_id": "other"}, "external_id"),
        ({"base_lrs": {"optimizer/other": 0.1}}, "groups"),
        ({"position": None}, "no state of a run"),
    ],
)
def test_a_state_of_something_else_is_refused(change: dict[str, Any], message: str) -> None:
    model, optimizer = build()
    state = attach(model, optimizer, ScriptedTransport()).state_dict()
    with pytest.raises(pacesetter.StateMismatch, match=message):
        attach(model, optimizer, ScriptedTransport(), resume={**state, **change})


def test_a_state_comes_before_the_first_step() -> None:
    model, optimizer = build()
    run = attach(model, optimizer, ScriptedTransport())
    state = run.state_dict()
    next(run.batches(Regression()))
    with pytest.raises(pacesetter.ConfigurationError, match="right after attach"):
        run.load_state_dict(state)


def test_a_job_started_again_without_a_state_asks_what_still_stands() -> None:
    model, optimizer = build()
    transport = ScriptedTransport(segments=SEGMENTS, session_number=2, kept_through=2)
    run = attach(model, optimizer, transport)
    rows = train(run, model)
    began = transport.records[0]
    assert (began.position, began.resumed) == (0, False)
    # Segment 1 runs from the start again, and the probe after it.
    assert [row["main"] for row in rows[:8]] == [True] * 5 + [False] * 3
    assert rows[0]["lr"] == pytest.approx(0.15)


def test_a_checkpoint_from_the_end_of_the_decay_resumes_although_it_shows_a_rate_of_zero() -> None:
    model, optimizer = build()
    run = attach(model, optimizer, ScriptedTransport(), base=DECAY)
    train(run, model)
    state = run.state_dict()
    run.finish()
    optimizer.param_groups[0]["lr"] = 0.0
    resumed = attach(model, optimizer, ScriptedTransport(), base=DECAY, resume=state)
    assert resumed.position == 20
    assert resumed.finish().completed


@pytest.mark.parametrize(("session_number", "times"), [(1, 0), (2, 1)])
def test_a_known_job_that_starts_without_a_state_is_warned_of(
    caplog: pytest.LogCaptureFixture, session_number: int, times: int
) -> None:
    model, optimizer = build()
    transport = ScriptedTransport(session_number=session_number, kept_through=0)
    run = attach(model, optimizer, transport)
    next(run.batches(Regression()))
    assert caplog.text.count("pass resume=") == times


def test_a_job_that_resumes_is_not_warned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_once(tmp_path / "state", save_at=3)
    transport = ScriptedTransport(segments=SEGMENTS[:1], session_number=2, kept_through=1)
    run, _ = resume(tmp_path / "state", transport)
    next(run.batches(Regression()))
    assert "pass resume=" not in caplog.text


def test_sets_of_groups_that_the_newest_segment_leaves_alone_resume_on_what_drove_them() -> None:
    held = (
        segment(1, 0, when="now", length=20, policy=constant(0.5)),
        segment(2, 1, when="now", length=20, policy=constant(2.0), controls=("bias",)),
    )
    model = Noisy()
    groups: list[dict[str, Any]] = [
        {"params": [model.layer.weight], "name": "weight"},
        {"params": [model.layer.bias], "name": "bias"},
    ]
    transport = ScriptedTransport(segments=held, session_number=2, kept_through=2)
    controls = {"optimizer/weight": "weight", "optimizer/bias": "bias"}
    run = attach(model, torch.optim.SGD(groups, lr=0.1), transport, controls=controls)
    next(run.batches(Regression()))
    assert run.learning_rates() == {"optimizer/weight": 0.05, "optimizer/bias": 0.2}


@pytest.mark.parametrize("late", [False, True])
def test_what_the_job_refused_is_not_taken_up_by_the_next_session(
    tmp_path: Path, late: bool
) -> None:
    """Its policy is above the limits, and it starts before the place of resuming."""
    path = tmp_path / "checkpoint.pt"
    run_once(path, 11)
    refused = segment(4, 3, when="now", start=8, length=12, policy=constant(1e4))
    transport = ScriptedTransport(
        segments=(*SEGMENTS, refused), session_number=2, kept_through=4, void=(4,)
    )
    run, model = resume(path, transport, late=late)
    rows = train(run, model)
    assert [row["position"] for row in rows] == list(range(11, 20))
    rates = [lr for each in transport.of(Measurements) for lr in each.columns["lr"]]
    assert rates == pytest.approx([0.1 * DECAY.at(position) for position in range(11, 20)])
    assert [each.status for each in transport.of(Acknowledgement)] == ["refused"]
