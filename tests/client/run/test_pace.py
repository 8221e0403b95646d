"""Ordinary steps: rates planned ahead, counters settled late. Each must look as if every step did all by itself."""

import random
from collections.abc import Callable, Iterable
from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.errors import ConfigurationError, LearningRateConflict
from pacesetter.protocol import (
    Finished,
    LedgerTotals,
    Measurements,
    Notice,
    Record,
    Segment,
    SegmentEnded,
)
from pacesetter.schedules import Cosine, Linear, Schedule, Warmup

from tests.support.service import ScriptedTransport, constant, segment
from tests.support.training import Noisy, Regression, attach

STEPS = 200
BASES = (0.1, 0.03)
BASE = Schedule(length=STEPS, warmup=Warmup(length=20), body=Cosine())
FALLING = Schedule(zero=10, length=170, peak=1.7, floor=0.1, body=Linear())
RISING = Schedule(zero=75, length=20, peak=3.0, warmup=Warmup(length=19), body=Cosine())

Made = list[tuple[int, Segment]]
"""Position and segment of each step."""


class Recording(torch.optim.SGD):
    """Keeps what its groups show whenever it steps."""

    def __init__(self, model: Noisy, lr: Callable[[float], Any] = float) -> None:
        weight, bias = model.layer.weight, model.layer.bias
        groups = [
            {"params": [weight], "lr": lr(BASES[0])},
            {"params": [bias], "lr": lr(BASES[1])},
        ]
        super().__init__(groups)
        self.used: list[tuple[float, ...]] = []

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.used.append(tuple(float(group["lr"]) for group in self.param_groups))
        super().step(closure)


def walk(
    run: pacesetter.Run,
    model: Noisy,
    transport: ScriptedTransport,
    deliveries: dict[int, Segment],
    tokens: Callable[[], int] = lambda: 8,
) -> Made:
    """Train to the end; each delivery arrives once its position is reached on the main line."""
    made = []
    for inputs, targets in run.batches(Regression()):
        for at in [at for at in deliveries if run.on_main_line and run.position >= at]:
            transport.inbox.append(deliveries.pop(at))
        made.append((run.position, run._follower.running))
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        run.step(loss, tokens=tokens())
    assert not deliveries
    return made


def expected(made: Made) -> list[tuple[float, ...]]:
    """Return what the schedules say at each step, evaluated one by one."""
    return [tuple(running.policy.at(at) * base for base in BASES) for at, running in made]


def after_the_probe(record: Record) -> Iterable[Segment]:
    if isinstance(record, SegmentEnded) and record.segment == 2:
        yield segment(3, 2, start=record.main_position, length=STEPS - record.main_position)


@pytest.mark.parametrize("lr", [float, lambda lr: torch.tensor(lr, dtype=torch.float64)])
def test_planned_rates_are_the_schedules_bit_for_bit_whatever_arrives(
    lr: Callable[[float], Any],
) -> None:
    model = Noisy()
    optimizer = Recording(model, lr)
    transport = ScriptedTransport(after_the_probe)
    run = attach(model, optimizer, transport, budget=pacesetter.Steps(STEPS), base=BASE)
    deliveries = {
        37: segment(1, 0, when="now", start=38, length=162, policy=FALLING, save_as="kept"),
        77: segment(2, 1, kind="probe", when="now", start=78, length=13, policy=RISING),
        150: segment(4, 3, when="now", start=38, length=162, policy=BASE, **{"from": "kept"}),
        190: segment(5, 4, when="now", start=191, length=9, policy=FALLING),
    }
    made = walk(run, model, transport, deliveries)
    assert {each.seq for _, each in made} == {0, 1, 2, 3, 4, 5}
    assert optimizer.used == expected(made)


def test_planned_rates_follow_an_irregular_clock_of_tokens() -> None:
    model = Noisy()
    optimizer = Recording(model)
    transport = ScriptedTransport()
    base = Schedule(length=4000, warmup=Warmup(length=333), body=Cosine())
    run = attach(model, optimizer, transport, budget=pacesetter.Tokens(4000), base=base)
    chance = random.Random(0)
    steady = [32] * 30
    counts = iter(steady + [chance.choice([0, 1, 7, 32, 32, 32, 33]) for _ in range(1000)])
    deliveries = {1501: segment(1, 0, when="now", start=1503, length=2497, policy=FALLING)}
    made = walk(run, model, transport, deliveries, lambda: next(counts))
    assert made[-1][0] > 3900
    assert optimizer.used == expected(made)


