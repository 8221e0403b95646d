"""From a question to a job that runs on the answer, against a real controller."""

import json
import re
from pathlib import Path

import pacesetter
import pytest
import torch
from pacesetter import cli
from pacesetter.protocol import Evidence, SweptRun

from tests.faults.harness import ControllerProcess, free_port

Captured = pytest.CaptureFixture[str]

BATCH, STEPS = 32.0, 60
TARGET = pacesetter.Target(
    parameters=1e4, tokens=BATCH * STEPS, batch_tokens=BATCH, family="tiny", regime="finetune"
)
OPTIMUM = Evidence(parameters=1e4, tokens=BATCH * STEPS, batch_tokens=BATCH, lr=0.02)


@pytest.fixture
def url(controller: ControllerProcess, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PACESETTER_URL", controller.url)
    return controller.url


def test_a_job_runs_on_what_was_recommended_and_its_events_say_so(
    controller: ControllerProcess, url: str
) -> None:
    found = pacesetter.recommend(TARGET, evidence=[OPTIMUM])
    assert found.id is not None
    assert found.lr is not None
    assert found.schedule is not None
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 1)
    run = pacesetter.attach(
        model,
        torch.optim.AdamW(model.parameters(), lr=1.0),
        name="recommended",
        external_id="recommended",
        budget=pacesetter.Steps(STEPS),
        strategy="fixed",
        recommendation=found,
    )
    rates = []
    for batch in run.batches([torch.randn(32, 8) for _ in range(10)]):
        rates.append(run.learning_rates()["optimizer/group0"])
        loss = model(batch).square().mean()
        loss.backward()
        run.step(loss, tokens=run.count(batch))
    result = run.finish()
    assert result.completed
    assert rates == pytest.approx([found.lr * found.schedule.at(step) for step in range(STEPS)])
    assert result.job is not None
    job = controller.get(f"/v1/jobs/{result.job}")
    assert job["spec"]["recommendation"] == found.id
    assert job["spec"]["workload"]["family"] == "tiny"
    assert job["spec"]["regime"] == "finetune"
    (event,) = controller.events(result.job, "recommendation_applied")
    assert event["body"] == {"recommendation": found.id}


def test_sweeps_go_with_the_question(url: str) -> None:
    runs = tuple(SweptRun(lr=lr, loss=loss) for lr, loss in ((5e-3, 1.1), (2e-2, 1.0), (8e-2, 1.1)))
    sweep = pacesetter.Sweep(
        parameters=1e4, tokens=BATCH * STEPS, batch_tokens=BATCH, runs=runs, name="mine"
    )
    found = pacesetter.recommend(TARGET, sweeps=[sweep])
    source = next(one for one in found.evidence if one.name == "mine")
    assert source.lr == pytest.approx(2e-2, rel=0.01)
    assert found.target == TARGET


def test_a_schedule_s_parameters_arrive_as_they_were_given(url: str) -> None:
    from pacesetter.schedules import WSD

    target = pacesetter.Target(
        parameters=124e6, tokens=2.5e9, schedule_family=WSD(cooldown=0.3), floor=0.05
    )
    found = pacesetter.recommend(target)
    assert found.schedule is not None
    assert found.schedule.body == WSD(cooldown=0.3)
    assert found.schedule.floor == 0.05


def test_where_nothing_is_known_there_is_a_study_and_nothing_to_attach(url: str) -> None:
    found = pacesetter.recommend(pacesetter.Target(parameters=1e8, tokens=1e9, regime="lora"))
    assert found.status == "no_evidence"
    assert found.study is not None
    model = torch.nn.Linear(2, 1)
    with pytest.raises(pacesetter.ConfigurationError, match=re.escape(found.study.text)):
        pacesetter.attach(
            model,
            torch.optim.AdamW(model.parameters()),
            name="x",
            budget=pacesetter.Steps(10),
            recommendation=found,
        )


def test_a_question_that_the_service_refuses_says_what_is_wrong(url: str) -> None:
    with pytest.raises(pacesetter.ServiceError, match="parameters are missing") as refused:
        pacesetter.recommend(pacesetter.Target(tokens=1e9))
    assert (refused.value.code, refused.value.status) == ("INVALID_REQUEST", 422)
    impossible = pacesetter.Target(
        parameters=1e8, tokens=1e9, warmup_steps=0, schedule_family="inverse_sqrt"
    )
    with pytest.raises(pacesetter.ServiceError, match="set warmup") as refused:
        pacesetter.recommend(impossible)
    assert (refused.value.code, refused.value.status) == ("IMPOSSIBLE_TARGET", 422)


