"""The client and the controller together: what is announced is what the optimizer runs at."""

import pacesetter
import pytest
from pacesetter.errors import RegistrationRefused
from pacesetter.schedules import Schedule

from tests.faults.harness import ControllerProcess, eventually
from tests.protocol.training import BASE, Training


def test_a_segment_is_applied_and_read_back_on_every_group_of_every_optimizer(
    controller: ControllerProcess,
) -> None:
    training = Training(controller)
    training.step()
    seq = training.override(kind="multiplier", multiplier=0.25, by="a test")
    training.step_until(lambda: training.acknowledgement(seq) is not None, most=390)
    acknowledged = training.acknowledgement(seq)
    assert acknowledged is not None
    assert acknowledged["status"] == "applied"
    expected = {name: 0.25 * base for name, base in BASE.items()}
    assert training.learning_rates() == pytest.approx(expected, rel=1e-12)
    groups = {group["group"].split("/")[-1]: group for group in acknowledged["groups"]}
    assert {name: group["lr_after"] for name, group in groups.items()} == pytest.approx(expected)
    for name in ("body", "head"):
        assert groups[name]["verification"] == "verified"
        assert groups[name]["lr_applied"] == pytest.approx(expected[name], rel=1e-2)
    training.run.finish()


def test_a_segment_outside_the_limits_is_refused_and_logged_and_changes_nothing(
    controller: ControllerProcess,
) -> None:
    # The base schedule itself is above the limit: the strategy sends it, and the client is the judge.
    training = Training(controller, limits=pacesetter.Limits(max_multiplier=0.5))
    training.step()
    training.step_until(lambda: training.acknowledgement(1) is not None, most=390)
    refusal = training.acknowledgement(1)
    assert refusal is not None
    assert (refusal["status"], refusal["code"]) == ("refused", "ABOVE_LIMIT")
    assert "is above 0.5" in refusal["detail"]
    base = training.run.job.base
    assert training.main_line() == {
        at: base.at(at) * BASE["body"] for at in range(training.run.position)
    }
    training.run.finish()


def test_a_person_is_told_at_once_which_limit_forbids_it(controller: ControllerProcess) -> None:
    training = Training(controller, limits=pacesetter.Limits(max_multiplier=2.0))
    training.step()
    path = f"/v1/jobs/{training.job}/overrides"
    reply = controller.api.post(path, json={"kind": "lr", "lr": 0.5})
    problem = reply.json()
    assert (reply.status_code, problem["code"]) == (422, "ABOVE_LIMIT")
    # 0.5 over the lowest base rate of the three groups
    assert "multiplier 166.667" in problem["detail"]
    assert "max_multiplier=2.0" in problem["detail"]
    seqs = [segment["seq"] for segment in training.segments()]
    assert seqs in ([], [1])
    training.run.finish()


def test_a_learning_rate_for_one_set_leaves_the_others_on_their_schedule(
    controller: ControllerProcess,
) -> None:
    training = Training(controller, controls={"optimizer0/body": "body"})
    training.step()
    seq = training.override(kind="lr", lr=4e-3, controls=["body"], by="ada")
    training.step_until(lambda: training.acknowledgement(seq) is not None, most=390)
    at = training.run.position
    base = training.run.job.base
    expected = {name: base.at(at) * BASE[name] for name in ("head", "bias")}
    assert training.learning_rates() == pytest.approx({"body": 4e-3, **expected}, rel=1e-12)
    training.run.finish()


def test_a_schedule_of_one_s_own_is_followed_to_the_end(controller: ControllerProcess) -> None:
    training = Training(controller, strategy="manual", steps=200)
    training.step()
    own = {"length": 200, "peak": 0.6, "body": {"family": "cosine"}}
    seq = training.override(kind="schedule", schedule=own, by="ada")
    training.step_until(lambda: training.acknowledgement(seq) is not None, most=190)
    acknowledged = training.acknowledgement(seq)
    assert acknowledged is not None
    assert acknowledged["status"] == "applied"
    training.finish_training()
    schedule = Schedule.model_validate(own)
    line = training.main_line()
    assert line[199] == pytest.approx(schedule.at(199) * BASE["body"], rel=1e-12)
    taken = [at for at in line if line[at] == pytest.approx(schedule.at(at) * BASE["body"])]
    assert len(taken) >= 200 - acknowledged["position"]
    training.run.finish()


