"""An exported main line gives, at every step, the rates that the real client's optimizers ran at."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from pacesetter.schedules import Cosine, Schedule, Warmup

from tests.faults.harness import ControllerProcess
from tests.protocol.training import BASE, Training

STEPS = 400
GROUPS = ("body", "head", "bias")


def slow_down(training: Training, after: int, **override: Any) -> None:
    """Step on, let a person override, and step until that is in force."""
    for _ in range(after):
        training.step()
    seq = training.override(**override)
    training.step_until(lambda: training.acknowledgement(seq) is not None, most=140)


@pytest.fixture(scope="module")
def finished(
    controller: ControllerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Training]:
    """A job that a person slowed down and then decayed."""
    base = Schedule(length=STEPS, warmup=Warmup(length=10), floor=0.1, body=Cosine())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACESETTER_DIR", str(tmp_path_factory.mktemp("exported")))
        training = Training(controller, steps=STEPS, base=base)
        slow_down(training, 30, kind="multiplier", multiplier=0.5)
        slow_down(training, 20, kind="decay", over=50, floor=0.2)
        training.finish_training()
        training.run.finish()
        yield training


def recorded(training: Training, group: str) -> list[float]:
    return [rates[group] for _, _, rates, _ in training.rows]


def exported(training: Training, form: str) -> str:
    url = f"{training.controller.url}/v1/jobs/{training.job}/schedule"
    reply = httpx.get(url, params={"format": form}).raise_for_status()
    assert reply.headers["content-type"].startswith("text/")
    return reply.text


def optimizer(*groups: str) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": BASE[name]} for name in groups]
    )


def replayed(optimizer: torch.optim.Optimizer, scheduler: Any) -> Iterator[list[float]]:
    for _ in range(STEPS):
        yield [float(group["lr"]) for group in optimizer.param_groups]
        optimizer.step()
        scheduler.step()


def run_file(text: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(compile(text, "exported.py", "exec"), namespace)
    return namespace


def test_the_torch_file_replays_every_group_of_both_optimizers(finished: Training) -> None:
    made = run_file(exported(finished, "torch"))
    assert made["BASE_LRS"] == list(BASE.values())
    adam, sgd = optimizer("body", "head"), optimizer("bias")
    rates = list(replayed(adam, made["make_scheduler"](adam)))
    assert [row[0] for row in rates] == pytest.approx(recorded(finished, "body"), rel=1e-6)
    assert [row[1] for row in rates] == pytest.approx(recorded(finished, "head"), rel=1e-6)
    alone = list(replayed(sgd, made["make_scheduler"](sgd, first_group=2)))
    assert [row[0] for row in alone] == pytest.approx(recorded(finished, "bias"), rel=1e-6)


def test_the_file_refuses_an_optimizer_with_more_groups(finished: Training) -> None:
    made = run_file(exported(finished, "torch"))
    with pytest.raises(ValueError, match="the job had 3 parameter groups, too few for the 2"):
        made["make_scheduler"](optimizer("body", "head"), first_group=2)


def test_the_trainer_file_gives_the_pair_that_it_takes(finished: Training) -> None:
    made = run_file(exported(finished, "hf"))
    given = optimizer(*GROUPS)
    taken, scheduler = made["trainer_optimizers"](given)
    assert taken is given
    assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
    rates = list(replayed(taken, scheduler))
    for index, name in enumerate(GROUPS):
        wanted = recorded(finished, name)
        assert [row[index] for row in rates] == pytest.approx(wanted, rel=1e-6)


def test_the_table_is_straight_between_its_rows(finished: Training) -> None:
    table: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(exported(finished, "csv"))):
        table[row["group"]].append((float(row["position"]), float(row["lr"])))
    assert len(table) == len(GROUPS)
    for rows, name in zip(table.values(), GROUPS, strict=True):
        positions, rates = zip(*rows, strict=True)
        found = np.interp(range(STEPS), positions, rates)
        assert found.tolist() == pytest.approx(recorded(finished, name), rel=1e-6)


def test_the_pieces_replay_with_the_schedules_of_the_client(finished: Training) -> None:
    pieces = finished.controller.get(f"/v1/jobs/{finished.job}/schedule")["pieces"]
    assert [piece["origin"] for piece in pieces[-2:]] == ["person", "person"]
    assert {piece["controls"] for piece in pieces} == {"all"}
    found: list[float] = []
    for piece in pieces:
        policy = Schedule.model_validate(piece["policy"])
        found += [policy.at(position) for position in range(piece["start"], piece["end"])]
    assert [BASE["body"] * one for one in found] == recorded(finished, "body")
