"""Runs of a family whose best peak is known, as they would have been recorded."""

import math
from collections.abc import Sequence
from typing import Any

from pacesetter.protocol import Objective, Workload
from pacesetter_search.memory import FoundPeak, RunRecord
from pacesetter_search.memory.optima import Remembered, leads_of

PARAMETERS, BATCH = 50_000.0, 512.0


def best(parameters: float, tokens: float) -> float:
    """Return log2 of the best peak of a linear decay, without momentum, in this family."""
    return -7.0 - 0.6 * math.log2(parameters / PARAMETERS) - 0.45 * math.log2(tokens / 2.0**19)


def ends_with(parameters: float, tokens: float, log2_lr: float) -> float:
    """Return what a run of this family ends with: less for a larger model and more data, more beside its best peak."""
    octaves = math.log2(parameters / PARAMETERS), math.log2(tokens / 2.0**19)
    away = log2_lr - best(parameters, tokens)
    return 2.0 * math.exp(-0.06 * octaves[0] - 0.09 * octaves[1] + 0.025 * away**2)


def record(number: int = 0, **given: Any) -> RunRecord:
    """Return a run of the family ``bytes``; what is given replaces what it has."""
    workload = {
        "family": given.pop("family", "bytes"),
        "parameters": given.pop("parameters", PARAMETERS),
        "batch_tokens": given.pop("batch", BATCH),
        "objective": given.pop("objective", Objective()),
    }
    fields: dict[str, Any] = {
        "id": f"curve_{number}",
        "name": f"run {number}",
        "source": "job",
        "workload": Workload(**workload),
        "regime": "pretrain",
        "optimizer": "adamw",
        "steps": 1024,
        "tokens": 2.0**19,
        "peak_lr": 2.0**-7,
    }
    fields |= given
    place = workload["parameters"] or PARAMETERS, fields["tokens"] or 2.0**19
    ended = ends_with(*place, math.log2(fields["peak_lr"]))
    return RunRecord(**{"final_loss": ended, **fields})


def found(number: int, tokens: float = 2.0**19, sd: float = 0.3, **given: Any) -> RunRecord:
    """Return a run whose short ones, a sixteenth as long, found their best peak where it is."""
    parameters = given.get("parameters", PARAMETERS)
    peak = FoundPeak(share=1 / 16, log2_lr=best(parameters, tokens / 16.0), sd=sd)
    return record(number, tokens=tokens, found=(peak,), **given)


def optima_of(records: Sequence[RunRecord]) -> list[Remembered]:
    """Return all that runs of one kind say of best peaks."""
    return [best for lead in leads_of(records) if (best := lead.best()) is not None]
