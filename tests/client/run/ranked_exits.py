"""One of two gloo ranks, as a process of its own, where ranks do other things than each other, or leave.

Every scenario ends with both ranks meeting on the training's own group: whatever one left behind holds up nobody.
"""

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pacesetter
import torch
import torch.distributed as dist
from pacesetter.protocol import LedgerTotals, SegmentEnded
from pacesetter.run.ranks import GlooRanks

from tests.support.service import ScriptedTransport, constant, segment
from tests.support.training import Noisy, attach

EXCHANGE_EVERY = 4


def start(
    transport: ScriptedTransport, **settings: Any
) -> tuple[pacesetter.Run, torch.optim.SGD, Noisy]:
    model = Noisy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = attach(model, optimizer, transport, sync_every=EXCHANGE_EVERY, **settings)
    return run, optimizer, model


def counters_on_one_rank() -> dict[str, Any]:
    """Rank 0 alone saves checkpoints, at positions that are no exchange."""
    transport = ScriptedTransport()
    run, _, _ = start(transport)
    rates = []
    for number in range(20):
        if number == 9 and dist.get_rank() == 0:
            transport.inbox.append(segment(1, 0, when="now", length=20, policy=constant(2.0)))
        rates.append(run.learning_rates()["optimizer/group0"])
        run.step(1.0, tokens=8)
        if dist.get_rank() == 0 and number % 3 == 1:
            run.state_dict()
    ledger = run.finish().ledger
    return {"rates": rates, "steps": ledger.main_steps, "tokens": ledger.main_tokens}


def finished_amid_an_exchange() -> dict[str, Any]:
    """News are under way when both ranks finish: the exchange at 8 would be taken up at 12."""
    transport = ScriptedTransport()
    run, _, _ = start(transport)
    for number in range(10):
        if number == 5 and dist.get_rank() == 0:
            transport.inbox.append(segment(1, 0, when="now", length=20, policy=constant(2.0)))
        run.step(1.0)
    under_way = run._conductor.orders._under_way is not None
    began = time.monotonic()
    result = run.finish()
    return {
        "under_way": under_way,
        "seconds": time.monotonic() - began,
        "position": result.position,
    }


def exception_in_a_probe_on_one_rank() -> dict[str, Any]:
    """Rank 1 raises inside a probe, while rank 0 knows nothing of it and is where its own training waits."""
    probe = segment(2, 1, kind="probe", start=3, length=12, save_end_as="end")
    transport = ScriptedTransport(segments=[segment(1, 0, when="now", length=3), probe])
    run, _, model = start(transport)
    for _ in range(3):
        run.step(1.0)
    weights = model.layer.weight.tolist()
    if dist.get_rank() == 0:
        for _ in range(3):
            run.step(1.0)
        return {"probe": not run.on_main_line}
    seen: dict[str, Any] = {"probe": not run.on_main_line}
    began = time.monotonic()
    try:
        with run:
            for _ in range(3):
                model.layer.weight.grad = torch.ones_like(model.layer.weight)
                run.step(1.0)
            raise _Left
    except _Left:
        seen["seconds"] = time.monotonic() - began
    seen["restored"] = model.layer.weight.tolist() == weights
    seen["position"] = run.position
    return seen


class _Left(Exception):
    pass


def stopped_at_the_end() -> dict[str, Any]:
    """Rank 1 sees NaN on the very step that ends the probe: both call it stopped."""
    guarded = segment(2, 1, kind="probe", start=3, length=5, stop_if=[{"rule": "non_finite"}])
    first = segment(1, 0, when="now", length=3)
    transport = ScriptedTransport(segments=[first, guarded])
    transport.inbox.append(segment(3, 2, start=3, length=17, policy=constant(0.5)))
    run, _, _ = start(transport)
    rates, ends = [], 0
    while not run.done:
        last = not run.on_main_line and run.position == 7
        ends += last
        rates.append([run.position, run.learning_rates()["optimizer/group0"]])
        run.step(float("nan") if last and dist.get_rank() == 1 else 1.0)
    ledger: LedgerTotals = run.finish().ledger
    ended = [[each.segment, each.outcome, each.steps] for each in transport.of(SegmentEnded)]
    counted = [ledger.main_steps, ledger.probe_steps]
    return {"rates": rates, "ends": ends, "ended": ended, "counted": counted}


def never_begun() -> dict[str, Any]:
    """Rank 1 does not begin the exchange that rank 0 waits for: the group's timeout ends the wait."""
    ranks = GlooRanks(timeout_seconds=1.0)
    ranks.agree(None)
    seen: dict[str, Any] = {}
    if dist.get_rank() == 0:
        finish = ranks.begin_exchange([1, 2], [])
        began = time.monotonic()
        try:
            finish()
        except RuntimeError as error:
            seen["error"] = str(error)
        seen["seconds"] = time.monotonic() - began
    return seen


SCENARIOS = (
    counters_on_one_rank,
    finished_amid_an_exchange,
    exception_in_a_probe_on_one_rank,
    stopped_at_the_end,
    never_begun,
)


def main() -> None:
    store, rank, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    os.environ.pop("PACESETTER_MODE", None)
    results = {}
    for scenario in SCENARIOS:
        results[scenario.__name__] = scenario()
        dist.barrier()
    out.write_text(json.dumps(results))
    # No destroy_process_group: a run with an exchange under way ends with the interpreter.
    run, _, _ = start(ScriptedTransport())
    for _ in range(EXCHANGE_EVERY + 1):
        run.step(1.0)
    assert run._conductor.orders._under_way is not None


if __name__ == "__main__":
    main()