def test_what_is_no_question_is_refused_here() -> None:
    with pytest.raises(pacesetter.ConfigurationError, match=r"expected pacesetter\.Target"):
        pacesetter.recommend({"parameters": 1e8})  # type: ignore[arg-type]
    with pytest.raises(pacesetter.ConfigurationError, match="cannot be asked"):
        pacesetter.recommend(TARGET, evidence=[OPTIMUM] * 201, url="http://localhost:1")


def test_a_service_that_is_away_is_told() -> None:
    with pytest.raises(pacesetter.ServiceUnavailable, match="no connection"):
        pacesetter.recommend(TARGET, url=f"http://127.0.0.1:{free_port()}")


WORDS = ["recommend", "--parameters", "124e6", "--tokens", "2.5e9"]


def test_the_command_prints_an_answer_for_people(url: str, capsys: Captured) -> None:
    assert cli.main(WORDS) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("peak learning rate   0.002869")
    assert "50 % 0.00238 to 0.00429, 90 % 0.00156 to 0.00656" in lines[0]
    text = "\n".join(lines)
    for words in (
        "how labs and families differ: +-0.32 octaves of +-0.63",
        "batch, tokens        1.348e+05",
        "weight decay         0.08443",
        "warm-up over 371 steps",
        "expected loss        3.369",
        "+0.33 to +0.82 % over cosine as published",
        "hinge: fit to Step Law's grid [arXiv 2503.04715]: 1.00 octaves an octave",
        "! published laws only",
    ):
        assert words in text, words


def test_the_command_prints_the_whole_answer_as_json(url: str, capsys: Captured) -> None:
    given = [*WORDS, "--batch-tokens", "51200", "--extendable", "--floor", ".1", "--json"]
    assert cli.main(given) == 0
    answer = pacesetter.Recommendation.model_validate_json(capsys.readouterr().out)
    target = pacesetter.Target(
        parameters=124e6, tokens=2.5e9, batch_tokens=51200, extendable=True, floor=0.1
    )
    again = pacesetter.recommend(target)
    assert answer.id != again.id  # each is kept by itself
    assert answer == again.model_copy(update={"id": answer.id})


def test_the_command_takes_what_was_measured_from_a_file(
    url: str, capsys: Captured, tmp_path: Path
) -> None:
    file = tmp_path / "measured.json"
    optimum = {"parameters": 6e7, "tokens": 1e9, "batch_tokens": 1e5, "lr": 3e-3, "name": "mine"}
    file.write_text(json.dumps({"evidence": [optimum]}))
    assert cli.main([*WORDS, "--evidence", str(file)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^  mine: 0\.\d\d octaves an octave$", out, re.MULTILINE)


def test_the_command_says_where_nothing_is_known(url: str, capsys: Captured) -> None:
    assert cli.main([*WORDS, "--objective", "reward", "--maximize", "--regime", "rl"]) == 1
    out = capsys.readouterr().out
    assert "Nothing is recommended: published laws are about pretraining" in out
    assert "The cheapest study: sweep the peak over 3 rates" in out
    assert "in 'reward' (max)" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--floor", "2"], "floor: Input should be less than 1"),
        (["--steps", "1.5"], "steps: Input should be a valid integer"),
        (["--schedule-family", "wsdd"], "'wsdd' is no family"),
        (["--evidence", "missing.json"], "missing.json cannot be read as JSON"),
    ],
)
def test_what_is_wrong_with_a_command_is_said_in_a_sentence(
    words: list[str], message: str, url: str, capsys: Captured
) -> None:
    assert cli.main([*WORDS, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"optima": []}, "has optima; expected an object with evidence and sweeps"),
        ([], "has a list; expected"),
        ({"evidence": [{"lr": 1e-3}]}, "0.parameters: Field required"),
    ],
    ids=str,
)
def test_a_file_that_holds_something_else_is_told(
    document: object, message: str, url: str, capsys: Captured, tmp_path: Path
) -> None:
    file = tmp_path / "measured.json"
    file.write_text(json.dumps(document))
    assert cli.main([*WORDS, "--evidence", str(file)]) == 2
    assert message in capsys.readouterr().err
