"""Budgets and schedules in tokens: the real count of every step, whatever it is."""

from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.protocol import Notice, SegmentEnded
from pacesetter.schedules import Cosine, Linear, Schedule, Warmup

from tests.support.service import ScriptedTransport, segment
from tests.support.training import FEATURES, Noisy, Regression, attach, start, train

BUDGET = 10_000
BASE = Schedule(length=BUDGET, floor=0.1, warmup=Warmup(length=1_000), body=Cosine())

RAMP = [64] * 20 + [128] * 20 + [256] * 40
PACKED = [
    128 - int(each)
    for each in torch.randint(0, 13, (90,), generator=torch.Generator().manual_seed(3))
]
EMPTY_NOW_AND_THEN = [100, 0, 0, 37, 250, 0, 113] * 25


def rates_used(counts: list[int], transport: ScriptedTransport) -> list[tuple[int, bool, float]]:
    """Train through ``counts``; return position, on the main line or not, and rate of each step that was made."""
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = attach(model, optimizer, transport, base=BASE, budget=pacesetter.Tokens(BUDGET))
    used: list[tuple[int, bool, float]] = []

    def look(stepped: torch.optim.Optimizer, *_: Any) -> None:
        used.append((run.position, run.on_main_line, stepped.param_groups[0]["lr"]))

    optimizer.register_step_pre_hook(look)
    for tokens, (inputs, targets) in zip(counts, run.batches(Regression()), strict=False):
        ((model(inputs) - targets) ** 2).mean().backward()
        run.step(1.0, tokens=tokens)
    assert run.finish().completed
    return used


@pytest.mark.parametrize("counts", [RAMP, PACKED, EMPTY_NOW_AND_THEN])
def test_the_rate_of_every_step_is_the_schedules_at_the_tokens_before_it(counts: list[int]) -> None:
    used = rates_used(counts, ScriptedTransport())
    consumed = [sum(counts[:step]) for step in range(len(used))]
    assert [position for position, _, _ in used] == consumed
    assert sum(counts[: len(used)]) >= BUDGET > consumed[-1]
    # Computed here position by position; the run evaluates ahead, at the positions it expects.
    assert [lr for *_, lr in used] == pytest.approx([0.1 * BASE.at(p) for p in consumed], rel=1e-12)


def test_a_probe_and_the_segment_after_it_follow_the_real_count_too() -> None:
    steep = Schedule(zero=1_500, length=700, peak=2.0, body=Linear())
    cooldown = Schedule(length=BUDGET, peak=0.7, body=Linear())
    transport = ScriptedTransport(
        segments=[
            segment(1, 0, when="now", length=1_500, policy=BASE),
            segment(2, 1, kind="probe", start=1_500, length=700, policy=steep, data="rewind"),
        ]
    )
    transport.inbox.append(segment(3, 2, start=1_500, length=BUDGET - 1_500, policy=cooldown))
    used = rates_used(PACKED * 2, transport)
    probe = [(position, lr) for position, on_main, lr in used if not on_main]
    main = [(position, lr) for position, on_main, lr in used if on_main]
    left = probe[0][0]
    steps_before = [position for position, _ in main].index(left)
    assert 1_500 <= left < 1_500 + max(PACKED)
    assert [lr for _, lr in probe] == pytest.approx(
        [0.1 * steep.at(position) for position, _ in probe], rel=1e-12
    )
    counted = (PACKED * 2)[steps_before : steps_before + len(probe)]
    assert [position for position, _ in probe] == [
        left + sum(counted[:step]) for step in range(len(probe))
    ]
    policies = [BASE] * steps_before + [cooldown] * (len(main) - steps_before)
    assert [lr for _, lr in main] == pytest.approx(
        [0.1 * policy.at(p) for policy, (p, _) in zip(policies, main, strict=True)], rel=1e-12
    )


@pytest.mark.parametrize(
    ("counts", "changes"),
    [(RAMP, [(64, 128), (128, 256)]), (PACKED, []), ([100] * 60 + [130] * 40, [(100, 130)])],
)
def test_each_stage_of_a_ramp_is_reported_and_packing_is_not(
    counts: list[int], changes: list[tuple[int, int]]
) -> None:
    transport = ScriptedTransport()
    rates_used(counts, transport)
    notices = transport.of(Notice)
    assert [notice.code for notice in notices] == ["BATCH_CHANGED"] * len(changes)
    assert [(n.numbers["before"], n.numbers["after"]) for n in notices] == changes


def test_an_overflow_consumes_tokens_but_moves_neither_the_clock_nor_the_schedule() -> None:
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    budget = pacesetter.Tokens(BUDGET)
    run = attach(model, optimizer, ScriptedTransport(), scaler=scaler, base=BASE, budget=budget)
    for step, tokens in enumerate([300, 900, 500]):
        loss = model(torch.ones(8, FEATURES)).mean() * (float("inf") if step == 1 else 1.0)
        scaler.scale(loss).backward()
        assert run.step(1.0, tokens=tokens) is (step != 1)
    assert run.position == 800
    assert run.learning_rates() == {"optimizer/group0": pytest.approx(0.1 * BASE.at(800))}
    result = run.finish()
    assert (result.ledger.main_tokens, result.ledger.discarded_tokens) == (800, 900)


def test_tokens_drive_the_clock_and_may_overshoot() -> None:
    transport = ScriptedTransport(segments=[segment(1, 0, when="now", length=20)])
    run, model, _ = start(transport, budget=pacesetter.Tokens(100))
    rows = train(run, model)
    assert [row["position"] for row in rows] == list(range(0, 104, 8))
    ended = transport.of(SegmentEnded)
    assert (ended[0].position, ended[0].steps, ended[0].tokens) == (24, 3, 24)


def test_a_budget_in_tokens_needs_their_count() -> None:
    run, _model, _optimizer = start(ScriptedTransport(), budget=pacesetter.Tokens(100))
    with pytest.raises(pacesetter.ConfigurationError, match=r"run\.count"):
        run.step(1.0)


def test_a_changed_batch_size_is_reported_once() -> None:
    transport = ScriptedTransport()
    run, model, _ = start(transport, budget=pacesetter.Steps(40))
    inputs, targets = Regression().batch_at(0)
    while not run.done:
        ((model(inputs) - targets) ** 2).mean().backward()
        run.step(1.0, tokens=100 if run.position < 20 else 200)
    (notice,) = transport.of(Notice)
    assert (notice.code, notice.numbers) == ("BATCH_CHANGED", {"before": 100, "after": 200})