def test_a_strategy_that_needs_more_than_the_job_can_do_is_refused_at_registration(
    controller: ControllerProcess,
) -> None:
    training = Training(controller, strategy="autolrs", rollback="none")
    with pytest.raises(RegistrationRefused) as refused:
        training.step()
    assert "fixed" in str(refused.value)
    assert "rollback" in str(refused.value)


def test_a_paused_job_trains_on_and_is_steered_again_after_resume(
    controller: ControllerProcess,
) -> None:
    training = Training(controller)
    training.step()
    assert controller.api.post(f"/v1/jobs/{training.job}:pause").is_success
    for _ in range(20):
        training.step()
    assert training.run.position == 21
    assert controller.api.post(f"/v1/jobs/{training.job}:resume").is_success
    seq = training.override(kind="multiplier", multiplier=0.5)
    training.step_until(lambda: training.acknowledgement(seq) is not None, most=350)
    training.run.finish()


def test_a_cancelled_job_stops_on_its_main_line(controller: ControllerProcess) -> None:
    training = Training(controller)
    training.step()
    assert controller.api.post(f"/v1/jobs/{training.job}:cancel").is_success

    def has_stopped() -> bool:
        """Looking at the service paces the steps, so that the stop has time to arrive."""
        return bool(controller.get(f"/v1/jobs/{training.job}")) and training.run.done

    training.step_until(has_stopped, most=390)
    assert training.run.on_main_line
    training.run.finish()
    assert controller.get(f"/v1/jobs/{training.job}")["status"] == "cancelled"


def test_a_finished_job_is_completed_with_every_row_and_a_ledger_that_adds_up(
    controller: ControllerProcess,
) -> None:
    training = Training(controller, steps=60)
    for _ in range(60):
        training.step()
    training.run.finish()
    job = training.job
    assert eventually(lambda: controller.get(f"/v1/jobs/{job}")["status"] == "completed", "the end")
    curve = controller.get(f"/v1/jobs/{job}/curve", max_points=1000)
    assert [int(step) for step in curve["columns"]["step"]] == list(range(1, 61))
    totals = controller.get(f"/v1/jobs/{job}/ledger")["totals"]
    assert (totals["main_steps"], totals["probe_steps"]) == (60, 0)


def test_a_whole_searched_job_ends_on_the_main_line_within_its_cap(
    controller: ControllerProcess,
) -> None:
    parameters = {"candidates": 3, "min_multiplier": 0.1, "max_multiplier": 10.0}
    training = Training(
        controller,
        steps=200,
        strategy="autolrs",
        strategy_parameters=parameters,
        limits=pacesetter.Limits(max_multiplier=10.0),
    )
    training.finish_training()
    assert training.run.on_main_line
    training.run.finish()
    job = training.job
    totals = controller.get(f"/v1/jobs/{job}/ledger")["totals"]
    assert totals["main_steps"] == 200
    assert 0 < totals["probe_steps"] <= 200
    decisions = controller.events(job, "decision")
    assert decisions
    assert all(event["body"]["text"] for event in decisions)
    mismatches = [n for n in controller.events(job, "notice") if n["body"]["level"] == "alert"]
    assert mismatches == []


def test_a_job_steered_for_the_end_of_its_budget_says_what_it_weighed(
    controller: ControllerProcess,
) -> None:
    parameters = {
        "objective": "horizon",
        "lr_uncertainty": 3.0,
        "keep_share": 0.15,
        "decide_at": [0.3],
    }
    training = Training(controller, strategy="autolrs", strategy_parameters=parameters, steps=800)
    training.step()
    job = training.job

    def is_over() -> bool:
        """Looking at the service paces the steps, so that a plan has time to arrive."""
        return bool(controller.get(f"/v1/jobs/{job}")) and training.run.done

    training.step_until(is_over, most=1000)
    assert training.run.on_main_line
    training.run.finish()
    totals = controller.get(f"/v1/jobs/{job}/ledger")["totals"]
    decisions = {
        event["body"]["code"]: event["body"] for event in controller.events(job, "decision")
    }
    assert totals["main_steps"] == 800
    assert 0 < totals["probe_steps"] <= 120
    assert {"worth_probing", "measured"} <= decisions.keys()
    numbers = decisions["worth_probing"]["numbers"]
    assert {"expected_gain", "cost", "minimum_detectable_effect"} <= numbers.keys()
