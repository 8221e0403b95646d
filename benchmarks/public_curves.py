"""Public loss curves, where they are at hand: they are third-party data and no part of the repository."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pacesetter_search.laws import Curve
from pacesetter_search.laws.scaling import FinalLoss

FOLDER = Path(__file__).parents[2] / "shared" / "data"
WARMUP = 2160
"""Steps of the Multi-Power Law's runs that rise from 0 and are not recorded."""

FITTED = ("cosine_24000", "constant_24000", "wsdcon_9")
TESTED = (
    "constant_72000",
    "cosine_72000",
    "wsd_20000_24000",
    "wsdld_20000_24000",
    "wsdcon_3",
    "wsdcon_18",
)
"""The published split."""


def multi_power_curve(size: int, name: str) -> Curve:
    """Return a run of 25 or 100 million parameters: its rates are read at each row, and lie on lines between rows.

    But for ``wsdcon``, whose rate drops in one step: there the rate of a row holds up to the next.
    """
    with (FOLDER / "multipowerlaw" / f"csv_{size}" / f"{name}.csv").open() as file:
        rows = [
            (float(row["step"]), float(row["lr"]), float(row["loss"]))
            for row in csv.DictReader(file)
        ]
    steps, lrs, losses = (np.array(column) for column in zip(*rows, strict=True))
    known = np.concatenate([[0.0, WARMUP], steps[1:]]), np.concatenate([[0.0, lrs[0]], lrs[1:]])
    every = np.arange(1, int(steps[-1]) + 1)
    rates = np.interp(every, *known)
    if name.startswith("wsdcon"):
        held = lrs[np.maximum(np.searchsorted(steps, every) - 1, 0)]
        rates = np.where(every <= WARMUP, rates, held)
    return Curve.of(rates, steps, losses)


def unseen(curve: Curve, trunk: Curve) -> Curve:
    """Return ``curve`` without the points that ``trunk`` has as well, number by number."""
    known = dict(zip(trunk.positions.tolist(), trunk.losses.tolist(), strict=True))
    fresh = [
        known.get(place) != loss
        for place, loss in zip(curve.positions.tolist(), curve.losses.tolist(), strict=True)
    ]
    return Curve.of(curve.lrs, curve.positions[fresh], curve.losses[fresh])


@dataclass(frozen=True)
class Run:
    """One of the 124M runs, its trunk in front of it.

    Attributes:
        name: Number of the run.
        lr: Peak.
        steps: Length.
        schedule: ``const``, ``cos_to_0``, ``cos_to_10``, ``wsd_linear_0.2``, ...
        curve: Validation losses from the end of the warm-up on.
        shared: Losses up to this step are the trunk's.
        final: Last loss of the curve.
    """

    name: str
    lr: float
    steps: int
    schedule: str
    curve: Curve
    shared: int
    final: float


@cache
def runs_124m() -> tuple[Run, ...]:
    """Return the runs of 124 million parameters on SlimPajama (12 layers, width 768) whose schedule is known."""
    folder = FOLDER / "lr_scheduling_124m"
    with (folder / "runs.csv").open() as file:
        described = [row for row in csv.DictReader(file) if row["n_embd"] == "768"]
    by_name = {row["name"]: row for row in described}
    found = []
    for row in described:
        schedule = _schedule(row)
        if schedule is not None and not (row["resume_from"] and row["resume_from"] not in by_name):
            found.append(_run(row, schedule, by_name))
    return tuple(found)


PARAMETERS_124M, BATCH_124M, WARMUP_124M = 124e6, 51_200.0, 300


def find_124m(schedule: str, lr: float, steps: int) -> Run:
    """Return the first of the runs of that schedule, peak and length."""
    wanted = (schedule, lr, steps)
    return next(one for one in runs_124m() if (one.schedule, one.lr, one.steps) == wanted)


def upload_124m(run: Run, family: str) -> dict[str, Any]:
    """Return a run as ``POST /v1/curves`` takes it."""
    at = run.curve.positions.astype(int)
    return {
        "name": f"{run.schedule} at {run.lr:g}, run {run.name}",
        "family": family,
        "parameters": PARAMETERS_124M,
        "batch_tokens": BATCH_124M,
        "regime": "pretrain",
        "optimizer": "adamw",
        "weight_decay": 0.1,
        "validated": True,
        "warmup": WARMUP_124M,
        "steps": at.tolist(),
        "lrs": run.curve.lrs[at - 1].tolist(),
        "losses": run.curve.losses.tolist(),
    }


def _schedule(row: dict[str, str]) -> str | None:
    if row["sched"] == "cos":
        return "cos_to_0" if row["cos_final_lr"] == "1e-07" else "cos_to_10"
    share = float(row["fract_decay"] or 0.0)
    if share == 0.0:
        return "const"
    return f"wsd_{row['decay_type']}_{share:g}" if row["decay_type"] else f"wsd_sqrt_{share:g}"


def _run(row: dict[str, str], schedule: str, by_name: dict[str, dict[str, str]]) -> Run:
    steps, lrs, losses = _rows(row["run"])
    shared = 0
    if row["resume_from"]:
        trunk = _rows(by_name[row["resume_from"]]["run"])
        before = trunk[0] < steps[0]
        shared = int(steps[0]) - 1
        steps, lrs, losses = (
            np.concatenate([old[before], new])
            for old, new in zip(trunk, (steps, lrs, losses), strict=True)
        )
    warmup, peak = int(row["warmup"]), float(row["lr"])
    # Rates are known at each row; those of the warm-up rise on a line.
    kept = steps > warmup
    known = (
        np.concatenate([[0.0, warmup], steps[kept]]),
        np.concatenate([[0.0, peak], lrs[kept]]),
    )
    every = np.interp(np.arange(1, int(steps[-1]) + 1), *known)
    curve = Curve.of(every, steps[kept], losses[kept])
    return Run(
        row["run"], peak, int(row["iters"]), schedule, curve, shared, float(curve.losses[-1])
    )


def _rows(run: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    path = FOLDER / "lr_scheduling_124m" / "curves" / f"{run}.csv"
    with path.open() as file:
        rows = [
            (float(row["step"]), float(row["lr"] or "nan"), float(row["val_loss"] or "nan"))
            for row in csv.DictReader(file)
        ]
    steps, lrs, losses = (np.array(column) for column in zip(*rows, strict=True))
    usable = np.isfinite(lrs) & np.isfinite(losses)
    return steps[usable], lrs[usable], losses[usable]


LADDER_PARAMETERS = {"190M": 190_354_176, "370M": 371_262_464, "760M": 758_220_288}
"""Without embeddings, as the authors count them."""

LADDER_SD = 0.001
"""Of a final, in nats: three sizes that were run twice differ by .0006 to .0011."""

LADDER_SETS = ("c4_loss", "pile_loss", "dolma_cc_loss", "wikitext_loss")


def ladder_finals(column: str) -> list[FinalLoss]:
    """Return the last loss of each run of the OLMo ladder on one validation set, those run twice only once."""
    found = []
    for path in sorted((FOLDER / "olmo_ladder").glob("*xC.csv")):
        with path.open() as file:
            last = list(csv.DictReader(file))[-1]
        found.append(
            FinalLoss(
                parameters=LADDER_PARAMETERS[path.stem.split("-")[0]],
                tokens=float(last["tokens"]),
                loss=float(last[column]),
                sd=LADDER_SD,
                name=path.stem,
            )
        )
    return found
