"""Everyone who takes part, in one table. A strategy joins by one entry."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from pacesetter import Limits

from benchmarks.quality.baselines import families, published, rate_free, searches
from benchmarks.quality.baselines.families import FORMS, LAWS, Form
from benchmarks.quality.score import Score
from benchmarks.quality.steered import Steering
from benchmarks.quality.tasks.base import Task

Start: TypeAlias = Literal["absent", "default", "right", "low", "high"]
"""The rate that the job is started with: torch's default, which nobody chose; the field's default; the tuned best of a
linear decay; 30 times below it; 30 times above it."""

WRONG = 30.0
NORMS = ("grad_norm", "grad_norm_l1")
ABSENT_SGD_LR = 1e-3
"""torch's default for SGD, for an optimizer that torch does not have."""


def fits_any(task: Task) -> bool:
    """Whether a baseline can run on a task: most can on all."""
    del task
    return True


@dataclass(frozen=True)
class Baseline:
    """Trained by the plain loop."""

    name: str
    run: Callable[[Task, int, int, int], Score]
    fits: Callable[[Task], bool] = fits_any


@dataclass(frozen=True)
class Steered:
    """Trained by the real client under a strategy of the real controller."""

    name: str
    strategy: str
    start: Start
    parameters: Mapping[str, Any] = field(default_factory=dict)
    main_share: float = 1.0
    """Share of all allowed steps that is the main line; 1 means the budget T, as the ledger's cap counts."""
    cap: float | None = None
    """None: what the benchmark allows, .15 unless said."""
    limits: Limits = field(default_factory=Limits)
    statistics: tuple[str, ...] = ()
    parts: int = 1
    """Backward passes that each batch is split into."""
    workers: int = 0
    """That run its proxies beside it."""
    fits: Callable[[Task], bool] = fits_any
    placebo_of: str | None = None
    """The contender whose probes it pays for and ignores."""


@dataclass(frozen=True)
class FamilyRun:
    """Trained by the plain loop on a family of schedules, at a rate that the tuned linear decay's transfers to."""

    name: str
    form: Form | None
    """None for the one that is refined from norms measured first."""
    fits: Callable[[Task], bool] = fits_any


Contender: TypeAlias = Baseline | Steered | FamilyRun

_AUTOLRS_RANGE = {"min_multiplier": 1 / 32, "max_multiplier": 32.0}


def _zero_tuning(start: Start, words: str) -> tuple[Steered, Steered]:
    """Return the strategy from one start, and the placebo: its prior alone, which the probes' steps do not inform."""
    trust = {"trust": 0.0} if start == "absent" else {}
    ours = f"zero_tuning: {words}"
    return (
        Steered(ours, "zero_tuning", start, trust),
        Steered(f"placebo: {words}", "zero_tuning", start, trust, cap=0.0, placebo_of=ours),
    )


def _splits(task: Task) -> bool:
    """Whether a batch of the task can be split into two of half its size."""
    return task.kind not in ("policy", "quadratic")


def _on_the_client(strategy: str, start: Start) -> Steered:
    """Return a strategy that moves the rate by a rule on the client, as far as a wrong start asks for."""
    words = {"right": "right rate", "low": "30x too low", "high": "30x too high"}[start]
    reach = 2.0 * WRONG
    bounds = {"lowest": 1.0 / reach, "highest": reach}
    limits = Limits(max_multiplier=reach)
    return Steered(f"{strategy}: {words}", strategy, start, bounds, limits=limits)


