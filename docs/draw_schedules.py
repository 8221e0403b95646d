"""Draws every schedule family into ``docs/schedules.png``: ``python docs/draw_schedules.py``."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from pacesetter.schedules import FAMILIES, Schedule, refine

LENGTH, WARMUP = 1000, 50
COLOURS = {"recommended": "#1b7f4d", "supported": "#2457a6", "experimental": "#b5651d"}
PICTURE = Path(__file__).with_name("schedules.png")

COOLDOWNS = ("linear", "sqrt", "square", "cosine", "mirror_cosine", "exponential")

_WIDE: dict[str, Any] = {"length": LENGTH, "zero": 0}
VARIANTS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "constant": [("", {})],
    "cosine": [("", {})],
    "cosine_restarts": [("3 cycles, x2", {})],
    "exponential": [("end .1", {}), (".01", {"end": 0.01})],
    "infinite": [("cosine", {}), ("inverse_sqrt", {"shape": "inverse_sqrt"})],
    "inverse_sqrt": [("of the warm-up", {}), ("timescale 300", {"timescale": 300})],
    "joined": [
        (
            "rex, then linear",
            {
                "pieces": [
                    {"start": 0, "schedule": {**_WIDE, "body": {"family": "rex"}}},
                    {
                        "start": 500,
                        "schedule": {
                            "zero": 500,
                            "length": 500,
                            "peak": 2 / 3,
                            "body": {"family": "linear"},
                        },
                    },
                ]
            },
        )
    ],
    "linear": [("", {})],
    "minicpm_wsd": [("half-life 50", {"decay": 0.3, "half_life": 50})],
    "moderate_decay": [("to 1/3", {})],
    "noam": [("", {"width": 512})],
    "one_cycle": [("cosine", {}), ("linear", {"anneal": "linear"})],
    "polynomial": [(f"power {p:g}", {"power": p}) for p in (0.5, 1.5, 3.0)],
    "power": [("batch of 2^17 tokens", {"batch_tokens": 2**17, "clock": "steps"})],
    "rewarm": [("", {"rewarm": 0.05})],
    "rex": [("d .5", {}), ("d .9", {"d": 0.9})],
    "step": [("8-1-1", {})],
    "table": [("", {"positions": [0, 0.3, 0.6, 1], "values": [1, 0.5, 0.6, 0]})],
    "triangular": [("", {"cycles": 3}), ("halving", {"cycles": 3, "halving": True})],
    "uba": [(f"phi {p:g}", {"phi": p}) for p in (0.25, 1.0, 2.0, 5.0)],
    "wsd": [(shape, {"shape": shape, "cooldown": 0.4}) for shape in COOLDOWNS],
    "wsd_s": [("3 budgets", {})],
    "wsdc": [("", {"decay": 0.3, "constant": 0.2})],
}


def documents(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the labelled bodies to draw of a family."""
    if name != "refined":
        return [(label, {"family": name, **parts}) for label, parts in VARIANTS[name]]
    bodies = []
    for label, last in (("falling norms", 1.0), ("falling, then rising", 2.0)):
        norms = np.interp(np.arange(LENGTH), [0, 50, 150, LENGTH], [6.0, 3.0, 1.0, last])
        bodies.append((label, refine(norms, optimizer="sgd", points=201).model_dump()))
    return bodies


def schedule_of(body: dict[str, Any]) -> Schedule:
    """Return a body with a warm-up where it takes one, in learning rates where it is a law."""
    rises = body["family"] in ("joined", "one_cycle", "rewarm", "refined")
    warmup = None if rises else {"length": WARMUP, "start": 0.0}
    law = {"unit": "absolute", "peak": 1.0} if body["family"] in ("noam", "power") else {}
    return Schedule.model_validate({"length": LENGTH, "warmup": warmup, "body": body, **law})


def draw() -> None:
    """Write the picture."""
    figure, axes = plt.subplots(6, 4, figsize=(11, 12.5), sharex=True, sharey=True)
    positions = np.linspace(0, LENGTH, 1501)
    for axis, (name, family) in zip(axes.flat, FAMILIES.items(), strict=True):
        colour = COLOURS[family.tier]
        bodies = documents(name)
        for number, (label, body) in enumerate(bodies):
            fade = 1.0 - 0.75 * number / len(bodies)
            values = schedule_of(body).over(positions)
            axis.plot(positions / LENGTH, values, color=colour, alpha=fade, lw=1.4, label=label)
        axis.set_title(f"{name}  ({family.tier})", fontsize=9, color=colour)
        if any(label for label, _ in bodies):
            axis.legend(fontsize=6, frameon=False, loc="best")
        axis.set_ylim(-0.03, 1.08)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("share of the schedule", fontsize=9)
    figure.supylabel("share of the peak", fontsize=9)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=72, metadata={"Software": None})


if __name__ == "__main__":
    draw()