@pytest.mark.parametrize("lr", [float, torch.tensor])
def test_a_rate_that_somebody_moves_is_caught_at_that_very_step(
    lr: Callable[[float], Any],
) -> None:
    model, transport = Noisy(), ScriptedTransport()
    optimizer = Recording(model, lr)
    run = attach(model, optimizer, transport, budget=pacesetter.Steps(STEPS))
    for _ in range(50):
        run.step(1.0)
    if isinstance(optimizer.param_groups[1]["lr"], torch.Tensor):
        optimizer.param_groups[1]["lr"].fill_(0.5)
    else:
        optimizer.param_groups[1]["lr"] = 0.5
    before = model.layer.weight.clone()
    model.layer.weight.grad = torch.ones_like(before)
    with pytest.raises(LearningRateConflict, match=r"was set to 0\.5"):
        run.step(1.0)
    assert run.position == 50
    assert torch.equal(model.layer.weight, before)
    (alert,) = [each for each in transport.of(Notice) if each.code == "LR_CONFLICT"]
    assert alert.position == 50


@pytest.mark.parametrize(
    "loss", [torch.ones(3), torch.empty(0), torch.tensor(1 + 2j), "x", 1j, [1.0], None]
)
def test_a_wrong_loss_on_an_ordinary_step_is_told_before_the_weights_move(loss: Any) -> None:
    model = Noisy()
    run = attach(model, Recording(model), ScriptedTransport(), budget=pacesetter.Steps(STEPS))
    for _ in range(5):
        run.step(torch.tensor(1.0))
    before = model.layer.weight.clone()
    model.layer.weight.grad = torch.ones_like(before)
    with pytest.raises(ConfigurationError, match="loss is"):
        run.step(loss)
    assert run.position == 5
    assert torch.equal(model.layer.weight, before)
    assert run.step(torch.tensor(float("nan")))
    assert not torch.equal(model.layer.weight, before)
    assert run.position == 6


def test_a_bell_that_rings_late_is_heard_at_the_next_step() -> None:
    transport = ScriptedTransport()
    transport.away = True  # nothing can be seen, so that only the bell tells of it
    model = Noisy()
    run = attach(model, Recording(model), transport, budget=pacesetter.Steps(STEPS))
    for _ in range(30):
        run.step(1.0)
    transport.late = transport.registration()
    transport.away = False
    transport.bell.rung = True
    transport.inbox.append(segment(1, 0, when="now", start=31, length=169, policy=constant(2.0)))
    run.step(1.0)
    assert run.position == 31
    assert list(run.learning_rates().values()) == [0.2, 0.06]


def totals(transport: ScriptedTransport) -> LedgerTotals:
    assert transport.ledger is not None
    return transport.ledger


def test_the_ledger_of_a_run_with_probes_is_what_was_done() -> None:
    model = Noisy()
    transport = ScriptedTransport(after_the_probe)
    run = attach(model, Recording(model), transport, budget=pacesetter.Steps(STEPS), base=BASE)
    deliveries = {77: segment(2, 0, kind="probe", when="now", start=78, length=13)}
    made = walk(run, model, transport, deliveries)
    probe = sum(running.kind == "probe" for _, running in made)
    result = run.finish()
    assert (probe, len(made)) == (13, STEPS + 13)
    for ledger in (result.ledger, totals(transport)):
        assert (ledger.main_steps, ledger.probe_steps) == (STEPS, 13)
        assert (ledger.main_tokens, ledger.probe_tokens) == (8 * STEPS, 8 * 13)
        assert (ledger.discarded_steps, ledger.discarded_tokens) == (0, 0)
    ended = [(each.segment, each.steps, each.tokens) for each in transport.of(SegmentEnded)]
    assert ended == [(0, 78, 8 * 78), (2, 13, 8 * 13), (3, STEPS - 78, 8 * (STEPS - 78))]


@pytest.mark.parametrize("end", ["finish", "crash", "crash in a probe"])
def test_however_a_run_ends_every_step_is_counted_and_reported(end: str) -> None:
    model, transport = Noisy(), ScriptedTransport()
    run = attach(model, Recording(model), transport, budget=pacesetter.Steps(STEPS))
    if end == "crash in a probe":
        transport.inbox.append(segment(1, 0, kind="probe", when="now", start=11, length=90))
    with pytest.raises(ZeroDivisionError), run:
        for _ in range(23):
            run.step(1.0, tokens=8)
        if end == "finish":
            run.finish()
        raise ZeroDivisionError
    main, probe = (11, 12) if end == "crash in a probe" else (23, 0)
    ledger = totals(transport)
    assert (ledger.main_steps, ledger.probe_steps) == (main, probe)
    assert (ledger.main_tokens, ledger.probe_tokens) == (8 * main, 8 * probe)
    rows = [at for each in transport.of(Measurements) for at in each.columns["position"]]
    assert rows == list(range(23))
    (finished,) = transport.of(Finished)
    assert (finished.position, finished.completed) == (main, False)


def test_asking_for_the_counters_at_any_time_changes_nothing() -> None:
    model, transport = Noisy(), ScriptedTransport()
    run = attach(model, Recording(model), transport, budget=pacesetter.Steps(STEPS))
    for number in range(STEPS):
        run.step(1.0, tokens=8)
        if number % 7 == 0:
            assert run.state_dict()["step"] == run.ledger.steps["main"] == number + 1
    result = run.finish()
    assert (result.steps, result.ledger.main_tokens) == (STEPS, 8 * STEPS)
