"""Curves for the tests of the HTTP edge: runs of a known law."""

from typing import Any

import numpy as np
from pacesetter.schedules import WSD, Constant, Cosine, Linear, Schedule, Warmup
from pacesetter.schedules.families import AnyFamily
from pacesetter_search.laws import FittedMultiPower

STEPS, PEAK = 3000, 3e-4
TRUE = FittedMultiPower.of(3.0, 0.5, 0.5, 360.0, 2.0, 0.6, 0.64, exact=False)
BODIES: dict[str, AnyFamily] = {
    "constant": Constant(),
    "cosine": Cosine(),
    "wsd": WSD(cooldown=0.5),
    "linear": Linear(),
}


def schedule(name: str, steps: int = STEPS) -> dict[str, Any]:
    body = BODIES[name]
    return Schedule(length=steps, warmup=Warmup(length=150), body=body).model_dump(mode="json")


def truth(name: str, steps: int = STEPS, peak: float = PEAK) -> tuple[Any, Any]:
    """Return the rate of every step, and the loss after it."""
    document = Schedule.model_validate(schedule(name, steps))
    lrs = peak * document.over(np.arange(float(steps)))
    return lrs, TRUE.predict(lrs, np.arange(1, steps + 1)).mean


def curve(name: str, steps: int = STEPS, peak: float = PEAK) -> dict[str, Any]:
    """Return a run as it comes with a question: a point every ten steps."""
    lrs, losses = truth(name, steps, peak)
    at = np.arange(150, steps + 1, 10)
    return {
        "name": f"run {name}",
        "steps": at.tolist(),
        "lrs": lrs[at - 1].tolist(),
        "losses": losses[at - 1].tolist(),
        "warmup": 140,
    }


def upload(body: str = "cosine", /, **changes: Any) -> dict[str, Any]:
    """Return the body of an upload: a run of 124M parameters."""
    run = curve(body, changes.pop("length", STEPS), changes.pop("peak", PEAK))
    return {**run, "family": "gpt", "parameters": 124e6, "batch_tokens": 51_200, **changes}
