"""Whole runs of a tiny training against a scripted service."""

import logging
from collections.abc import Iterable

import pacesetter
import pytest
import torch
from pacesetter.protocol import (
    Acknowledgement,
    FellBack,
    Finished,
    Measurements,
    Record,
    Segment,
    SegmentEnded,
    SessionBegan,
)
from pacesetter.schedules import Linear, Schedule
from pacesetter.transport import UnreadableSegment

from tests.support.service import ScriptedTransport, after_end, constant, segment
from tests.support.training import Regression, start, train

MAIN = segment(1, 0, when="now", length=5)
PROBE = segment(2, 1, kind="probe", start=5, length=3, policy=constant(3.0), data="rewind")


def answers(transport: ScriptedTransport) -> list[tuple[int, str, str | None]]:
    return [(each.segment, each.status, each.code) for each in transport.of(Acknowledgement)]


def test_a_probe_leaves_no_trace_on_the_main_line() -> None:
    plain, plain_model, _ = start(ScriptedTransport())
    undisturbed = train(plain, plain_model)
    transport = ScriptedTransport(after_end({2: segment(3, 2, start=5, length=15)}), [MAIN, PROBE])
    run, model, _ = start(transport)
    rows = train(run, model)
    assert [row["loss"] for row in rows if row["main"]] == [row["loss"] for row in undisturbed]
    probe = [row for row in rows if not row["main"]]
    assert [row["position"] for row in probe] == [5, 6, 7]
    assert [row["lr"] for row in probe] == pytest.approx([0.3] * 3)
    for ours, theirs in zip(model.parameters(), plain_model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_records_come_in_the_order_of_events() -> None:
    transport = ScriptedTransport(after_end({2: segment(3, 2, start=5, length=15)}), [MAIN, PROBE])
    run, model, _ = start(transport, validate=lambda: 1.5)
    train(run, model)
    result = run.finish()
    assert transport.order() == [
        "session_began:0",
        "acknowledgement:1",
        "measurements:1",
        "segment_ended:1",
        "acknowledgement:2",
        "measurements:2",
        "segment_ended:2",
        "acknowledgement:3",
        "measurements:3",
        "segment_ended:3",
        "finished:3",
    ]
    assert [record.number for record in transport.records] == list(range(1, 12))
    assert (result.completed, result.steps, result.validation_loss) == (True, 20, 1.5)
    ledger = result.ledger
    assert (ledger.main_steps, ledger.probe_steps, ledger.probe_tokens) == (20, 3, 24)
    assert ledger.discarded_tokens == 0


def test_rows_carry_what_was_measured_at_every_step() -> None:
    transport = ScriptedTransport(segments=[MAIN, PROBE])
    run, model, _ = start(transport)
    rows = train(run, model)
    run.finish()
    first, probe, *_ = transport.of(Measurements)
    assert first.columns["position"] == [0, 1, 2, 3, 4]
    assert first.columns["loss"] == [row["loss"] for row in rows[:5]]
    assert first.columns["tokens"] == [8] * 5
    assert probe.columns["step"] == [6, 7, 8]
    assert probe.columns["multiplier"] == pytest.approx([3.0] * 3)


def test_every_nth_row_is_reported_and_always_the_last() -> None:
    sparse = segment(1, 0, when="now", length=20, measure={"report_every": 3})
    transport = ScriptedTransport(segments=[sparse])
    run, model, _ = start(transport)
    train(run, model)
    positions = [p for each in transport.of(Measurements) for p in each.columns["position"]]
    assert positions == [2, 5, 8, 11, 14, 17, 19]


def test_a_segment_above_the_limits_is_refused_and_training_goes_on() -> None:
    greedy = segment(1, 0, when="now", length=20, policy=constant(5.0))
    transport = ScriptedTransport(segments=[greedy])
    run, model, _ = start(transport, limits=pacesetter.Limits(max_multiplier=2.0))
    rows = train(run, model)
    assert answers(transport) == [(1, "refused", "ABOVE_LIMIT")]
    assert {row["lr"] for row in rows} == {0.1}
    assert run.finish().refused == 1


def test_a_segment_that_comes_later_is_judged_by_the_step_before_it() -> None:
    decay = Schedule(length=20, floor=0.5, body=Linear())
    first = segment(1, 0, when="now", length=10, policy=decay)
    step_down = segment(2, 1, start=10, length=10, policy=constant(0.5))
    step_up = segment(2, 1, start=10, length=10, policy=constant(1.25))
    for later, expected in [(step_down, "applied"), (step_up, "refused")]:
        # It arrives at 0, where the multiplier is 1; its own first step follows the 0.775 of position 9.
        transport = ScriptedTransport(segments=[first, later])
        limits = pacesetter.Limits(max_multiplier=2.0, max_change_per_step=1.6)
        run, model, _ = start(transport, limits=limits)
        train(run, model)
        assert dict(answer[:2] for answer in answers(transport))[2] == expected


def test_a_segment_that_cannot_be_read_is_refused() -> None:
    transport = ScriptedTransport()
    transport.inbox.append(UnreadableSegment(1, 0, "family 'later' is unknown"))
    run, model, _ = start(transport)
    train(run, model)
    assert answers(transport) == [(1, "refused", "UNREADABLE")]


def test_without_rollback_a_probe_is_refused() -> None:
    transport = ScriptedTransport(segments=[MAIN, segment(2, 1, kind="probe", start=5, length=3)])
    run, model, _ = start(transport, rollback="none")
    rows = train(run, model)
    assert answers(transport) == [(2, "refused", "NO_ROLLBACK"), (1, "applied", None)]
    assert all(row["main"] for row in rows)
    assert transport.spec is not None
    assert transport.spec.capabilities.rewind_batches == 0


def test_a_nan_loss_ends_a_probe_at_once() -> None:
    guarded = segment(2, 1, kind="probe", start=5, length=10, stop_if=[{"rule": "non_finite"}])
    transport = ScriptedTransport(segments=[MAIN, guarded])
    run, model, _ = start(transport)
    for inputs, targets in run.batches(Regression()):
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        run.step(loss * float("nan") if run.position == 7 and not run.on_main_line else loss)
    ended = transport.of(SegmentEnded)[1]
    assert (ended.outcome, ended.code, ended.steps) == ("stopped", "NON_FINITE", 3)
    assert run.finish().completed


def test_a_loss_is_judged_after_the_stated_lag_and_at_the_end_of_the_segment() -> None:
    guarded = segment(1, 0, when="now", kind="probe", length=10, stop_if=[{"rule": "non_finite"}])
    for bad, steps in [(2, 7), (8, 10)]:
        transport = ScriptedTransport(segments=[guarded])
        run, model, _ = start(transport, lag_steps=4)
        for inputs, targets in run.batches(Regression()):
            loss = ((model(inputs) - targets) ** 2).mean()
            loss.backward()
            off = not run.on_main_line and run.position == bad
            run.step(loss * float("nan") if off else loss)
        ended = transport.of(SegmentEnded)[0]
        assert (ended.outcome, ended.code, ended.steps) == ("stopped", "NON_FINITE", steps)


def test_without_an_answer_it_falls_back_once_said_and_is_steered_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def script(record: Record) -> Iterable[Segment]:
        if isinstance(record, FellBack):
            yield segment(3, 2, start=5, length=15)  # the late answer to the probe
            yield segment(4, record.follows, when="now", start=5, length=15, policy=constant(2.0))

    transport = ScriptedTransport(script, [MAIN, PROBE])
    run, model, _ = start(transport)
    with caplog.at_level(logging.INFO, logger="pacesetter"):
        rows = train(run, model)
    assert [each.follows for each in transport.of(FellBack)] == [1]
    assert (3, "stale", "OUT_OF_ORDER") in answers(transport)
    assert (4, "applied", None) in answers(transport)
    assert [row["position"] for row in rows if row["main"]] == list(range(20))
    assert rows[-1]["lr"] == 0.2
    said = [record.message for record in caplog.records if "newest policy" in record.message]
    assert len(said) == 1


def test_the_service_away_from_start_to_end_changes_nothing_but_the_log() -> None:
    transport = ScriptedTransport(segments=[MAIN])
    transport.away = True
    run, model, _ = start(transport)
    rows = train(run, model)
    result = run.finish()
    assert [row["position"] for row in rows] == list(range(20))
    assert (result.completed, result.job) == (True, None)


def test_a_registration_that_comes_late_starts_the_steering() -> None:
    transport = ScriptedTransport(
        segments=[segment(1, 0, when="now", length=400, policy=constant(0.5))]
    )
    transport.away = True
    run, model, _ = start(transport, budget=pacesetter.Steps(450))
    inputs, targets = Regression().batch_at(0)
    while not run.done:
        ((model(inputs) - targets) ** 2).mean().backward()
        run.step(1.0)
        if run.position == 10:
            transport.away, transport.late = False, transport.registration()
    assert (1, "applied", None) in answers(transport)


def test_a_stop_ends_the_run_early_where_that_is_allowed() -> None:
    stop = segment(2, 1, kind="stop", start=5, length=0)
    transport = ScriptedTransport(segments=[MAIN, stop])
    limits = pacesetter.Limits(allow_shorter_main=True)
    run, model, _ = start(transport, limits=limits)
    rows = train(run, model)
    assert len(rows) == 5
    assert answers(transport) == [(1, "applied", None), (2, "applied", None)]
    assert run.finish().completed


def test_a_newer_session_silences_this_one_and_its_probe_is_left() -> None:
    transport = ScriptedTransport(segments=[MAIN, PROBE])
    run, model, _ = start(transport)
    for inputs, targets in run.batches(Regression()):
        ((model(inputs) - targets) ** 2).mean().backward()
        if not run.on_main_line:
            transport.quiet = True
        run.step(1.0)
    assert transport.of(SegmentEnded)[1].code == "SILENCED"
    assert run.finish().completed


def test_finishing_inside_a_probe_restores_the_main_line() -> None:
    long_probe = segment(2, 1, kind="probe", start=5, length=90, policy=constant(3.0))
    transport = ScriptedTransport(segments=[MAIN, long_probe])
    run, model, _ = start(transport)
    kept: list[torch.Tensor] = []
    for inputs, targets in run.batches(Regression()):
        ((model(inputs) - targets) ** 2).mean().backward()
        run.step(1.0)
        if not run.on_main_line and not kept:
            kept = [parameter.detach().clone() for parameter in model.parameters()]
        if run.position == 9:
            break
    result = run.finish()
    assert not result.completed
    assert result.position == 5
    for parameter, before in zip(model.parameters(), kept, strict=True):
        assert torch.equal(parameter, before)
    assert transport.of(Finished)[0].completed is False


def test_an_exception_leaves_the_probe_and_is_not_masked() -> None:
    long_probe = segment(2, 1, kind="probe", start=5, length=90)
    transport = ScriptedTransport(segments=[MAIN, long_probe])
    run, model, _ = start(transport)
    with pytest.raises(ZeroDivisionError), run:
        for inputs, targets in run.batches(Regression()):
            ((model(inputs) - targets) ** 2).mean().backward()
            run.step(1.0)
            if run.position == 8:
                raise ZeroDivisionError
    assert run.on_main_line
    assert run.position == 5
    assert transport.closed
    (finished,) = transport.of(Finished)
    assert (finished.completed, finished.position) == (False, 5)
    assert finished.detail == "left by ZeroDivisionError"
    assert transport.of(SegmentEnded)[-1].code == "ABANDONED"


def test_the_session_says_where_it_begins() -> None:
    transport = ScriptedTransport()
    run, model, _ = start(transport)
    train(run, model)
    began = transport.records[0]
    assert isinstance(began, SessionBegan)
    assert (began.number, began.position, began.resumed, began.world_size) == (1, 0, False, 1)
