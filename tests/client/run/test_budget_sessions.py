"""Budgets over sessions: a state knows the one given and the one that it came to."""

import json
from collections.abc import Iterable
from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.protocol import Acknowledgement, Segment
from pacesetter.schedules import Linear, Schedule

from tests.client.run.test_budgets import ALLOWED, to_budget
from tests.support.service import ScriptedTransport, segment
from tests.support.training import Noisy, Regression, start, train


def saved(
    at: int, segments: Iterable[Segment], *, budget: int = 20
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the state of a run before the step at ``at``, and the rows of the whole run."""
    transport = ScriptedTransport(segments=segments)
    base = Schedule(length=budget, body=Linear())
    run, model, _ = start(transport, budget=pacesetter.Steps(budget), base=base, limits=ALLOWED)
    state: dict[str, Any] = {}
    rows = []
    for inputs, targets in run.batches(Regression()):
        if run.position == at:
            state = json.loads(json.dumps(run.state_dict()))
        rows.append({"position": run.position, **run.learning_rates()})
        ((model(inputs) - targets) ** 2).mean().backward()
        run.step(1.0)
    run.finish()
    return state, rows


def resumed(
    state: dict[str, Any], transport: ScriptedTransport, *, budget: int = 20, **settings: Any
) -> tuple[pacesetter.Run, Noisy]:
    base = Schedule(length=budget, body=Linear())
    fields = {"base": base, "limits": ALLOWED, **settings}
    run, model, _ = start(transport, budget=pacesetter.Steps(budget), resume=state, **fields)
    return run, model


@pytest.mark.parametrize("away", [False, True])
def test_an_unchanged_script_resumes_with_the_changed_budget(away: bool) -> None:
    sent = (to_budget(30, start=0),)
    state, whole = saved(12, sent)
    assert (state["registered"], state["total"]) == (20, 30)
    transport = ScriptedTransport(segments=sent, session_number=2, kept_through=1)
    transport.away = away
    run, model = resumed(state, transport)
    assert (run.position, run.budget) == (12, 30)
    rows = train(run, model)
    expected = [(row["position"], row["optimizer/group0"]) for row in whole[12:]]
    assert [(row["position"], row["lr"]) for row in rows] == expected
    assert run.finish().completed
    assert transport.spec is not None
    assert transport.spec.budget.total == 20


def test_a_state_of_before_the_change_goes_on_to_the_budget_given_and_then_to_the_changed_one() -> (
    None
):
    state, _ = saved(5, ())
    again = to_budget(30, 1, 0, start=5)
    transport = ScriptedTransport(session_number=2, kept_through=0)
    transport.inbox.append(again)
    run, model = resumed(state, transport)
    assert run.budget == 20
    train(run, model)
    assert (run.position, run.budget) == (30, 30)


@pytest.mark.parametrize("budget", [16, 50])
def test_a_budget_that_the_script_changed_counts_whatever_the_state_and_the_limits_say(
    budget: int,
) -> None:
    sent = to_budget(30, start=0)
    state, whole = saved(12, (sent,))
    transport = ScriptedTransport()
    transport.away = True
    run, model = resumed(state, transport, budget=budget, limits=pacesetter.Limits())
    assert run.budget == budget
    rows = train(run, model)
    assert [row["position"] for row in rows] == list(range(12, budget))
    # It goes on where the segment that ran had come to: back to the line over all of a longer budget, or down faster.
    level = whole[12]["optimizer/group0"]
    expected = [level * (budget - at) / (budget - 12) for at in range(12, budget)]
    if budget == 50:
        expected[1:] = [0.1 * (budget - at) / budget for at in range(13, budget)]
    assert [row["lr"] for row in rows] == pytest.approx(expected)
    assert run.finish().completed


def test_a_script_with_a_new_budget_drops_what_an_earlier_session_was_to_do_next() -> None:
    sent = to_budget(30, start=0, length=15)
    state, _ = saved(12, (sent,))
    probe = segment(2, 1, kind="probe", start=15, length=3)
    transport = ScriptedTransport(segments=(sent, probe), session_number=2, kept_through=2)
    run, model = resumed(state, transport, budget=50)
    rows = train(run, model)
    assert all(row["main"] for row in rows)
    assert rows[-1]["position"] == 49
    assert transport.of(Acknowledgement) == []


@pytest.mark.parametrize(("budget", "fits"), [(11, False), (12, False), (13, True)])
def test_a_script_s_new_budget_has_to_lie_before_the_place_of_resuming(
    budget: int, fits: bool
) -> None:
    state, _ = saved(12, ())
    if fits:
        assert resumed(state, ScriptedTransport(), budget=budget)[0].budget == budget
        return
    with pytest.raises(pacesetter.StateMismatch, match=f"stands at 12 .* a budget of {budget}"):
        resumed(state, ScriptedTransport(), budget=budget)


def test_a_state_that_knows_one_budget_only_is_one_of_before_they_could_change() -> None:
    state, _ = saved(12, ())
    del state["registered"]
    assert resumed(state, ScriptedTransport())[0].budget == 20
    assert resumed(state, ScriptedTransport(), budget=40)[0].budget == 40


def test_a_run_that_is_disabled_goes_on_to_the_budget_that_the_state_or_the_script_has() -> None:
    state, _ = saved(12, (to_budget(30, start=0),))
    for budget, expected in ((20, 30), (16, 16)):
        model = Noisy()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run = pacesetter.attach(
            model,
            optimizer,
            name="test",
            budget=pacesetter.Steps(budget),
            mode="disabled",
            resume=state,
        )
        train(run, model)
        assert (run.position, run.budget, run.done) == (expected, expected, True)
        assert (run.state_dict()["registered"], run.state_dict()["total"]) == (budget, expected)
