"""What ``validate`` and ``on_branch`` may do, at the end of a probe and at the end of the run."""

import math
from collections.abc import Callable
from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.errors import ConfigurationError
from pacesetter.protocol import Acknowledgement, Finished, Measurements, Segment, SegmentEnded

from tests.support.service import ScriptedTransport, after_end, constant, segment
from tests.support.training import Regression, start, train

MAIN = segment(1, 0, when="now", length=5)
PROBE = segment(
    2,
    1,
    kind="probe",
    start=5,
    length=3,
    policy=constant(3.0),
    data="rewind",
    measure={"validate_at_end": True},
)
REST = segment(3, 2, start=5, length=15, policy=constant(0.5))


def probing(after: Segment = REST) -> ScriptedTransport:
    return ScriptedTransport(after_end({2: after}), [MAIN, PROBE])


def failing_once() -> Callable[[], float]:
    losses = iter([None, 1.5])

    def validate() -> float:
        loss = next(losses)
        if loss is None:
            raise ZeroDivisionError("no batches")
        return loss

    return validate


def test_validation_leaves_no_trace() -> None:
    def validate() -> float:
        torch.rand(100)
        model.eval()
        return 2.5

    measured = segment(
        2, 1, kind="probe", start=5, length=3, data="rewind", measure={"validate_at_end": True}
    )
    transport = ScriptedTransport(
        after_end({2: segment(3, 2, start=5, length=15)}), [MAIN, measured]
    )
    run, model, _ = start(transport, validate=validate)
    rows = train(run, model)
    plain, plain_model, _ = start(ScriptedTransport())
    undisturbed = train(plain, plain_model)
    assert transport.of(SegmentEnded)[1].validation_loss == 2.5
    assert [row["loss"] for row in rows if row["main"]] == [row["loss"] for row in undisturbed]
    assert model.training


@pytest.mark.parametrize(
    ("returned", "recorded"),
    [
        (torch.tensor(2.5), 2.5),
        (torch.tensor([2.5], requires_grad=True), 2.5),
        (torch.tensor(3), 3.0),
        (math.nan, math.nan),
        (torch.tensor(-math.inf), -math.inf),
    ],
)
def test_a_tensor_is_a_loss_and_so_is_nan(returned: Any, recorded: float) -> None:
    transport = probing()
    run, model, _ = start(transport, validate=lambda: returned)
    train(run, model)
    result = run.finish()
    assert result.completed
    probe, (finished,) = transport.of(SegmentEnded)[1], transport.of(Finished)
    for loss in (probe.validation_loss, finished.validation_loss, result.validation_loss):
        assert type(loss) is float
        assert loss == pytest.approx(recorded, nan_ok=True)
    text = finished.model_dump_json()
    assert Finished.model_validate_json(text).validation_loss == pytest.approx(
        recorded, nan_ok=True
    )


def test_where_it_raises_after_a_probe_the_probe_is_reported_and_the_main_line_is_back() -> None:
    transport = probing()
    run, model, optimizer = start(transport, validate=failing_once())
    with pytest.raises(ZeroDivisionError, match="no batches"):
        train(run, model)
    ended = transport.of(SegmentEnded)[-1]
    assert (ended.segment, ended.outcome, ended.steps) == (2, "completed", 3)
    assert ended.validation_loss is None
    assert transport.of(Measurements)[-1].columns["position"] == [5, 6, 7]
    assert run.on_main_line
    assert run.position == 5
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_whoever_catches_it_goes_on_as_if_it_had_not_been_raised() -> None:
    undisturbed, plain_model, _ = start(probing(), validate=lambda: 1.5)
    expected = [row for row in train(undisturbed, plain_model) if row["main"]]
    transport = probing()
    run, model, _ = start(transport, validate=failing_once())
    rows: list[dict[str, Any]] = []
    for inputs, targets in run.batches(Regression()):
        rows.append({"position": run.position, "main": run.on_main_line})
        rows[-1]["lr"] = run.learning_rates()["optimizer/group0"]
        loss = ((model(inputs) - targets) ** 2).mean()
        rows[-1]["loss"] = loss.item()
        loss.backward()
        try:
            run.step(loss, tokens=8)
        except ZeroDivisionError:
            assert len(rows) == 8
    assert [row for row in rows if row["main"]] == expected
    result = run.finish()
    assert (result.completed, result.validation_loss, result.ledger.probe_steps) == (True, 1.5, 3)
    assert [answer.segment for answer in transport.of(Acknowledgement)] == [1, 2, 3]


def test_where_it_raises_at_the_last_step_the_run_is_complete() -> None:
    last = segment(3, 2, start=5, length=15, measure={"validate_at_end": True})
    losses = iter([1.0])
    transport = probing(last)
    run, model, _ = start(transport, validate=lambda: next(losses))
    with pytest.raises(StopIteration), run:
        for inputs, _ in run.batches(Regression()):
            model(inputs).sum().backward()
            run.step(1.0)
    assert [end.segment for end in transport.of(SegmentEnded)] == [1, 2, 3]
    (finished,) = transport.of(Finished)
    assert (finished.completed, finished.position) == (True, 20)


def test_where_on_branch_raises_the_main_line_is_back() -> None:
    def hand_over(name: str) -> None:
        raise OSError(f"no space for {name}")

    branch = segment(2, 1, kind="branch", start=5, length=3, policy=constant(0.1), data="rewind")
    transport = ScriptedTransport(after_end({2: REST}), [MAIN, branch])
    run, model, _ = start(transport, on_branch=hand_over)
    with pytest.raises(OSError, match="no space for branch-2"):
        train(run, model)
    assert transport.of(SegmentEnded)[-1].segment == 2
    assert (run.on_main_line, run.position) == (True, 5)


def test_a_validation_that_raises_at_the_end_loses_nothing() -> None:
    def validate() -> float:
        raise ZeroDivisionError("no batches")

    transport = ScriptedTransport()
    run, _, _ = start(transport, budget=pacesetter.Steps(3), validate=validate)
    for _ in run.batches(Regression()):
        run.step(1.0)
    with pytest.raises(ZeroDivisionError, match="no batches"):
        run.finish()
    (finished,) = transport.of(Finished)
    assert (finished.completed, finished.validation_loss) == (True, None)
    assert transport.closed
    assert run.finish().validation_loss is None


@pytest.mark.parametrize("returned", [None, torch.ones(3), "low"])
def test_a_validation_that_returns_no_number_is_named(returned: Any) -> None:
    transport = ScriptedTransport()
    run, _, _ = start(transport, validate=lambda: returned)
    with pytest.raises(ConfigurationError, match=r"validate\(\) returned"):
        run.finish()
    assert transport.closed


def test_a_validation_that_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="validate is a int"):
        start(ScriptedTransport(), validate=3)