CONTENDERS: tuple[Contender, ...] = (
    *_zero_tuning("absent", "no rate"),
    *_zero_tuning("right", "right rate"),
    *_zero_tuning("low", "30x too low"),
    *_zero_tuning("high", "30x too high"),
    Steered("proxy: absent", "proxy", "absent", {"trust": 0.0}, workers=4),
    Steered("proxy: low", "proxy", "low", workers=4),
    Steered("proxy: high", "proxy", "high", workers=4),
    Steered("autolrs horizon: right rate", "autolrs", "right", {"objective": "horizon"}),
    Steered(
        "base schedule: right rate",
        "fixed",
        "right",
        placebo_of="autolrs horizon: right rate",
    ),
    Steered(
        "autolrs as published",
        "autolrs",
        "default",
        {"objective": "stage", **_AUTOLRS_RANGE},
        main_share=0.5,
        cap=1.0,
        limits=Limits(max_multiplier=_AUTOLRS_RANGE["max_multiplier"]),
    ),
    Steered(
        "refinement: right rate",
        "refinement",
        "right",
        statistics=NORMS,
        fits=families.refined_fits,
    ),
    Steered(
        "snr: right rate",
        "snr",
        "right",
        statistics=("gradient_noise",),
        parts=2,
        fits=_splits,
    ),
    Steered("wsd_branch: right rate", "wsd_branch", "right"),
    *(_on_the_client("hypergradient", start) for start in ("right", "low", "high")),
    Steered("fixed: 30x too low", "fixed", "low"),
    Steered("fixed: 30x too high", "fixed", "high"),
    Baseline("untuned default", published.untuned),
    Baseline("untuned default for longer", published.untuned_longer),
    Baseline("published law", published.law),
    Baseline("3-point sweep", searches.three_point_sweep),
    Baseline("successive halving", searches.successive_halving),
    Baseline("Prodigy", rate_free.prodigy, rate_free.fits),
    Baseline("D-Adaptation", rate_free.d_adaptation, rate_free.fits),
    Baseline("Schedule-Free", rate_free.schedule_free, rate_free.fits),
)

FAMILIES: tuple[Contender, ...] = (
    *(FamilyRun(f"family: {form.name}", form) for form in FORMS),
    *(FamilyRun(f"family: {form.name} (law)", form, families.law_fits) for form in LAWS),
    FamilyRun("family: refined, from a first run", None, families.refined_fits),
)
"""A table of their own: ``--contenders families``."""


def steering(contender: Steered, cap: float) -> Steering:
    """Return how a job of ``contender`` is attached, where the benchmark allows ``cap``."""
    return Steering(
        strategy=contender.strategy,
        parameters=dict(contender.parameters),
        cap=cap if contender.cap is None else contender.cap,
        limits=contender.limits,
        statistics=contender.statistics,
        parts=contender.parts,
        workers=contender.workers,
    )


def main_steps(contender: Steered, steps: int, total: int) -> int:
    """Return the length of the main line."""
    return steps if contender.main_share == 1.0 else int(contender.main_share * total)


def start_lr(start: Start, task: Task, right: float) -> float:
    """Return the rate that a job starts with, where ``right`` is the tuned best."""
    if start == "absent":
        return absent_lr(task)
    rates = {
        "default": task.default_lr,
        "right": right,
        "low": right / WRONG,
        "high": right * WRONG,
    }
    return rates[start]


def absent_lr(task: Task) -> float:
    """Return what the task's first optimizer takes when nobody passes a rate."""
    optimizer = type(task.open(seed=0).optimizers[0])
    default = inspect.signature(optimizer).parameters["lr"].default
    own = optimizer.__module__.startswith("torch.optim") and isinstance(default, float)
    return float(default) if own and not isinstance(default, torch.Tensor) else ABSENT_SGD_LR


def contenders_named(names: str) -> tuple[Contender, ...]:
    """Return the contenders whose name contains one of the comma-separated words.

    ``all`` is the search and what it has to beat. Families of schedules are chosen by words that begin with their
    prefix, such as ``family: rex``, or all at once by ``families``.

    Raises:
        ValueError: A word fits no name; the message lists them.
    """
    if names == "all":
        return CONTENDERS
    everyone = (*CONTENDERS, *FAMILIES)
    words = [word.strip() for word in names.split(",") if word.strip()]
    words = ["family: " if word == "families" else word for word in words]
    known = [contender.name for contender in everyone]
    for word in words:
        if not any(_fits(word, name) for name in known):
            raise ValueError(f"no contender's name contains {word!r}; they are: {'; '.join(known)}")
    return tuple(c for c in everyone if any(_fits(word, c.name) for word in words))


def _fits(word: str, name: str) -> bool:
    return name.startswith(word) if name.startswith("family: ") else word in name
