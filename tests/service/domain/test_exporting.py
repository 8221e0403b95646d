"""Exported main lines: knots that follow a schedule, and files that replay what a job was told."""

from typing import Any

import numpy as np
import pytest
from pacesetter.protocol import Budget
from pacesetter.schedules import Cosine, Linear, Schedule, Step, Warmup
from pacesetter_service.controller import Controller
from pacesetter_service.errors import Conflict
from pacesetter_service.jobs.exporting import export, lines
from pacesetter_service.views import MainLinePiece

from tests.service.domain.simulated import SimulatedJob, spec


def piece(policy: Schedule, start: int = 0, **changes: Any) -> MainLinePiece:
    values = {"seq": 0, "end": None, "controls": "all", "origin": "base", "reason": ""}
    return MainLinePiece(start=start, policy=policy.model_dump(mode="json"), **values | changes)


async def test_the_torch_file_replays_what_a_searched_job_was_told(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(100)).start()
    await job.run()
    made: dict[str, Any] = {}
    exec(await controller.export_schedule(job.job, "torch"), made)
    (knots,) = made["KNOTS"]
    told = [job.rates[position] for position in range(100)]
    assert len(set(told)) > 3
    assert [made["multiplier"](knots, position) for position in range(100)] == told


async def test_a_name_with_quotes_leaves_a_file_that_runs(controller: Controller) -> None:
    name = 'a """ b \\ {knots}'
    job = await SimulatedJob(controller, spec(100, "fixed", name=name)).start()
    made: dict[str, Any] = {}
    exec(await controller.export_schedule(job.job, "hf"), made)
    assert name in made["__doc__"]


def test_a_cosine_over_billions_of_tokens_takes_hundreds_of_knots() -> None:
    total = 2_500_000_000
    base = Schedule(length=total, warmup=Warmup(length=total // 50), body=Cosine())
    job = spec(total, base=base, budget=Budget(total=total, clock="tokens"))
    (line,) = lines(job, (piece(base),))
    assert 200 < len(line.knots) < 3000
    places = np.random.default_rng(0).integers(0, total, 10_000).astype(float)
    positions, values = np.array(line.knots).T
    assert np.abs(np.interp(places, positions, values) - base.over(places)).max() < 2e-6


def test_a_jump_stands_on_neighbouring_positions() -> None:
    base = Schedule(length=100, body=Step(milestones=(0.5,), factors=(0.1,)))
    (line,) = lines(spec(100, base=base), (piece(base), piece(Schedule(length=100, peak=0.3), 80)))
    assert line.knots == (
        *((0, 1.0), (49, 1.0), (50, 0.1), (79, 0.1)),
        *((80, 0.3), (99, 0.3)),
    )


def test_absolute_rates_become_multipliers_of_each_base_and_sets_move_apart() -> None:
    groups = (
        {"name": "body", "base_lr": 0.1, "control": "slow"},
        {"name": "head", "base_lr": 0.2, "control": "fast"},
    )
    absolute = Schedule(length=10, peak=0.4, unit="absolute", body=Linear())
    pieces = (piece(Schedule(length=10)), piece(absolute, 5, controls=("fast",), end=8))
    body, head = lines(spec(10, groups=groups, base=Schedule(length=10)), pieces)
    assert body.knots == ((0, 1.0), (7, 1.0))
    assert head.knots[:2] == ((0, 1.0), (4, 1.0))
    assert dict(head.knots)[5] == pytest.approx(1.0)
    assert dict(head.knots)[7] == pytest.approx(0.6)


def test_a_main_line_that_a_rule_moved_is_not_passed_off_as_its_schedule() -> None:
    regulated = piece(Schedule(length=10), 5, seq=2, feedback={"rule": "hypergradient"})
    with pytest.raises(Conflict, match="a feedback rule moved the rates of segment 2") as caught:
        export("csv", "job", spec(10), (piece(Schedule(length=10), end=5), regulated))
    assert (caught.value.code, caught.value.status) == ("MAIN_LINE_REGULATED", 409)
    assert "curve" in caught.value.hint
