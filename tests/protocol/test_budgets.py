"""Budgets that change while a real job trains: extended, cut short, refused, and through restarts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pacesetter
import pytest
from pacesetter import cli
from pacesetter.schedules import Schedule

from tests.faults.harness import ControllerProcess, JobProcess, JobRanks, eventually
from tests.protocol.training import BASE, Training

STEPS, LONGER, SHORTER = 400, 600, 250
EXTENDABLE = pacesetter.Limits(max_budget=LONGER)


def set_budget(training: Training, total: int, **body: Any) -> int:
    """Set the budget, and train until the job follows the segment that brings it; return its number."""
    seq = training.override(kind="budget", total=total, **body)

    def is_followed() -> bool:
        """Looking at the service paces the steps, so that the segment has time to arrive."""
        return bool(training.segments()) and training.run.budget == total

    training.step_until(is_followed, most=200)
    return seq


def pieces(controller: ControllerProcess, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = controller.get(f"/v1/jobs/{job}/schedule")["pieces"]
    return found


def assert_as_recorded(
    line: dict[int, float], controller: ControllerProcess, job: str, base_lr: float
) -> None:
    """Every main-line rate is what the service has on record for its position."""
    recorded = pieces(controller, job)
    for at, rate in line.items():
        piece = [each for each in recorded if each["start"] <= at][-1]
        policy = Schedule.model_validate(piece["policy"])
        assert rate == pytest.approx(policy.at(at) * base_lr, rel=1e-9), at


def extend(controller: ControllerProcess, external_id: str) -> tuple[str, int]:
    """Extend a job of another process; return its id and the segment that brings the budget."""
    job = controller.job_id(external_id)
    assert job is not None
    body = {"kind": "budget", "total": LONGER}
    reply = controller.api.post(f"/v1/jobs/{job}/overrides", json=body).raise_for_status()
    return job, int(reply.json()["segments"][-1])


def sent(controller: ControllerProcess, job: str) -> list[dict[str, Any]]:
    page = controller.get(f"/v1/jobs/{job}/segments", after=0, wait=0)
    return [each for each in page["segments"] if each["kind"] == "main"]


def acknowledged(controller: ControllerProcess, job: str, seq: int) -> bool:
    return any(each["segment"] == seq for each in controller.events(job, "acknowledgement"))


def completed(controller: ControllerProcess, job: str) -> dict[str, Any]:
    eventually(lambda: controller.get(f"/v1/jobs/{job}")["status"] == "completed", "the end")
    view: dict[str, Any] = controller.get(f"/v1/jobs/{job}")
    return view


def state_of(training: Training) -> dict[str, Any]:
    return {
        "run": json.loads(json.dumps(training.run.state_dict())),
        "model": {name: each.clone() for name, each in training.model.state_dict().items()},
    }


def resumed(
    controller: ControllerProcess, first: Training, state: dict[str, Any], **options: Any
) -> Training:
    """Start the job again from a state; the optimizers begin anew, as no test here looks at their moments."""
    training = Training(
        controller, external_id=first.external_id, **{"resume": state["run"], **options}
    )
    training.model.load_state_dict(state["model"])
    return training


@pytest.mark.parametrize("strategy", ["fixed", "manual"])
@pytest.mark.parametrize("total", [LONGER, SHORTER])
def test_a_job_trains_to_the_budget_that_a_person_set_in_its_middle(
    controller: ControllerProcess, strategy: str, total: int
) -> None:
    limits = pacesetter.Limits(max_budget=LONGER, allow_shorter_main=True)
    training = Training(controller, strategy=strategy, limits=limits)
    training.step_until(lambda: training.run.position >= 20, most=30)
    seq = set_budget(training, total, by="ada")
    assert training.run.budget == total
    training.finish_training()
    result = training.run.finish()
    assert (result.completed, result.position, result.refused) == (True, total, 0)
    view = completed(controller, training.job)
    assert (view["budget"], view["main_position"], view["overridden"]) == (total, total, False)
    assert controller.get(f"/v1/jobs/{training.job}/ledger")["totals"]["main_steps"] == total
    line = training.main_line()
    assert list(line) == list(range(total))
    assert_as_recorded(line, controller, training.job, BASE["body"])
    acknowledgement = training.acknowledgement(seq)
    assert acknowledgement is not None
    assert acknowledgement["status"] == "applied"
    # It ends at zero, one step on: the end of the new budget.
    assert 0 < line[total - 1] < 0.02 * BASE["body"]


def test_a_tuned_main_line_is_led_on_at_its_rate_and_goes_back_to_the_strategy(
    controller: ControllerProcess,
) -> None:
    training = Training(
        controller,
        strategy="zero_tuning",
        strategy_parameters={"trust": 1.0, "trust_octaves": 0.1},
        limits=EXTENDABLE,
    )
    # Its warm-up is over at 40.
    training.step_until(lambda: training.run.position >= 60, most=100)
    before = training.main_line()[59]
    set_budget(training, LONGER)
    after = training.learning_rates()["body"]
    assert 0.7 * before < after < 1.2 * before
    assert controller.get(f"/v1/jobs/{training.job}")["overridden"]
    back = controller.api.post(f"/v1/jobs/{training.job}/overrides", json={"kind": "strategy"})
    assert back.status_code == 201
    planned = eventually(
        lambda: [each for each in sent(controller, training.job) if each["origin"] != "person"][1:],
        "a segment of the strategy",
    )[0]
    training.finish_training()
    assert (training.run.finish().completed, training.run.position) == (True, LONGER)
    assert_as_recorded(training.main_line(), controller, training.job, BASE["body"])
    acknowledgement = training.acknowledgement(planned["seq"])
    assert acknowledgement is not None
    assert acknowledgement["status"] == "applied"


@pytest.mark.parametrize(
    ("total", "code"), [(SHORTER, "SHORTER_MAIN"), (LONGER, "ABOVE_MAX_BUDGET")]
)
def test_by_default_nobody_makes_a_run_longer_or_shorter_from_outside(
    controller: ControllerProcess, total: int, code: str
) -> None:
    training = Training(controller)
    training.step()
    path = f"/v1/jobs/{training.job}/overrides"
    reply = controller.api.post(path, json={"kind": "budget", "total": total})
    assert (reply.status_code, reply.json()["code"]) == (422, code)
    training.finish_training()
    assert training.run.finish().position == STEPS


def test_limits_that_a_restart_tightened_take_a_budget_back(controller: ControllerProcess) -> None:
    training = Training(controller, steps=3000, limits=pacesetter.Limits(max_budget=4000))
    training.step()
    state = state_of(training)
    path = f"/v1/jobs/{training.job}"
    training.step_until(lambda: controller.get(path)["main_position"] > 1, most=2000)
    set_budget(training, 4000)
    again = resumed(controller, training, state, steps=3000)
    again.step()

    def taken_back() -> bool:
        events = controller.events(again.job, "budget")
        return [each["body"]["cause"] for each in events] == ["override", "refused"]

    again.step_until(taken_back, most=2000)
    assert controller.get(f"/v1/jobs/{again.job}")["budget"] == 3000
    reason = controller.events(again.job, "budget")[-1]["body"]["reason"]
    assert reason.startswith("ABOVE_MAX_BUDGET: a budget of 4000 steps is above the 3000 given")
    again.finish_training()
    assert (again.run.finish().completed, again.run.position) == (True, 3000)
    training.run.finish()


def test_a_script_that_starts_again_with_a_larger_budget_trains_to_that(
    controller: ControllerProcess,
) -> None:
    training = Training(controller)
    training.step_until(lambda: training.run.position >= 100, most=200)
    state = state_of(training)
    longer = resumed(controller, training, state, steps=LONGER)
    assert (longer.run.position, longer.run.budget) == (100, LONGER)
    longer.step_until(lambda: longer.run.position >= 200, most=200)
    state = state_of(longer)
    # Once more, with nothing changed since.
    same = resumed(controller, longer, state, steps=LONGER)
    same.finish_training()
    assert (same.run.finish().completed, same.run.position) == (True, LONGER)
    view = completed(controller, same.job)
    assert (view["budget"], view["session_number"]) == (LONGER, 3)
    line = same.main_line()
    # The base schedule of the new script, whose warm-up it has behind it.
    base = Schedule.default_base(LONGER)
    assert line[LONGER - 1] == pytest.approx(base.at(LONGER - 1) * BASE["body"], rel=1e-9)
    assert [each["body"]["cause"] for each in controller.events(same.job, "budget")] == ["restart"]
    for each in (training, longer):
        each.run.finish()


def test_an_unchanged_script_that_starts_again_keeps_what_a_person_set(
    controller: ControllerProcess,
) -> None:
    training = Training(controller, limits=EXTENDABLE)
    training.step_until(lambda: training.run.position >= 20, most=100)
    set_budget(training, LONGER)
    state = state_of(training)
    again = resumed(controller, training, state, limits=EXTENDABLE)
    assert again.run.budget == LONGER
    again.finish_training()
    assert (again.run.finish().completed, again.run.position) == (True, LONGER)
    assert completed(controller, again.job)["budget"] == LONGER
    training.run.finish()


@pytest.mark.parametrize("saved_at", [30, 250])
def test_after_a_kill_the_job_resumes_to_the_budget_that_was_set_meanwhile(
    controller: ControllerProcess, tmp_path: Path, saved_at: int
) -> None:
    """The budget changes at 220; the checkpoint is of before, or of after."""
    name, change, kill = f"killed-{saved_at}", tmp_path / "change", tmp_path / "kill"
    checkpoint = tmp_path / "checkpoint.pt"
    options = ["--steps", str(STEPS), "--max-budget", str(LONGER), "--strategy", "fixed"]
    options += ["--checkpoint", str(checkpoint), "--save-at", str(saved_at)]
    waits = ["--gate", f"220:{change}", f"300:{kill}", "--await-segment", "220"]
    first = JobProcess(tmp_path, "first", controller.url, name, *options, *waits)
    eventually(lambda: len(first.rows()) >= 220, "the job to reach step 220")
    job, seq = extend(controller, name)
    change.touch()
    eventually(lambda: len(first.rows()) >= 300, "the job to reach step 300")
    eventually(lambda: acknowledged(controller, job, seq), "the service to hear of it")
    first.kill()
    rows = JobProcess(tmp_path, "second", controller.url, name, *options, "--resume").finish()
    assert [row["position"] for row in rows] == list(range(saved_at, LONGER))
    view = completed(controller, job)
    assert (view["budget"], view["main_position"]) == (LONGER, LONGER)
    policies = [Schedule.model_validate(each["policy"]) for each in sent(controller, job)]
    for row in rows:
        at, rate = row["position"], pytest.approx(row["lr"], rel=1e-9)
        # Told once more, it takes the change up some steps after its start, and long before where it was made first.
        known = policies[-1:] if at >= 220 else policies
        assert any(policy.at(at) * 1e-3 == rate for policy in known), at
    assert len(controller.events(job, "budget")) == 1


def test_two_ranks_train_to_the_same_changed_budget(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    name, change, end = "ranks-extended", tmp_path / "change", tmp_path / "end"
    options = ("--steps", str(STEPS), "--max-budget", str(LONGER), "--strategy", "fixed")
    waits = ("--gate", f"100:{change}", f"{STEPS - 10}:{end}")
    ranks = JobRanks(2, tmp_path, "job", controller.url, name, *options, *waits)
    eventually(lambda: all(len(each.rows()) >= 100 for each in ranks.ranks), "step 100")
    job, seq = extend(controller, name)
    change.touch()
    eventually(lambda: acknowledged(controller, job, seq), "the ranks to take it up")
    end.touch()
    first, second = ranks.finish()
    assert [row["position"] for row in first] == list(range(LONGER))
    assert [row["lr"] for row in first] == [row["lr"] for row in second]
    assert completed(controller, job)["budget"] == LONGER


@pytest.fixture
def own_controller(tmp_path: Path) -> Iterator[ControllerProcess]:
    """A controller that a test may stop."""
    process = ControllerProcess(tmp_path / "own")
    process.start()
    yield process
    process.stop()


def test_a_changed_budget_is_trained_to_its_end_while_the_service_is_away(
    own_controller: ControllerProcess,
) -> None:
    training = Training(own_controller, limits=EXTENDABLE)
    training.step_until(lambda: training.run.position >= 20, most=100)
    set_budget(training, LONGER)
    job, segments = training.job, training.segments()
    own_controller.kill()
    training.finish_training()
    policy = Schedule.model_validate(segments[-1]["policy"])
    line = training.main_line()
    assert line[LONGER - 1] == pytest.approx(policy.at(LONGER - 1) * BASE["body"], rel=1e-9)
    own_controller.start()
    result = training.run.finish()
    assert (result.completed, result.position) == (True, LONGER)
    assert completed(own_controller, job)["main_position"] == LONGER


def test_a_run_that_is_recorded_offline_with_two_budgets_is_one_job(
    controller: ControllerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACESETTER_DIR", str(tmp_path))
    first = Training(controller, mode="offline")
    for _ in range(100):
        first.step()
    state = state_of(first)
    first.run.finish()
    second = Training(
        controller,
        external_id=first.external_id,
        steps=LONGER,
        mode="offline",
        resume=state["run"],
    )
    second.finish_training()
    assert (second.run.finish().completed, second.run.position) == (True, LONGER)
    base = Schedule.default_base(LONGER)
    assert second.main_line() == {at: base.at(at) * BASE["body"] for at in range(100, LONGER)}
    assert cli.main(["sync", str(tmp_path), "--url", controller.url]) == 0
    view = completed(controller, first.job)
    assert (view["budget"], view["session_number"], view["main_position"]) == (LONGER, 2, LONGER)
