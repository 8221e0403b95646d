"""What a main line's stop clauses do on two gloo ranks; run by both processes of :mod:`tests.client.run.ranked`.

Exchanges are four steps apart: what a step shows is sent at the next one and judged at the one after.
"""

import math
from collections.abc import Callable
from typing import Any

import pacesetter
import torch
import torch.distributed as dist
from pacesetter.protocol import Notice, Segment, SegmentEnded
from pacesetter.run.ranks import GlooRanks

from tests.support.service import ScriptedTransport, after_end, constant, segment
from tests.support.training import Noisy, attach

STEPS = 40
EXCHANGE_EVERY = 4
RECOVERY = segment(2, 1, when="now", start=16, length=STEPS - 16, policy=constant(0.5))
Shown = Callable[[int], tuple[float, float | None]]
"""Loss and gradient norm of the step with this number, on this rank."""


def start(transport: ScriptedTransport, **settings: Any) -> pacesetter.Run:
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    settings = {"budget": pacesetter.Steps(STEPS), "sync_every": EXCHANGE_EVERY, **settings}
    return attach(model, optimizer, transport, **settings)


def walk(run: pacesetter.Run, show: Shown) -> list[list[float]]:
    """Train to the end; return position and rate of every step."""
    rows: list[list[float]] = []
    while not run.done:
        loss, norm = show(len(rows))
        rows.append([run.position, run.learning_rates()["optimizer/group0"]])
        run.step(loss, grad_norm=norm)
    return rows


def guarded(clause: dict[str, Any], show: Shown, answer: Segment | None = None) -> dict[str, Any]:
    main = segment(1, 0, when="now", length=STEPS, save_every=10, stop_if=[clause])
    transport = ScriptedTransport(after_end({1: answer} if answer else {}), segments=[main])
    run = start(transport)
    rows = walk(run, show)
    completed = run.finish().completed
    ended = [
        [each.segment, each.outcome, each.code, each.position]
        for each in transport.of(SegmentEnded)
    ]
    notices = {each.code: each.numbers for each in transport.of(Notice)}
    return {"rows": rows, "ended": ended, "notices": notices, "completed": completed}


def average() -> dict[str, Any]:
    """From the eleventh step on rank 1 loses 9, which rank 0 never does: the mean is 5."""

    def show(step: int) -> tuple[float, None]:
        return (9.0 if dist.get_rank() == 1 and 10 <= step < 16 else 1.0), None

    clause = {"rule": "average_above", "bound": 3.0, "decay": 0.5}
    return guarded(clause, show, RECOVERY)


def no_number() -> dict[str, Any]:
    """Rank 1 alone sees NaN at one step, and no answer comes: both go back to the snapshot of step 10."""

    def show(step: int) -> tuple[float, None]:
        return (math.nan if dist.get_rank() == 1 and step == 22 else 1.0), None

    return guarded({"rule": "non_finite"}, show)


def norms_on_one_rank() -> dict[str, Any]:
    """Rank 0 alone knows its gradient norm, at some steps only."""

    def show(step: int) -> tuple[float, float | None]:
        return 1.0, (2.0 if dist.get_rank() == 0 and step % 3 else None)

    return guarded({"rule": "gradient_spike"}, show)


def resumed() -> dict[str, Any]:
    """A checkpoint from after a stop is resumed; its main line is stopped again."""
    main = segment(1, 0, when="now", length=STEPS, stop_if=[{"rule": "non_finite"}])
    guarded_on = RECOVERY.model_copy(update={"stop_if": main.stop_if})
    run = start(ScriptedTransport(after_end({1: guarded_on}), segments=[main]))
    for step in range(21):
        run.step(math.nan if dist.get_rank() == 1 and step == 10 else 1.0)
    state = run.state_dict()
    run.finish()

    again = segment(3, 2, when="now", start=32, length=STEPS - 32, policy=constant(0.25))
    transport = ScriptedTransport(
        after_end({2: again}), segments=[main, guarded_on], session_number=2, kept_through=2
    )
    run = start(transport, resume=state)
    rows = walk(run, lambda step: (math.nan if dist.get_rank() == 1 and step == 4 else 1.0, None))
    return {"rows": rows, "completed": run.finish().completed}


def carried() -> list[Any]:
    """Return what an exchange brings: the largest numbers there may be, beside values that are none on one rank."""
    ranks, rank = GlooRanks(), dist.get_rank()
    seen = []
    for values in ([], [1.0 + rank, math.nan if rank else 1.0], [math.inf, -1.0]):
        numbers, means = ranks.begin_exchange([2**53 - 1 - rank, rank, 3], values)()
        seen.append([numbers, [str(mean) for mean in means]])
    return seen


SCENARIOS = (average, no_number, norms_on_one_rank, resumed, carried)
