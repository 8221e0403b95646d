"""Whole jobs, steered by a small strategy: what the parts come to together."""

import pytest
from pacesetter_service.controller import Controller

from tests.service.domain.simulated import SimulatedJob, spec


async def whole_job(controller: Controller, strategy: str = "ladder", cut: int = 5) -> SimulatedJob:
    job = SimulatedJob(controller, spec(100, strategy, external_id=f"{strategy}-{cut}"), cut=cut)
    await job.start()
    await job.run()
    return job


async def test_a_job_runs_its_budget_and_is_completed(controller: Controller) -> None:
    job = await whole_job(controller)
    view = await controller.get_job(job.job)
    assert view.status == "completed"
    assert sorted(job.rates) == list(range(100))
    # Five stages of 20, and two probes of 4 before each stage but the first.
    assert [s.kind for s in job.received.values()] == ["main", *["probe", "probe", "main"] * 4]


@pytest.mark.parametrize("cut", [1, 7, 20])
async def test_the_segments_do_not_depend_on_how_rows_are_cut(
    controller: Controller, cut: int
) -> None:
    assert (await whole_job(controller, cut=cut)).received == (
        await whole_job(controller, cut=5)
    ).received


async def test_a_slow_strategy_sends_the_same_segments(controller: Controller) -> None:
    fast = await whole_job(controller)
    slow = await whole_job(controller, "slow_ladder")
    assert slow.received == fast.received
    assert slow.rates == fast.rates


async def test_the_curve_holds_every_main_row_and_every_probe_row(controller: Controller) -> None:
    job = await whole_job(controller)
    curve = await controller.curve(job.job, ("loss", "lr"), max_points=1000)
    assert curve.rows_total == 100 + 8 * 4
    main = [
        (position, lr)
        for position, lr, kind in zip(
            curve.columns["position"], curve.columns["lr"], curve.kinds, strict=True
        )
        if kind == "main"
    ]
    assert main == [(float(p), 0.1 * rate) for p, rate in sorted(job.rates.items())]


async def test_the_main_line_is_told_piece_by_piece(controller: Controller) -> None:
    job = await whole_job(controller)
    pieces = await controller.schedule(job.job)
    assert [(piece.start, piece.end) for piece in pieces] == [
        (0, 20),
        (20, 40),
        (40, 60),
        (60, 80),
        (80, 100),
    ]
    assert [piece.policy["peak"] for piece in pieces] == [job.rates[p] for p in range(0, 100, 20)]


async def test_the_ledger_adds_up(controller: Controller) -> None:
    job = await whole_job(controller)
    ledger = await controller.ledger(job.job)
    assert (ledger.totals.main_steps, ledger.totals.probe_steps) == (100, 32)
    assert (ledger.planned_probe, ledger.redone, ledger.overhead_cap) == (32, 0, 1.0)
