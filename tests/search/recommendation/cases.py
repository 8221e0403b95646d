"""Targets, runs on record and laws that the tests of recommendations share."""

import math
from typing import Any

from pacesetter.protocol import Recommendation, Workload
from pacesetter_search.laws import FittedMultiPower
from pacesetter_search.memory import RunRecord
from pacesetter_search.recommendation import KnownCurve, KnownLaw, Target
from pacesetter_search.transfer import hinge_peak

PARAMETERS, TOKENS, BATCH = 124e6, 2.5e9, 51_200.0
ASKED: dict[str, Any] = {"parameters": PARAMETERS, "tokens": TOKENS}


def run(lr: float, loss: float | None, **changes: Any) -> RunRecord:
    """Return a run on record: by default a pretraining of the asked model at a sixteenth of its budget."""
    workload = {
        "family": changes.pop("family", ""),
        "parameters": changes.pop("parameters", PARAMETERS),
        "batch_tokens": changes.pop("batch", BATCH),
        "parametrization": changes.pop("parametrization", "standard"),
        **changes.pop("workload", {}),
    }
    document = {
        "id": f"run-{lr:g}",
        "name": f"at {lr:g}",
        "source": "upload",
        "workload": workload,
        "regime": "pretrain",
        "optimizer": "adamw",
        "steps": 3000,
        "tokens": TOKENS / 16,
        "peak_lr": lr,
        "final_loss": loss,
        "validated": True,
        **changes,
    }
    return RunRecord.model_validate(document)


def bowl(best: float, *lrs: float, level: float = 3.6, **changes: Any) -> list[RunRecord]:
    """Return runs whose final losses lie on a parabola in log2 of the peak, 0.63 % an octave."""
    return [run(lr, level * (1.0 + 0.0063 * math.log2(lr / best) ** 2), **changes) for lr in lrs]


def best_at(parameters: float, tokens: float, batch: float, octaves: float = 0.0) -> float:
    """Return the hinge law's peak, moved by octaves."""
    return hinge_peak(parameters, tokens, batch) * math.exp2(octaves)


def target(**changes: Any) -> Target:
    """Return the asked target with changes."""
    return Target.model_validate({**ASKED, **changes})


def multi_power(peak: float = 2e-3) -> FittedMultiPower:
    """Return the law of a 100M model as published, with its rates of 3e-4 stretched to ``peak``."""
    values = (2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199, 0.64142257)
    published = FittedMultiPower.of(*values, exact=False)
    return published.model_copy(update={"unit": 3e-4 / peak})


def width_of(found: Recommendation) -> float:
    """Return the 90 % interval's width in octaves."""
    assert found.lr_90 is not None
    return math.log2(found.lr_90[1] / found.lr_90[0])


def known_law(peak: float = 2e-3, **changes: Any) -> KnownLaw:
    """Return a law of the asked workload's curves."""
    values: dict[str, Any] = {
        "id": "law-1",
        "workload": Workload(parameters=PARAMETERS, batch_tokens=BATCH),
        "regime": "pretrain",
        "optimizer": "adamw",
        "peak": peak,
        "longest": 50_000,
        "law": multi_power(peak),
        "curves": (KnownCurve("curve-1", "constant"), KnownCurve("curve-2", "cosine")),
    }
    return KnownLaw(**{**values, **changes})
