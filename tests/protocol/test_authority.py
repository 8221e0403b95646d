"""Who decides, from the service's answer to the optimizer's learning rate."""

from collections.abc import Iterator
from typing import Any

import pacesetter
import pytest

from tests.faults.harness import ControllerProcess, eventually
from tests.protocol.training import BASE, Training


def proposals(training: Training) -> list[dict[str, Any]]:
    events = training.controller.events(training.job, "proposal")
    return [event["body"] for event in events]


@pytest.mark.parametrize("authority", ["observe", "advise", "approve"])
def test_nothing_is_sent_unasked(controller: ControllerProcess, authority: str) -> None:
    training = Training(controller, steps=40, authority=authority)
    training.step()
    eventually(lambda: proposals(training), "the strategy's proposal")
    training.finish_training()
    result = training.run.finish()
    assert training.segments() == []
    assert (result.applied, result.refused, result.fallbacks) == (0, 0, 0)
    base = training.run.job.base
    assert training.main_line() == {at: base.at(at) * BASE["body"] for at in range(40)}
    assert all(on_main for _, on_main, _, _ in training.rows)


@pytest.mark.parametrize("authority", ["observe", "advise", "approve"])
@pytest.mark.parametrize("strategy", ["autolrs", "zero_tuning"])
def test_a_search_is_refused_where_it_may_not_steer(
    controller: ControllerProcess, strategy: str, authority: str
) -> None:
    training = Training(controller, strategy=strategy, authority=authority)
    with pytest.raises(pacesetter.RegistrationRefused) as refused:
        training.step()
    assert "steer" in str(refused.value)
    assert "fixed" in str(refused.value)


def test_an_approved_proposal_is_applied_and_read_back(controller: ControllerProcess) -> None:
    training = Training(controller, authority="approve")
    training.step()
    proposal = eventually(lambda: proposals(training), "the strategy's proposal")[0]
    assert training.acknowledgement(proposal["seq"]) is None
    assert training.override(kind="approve", seq=proposal["seq"], by="ada") == proposal["seq"]
    training.step_until(lambda: training.acknowledgement(proposal["seq"]) is not None, most=390)
    acknowledged = training.acknowledgement(proposal["seq"])
    assert acknowledged is not None
    assert acknowledged["status"] == "applied"
    (approval,) = controller.events(training.job, "approved")
    assert approval["body"]["by"] == "ada"
    training.run.finish()


def test_a_proposal_cannot_be_approved_once_the_job_is_past_it(
    controller: ControllerProcess,
) -> None:
    training = Training(controller, steps=30, authority="approve")
    training.step()
    proposal = eventually(lambda: proposals(training), "the strategy's proposal")[0]
    training.finish_training()
    training.run.finish()
    path, body = f"/v1/jobs/{training.job}/overrides", {"kind": "approve", "seq": proposal["seq"]}
    reply = controller.api.post(path, json=body)
    assert reply.status_code == 409
    assert reply.json()["code"] in ("JOB_ENDED", "PROPOSAL_EXPIRED")
    assert reply.json()["hint"]


def test_a_proposal_nobody_made_is_not_found(controller: ControllerProcess) -> None:
    training = Training(controller, authority="approve")
    training.step()
    path = f"/v1/jobs/{training.job}/overrides"
    reply = controller.api.post(path, json={"kind": "approve", "seq": 99})
    assert (reply.status_code, reply.json()["code"]) == (404, "PROPOSAL_NOT_FOUND")
    training.run.finish()


@pytest.fixture
def either_controller(
    tmp_path_factory: pytest.TempPathFactory, database_url: str
) -> Iterator[ControllerProcess]:
    """A controller on SQLite, and one on PostgreSQL."""
    process = ControllerProcess(tmp_path_factory.mktemp("either"), database_url)
    process.start()
    yield process
    process.stop()


def test_reject_one_set_a_rate_hand_back_and_approve(either_controller: ControllerProcess) -> None:
    controller = either_controller
    training = Training(controller, authority="approve")
    training.step()
    first = eventually(lambda: proposals(training), "the strategy's proposal")[0]["seq"]
    path = f"/v1/jobs/{training.job}/overrides"
    rejected = controller.api.post(path, json={"kind": "reject", "seq": first, "by": "ada"})
    assert (rejected.status_code, rejected.json()["segments"]) == (201, [])
    assert controller.api.post(path, json={"kind": "approve", "seq": first}).status_code == 404
    seq = training.override(kind="multiplier", multiplier=0.25, by="ada", reason="too fast")
    training.step_until(lambda: training.acknowledgement(seq) is not None, most=150)
    assert training.learning_rates()["body"] == pytest.approx(0.25 * BASE["body"], rel=1e-12)
    assert controller.api.post(path, json={"kind": "strategy", "by": "ada"}).status_code == 201
    second = eventually(lambda: proposals(training)[1:], "the base schedule's proposal")[0]["seq"]
    training.override(kind="approve", seq=second, by="ada")
    training.step_until(lambda: training.acknowledgement(second) is not None, most=240)
    at = training.run.position
    base = training.run.job.base
    assert training.learning_rates()["body"] == pytest.approx(base.at(at) * BASE["body"], rel=1e-12)
    training.run.finish()
    types = [event["type"] for event in controller.events(training.job)]
    told = [each for each in types if each in ("rejected", "override", "handed_back", "approved")]
    assert told == ["rejected", "override", "handed_back", "approved"]


@pytest.mark.parametrize("authority", ["advise", "approve"])
def test_manual_proposes_nothing_and_a_person_may_set_the_rate(
    controller: ControllerProcess, authority: str
) -> None:
    training = Training(controller, strategy="manual", authority=authority)
    training.step()
    seq = training.override(kind="multiplier", multiplier=0.5)
    training.step_until(lambda: training.acknowledgement(seq) is not None, most=390)
    assert training.learning_rates()["body"] == pytest.approx(0.5 * BASE["body"], rel=1e-12)
    assert proposals(training) == []
    training.run.finish()


def test_a_proposal_that_nobody_approves_expires_and_the_job_keeps_its_schedule(
    controller: ControllerProcess,
) -> None:
    training = Training(controller, steps=30, authority="approve")
    training.step()
    eventually(lambda: proposals(training), "the strategy's proposal")
    training.finish_training()
    training.run.finish()
    expired = eventually(lambda: training.acknowledgement(1), "the proposal to expire")
    assert (expired["status"], expired["code"]) == ("expired", "NOT_APPROVED")
    base = training.run.job.base
    assert training.main_line() == {at: base.at(at) * BASE["body"] for at in range(30)}
