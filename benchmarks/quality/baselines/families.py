"""Every family of schedules, at a rate that theory transfers from the tuned linear decay: one run a seed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from pacesetter.schedules import (
    REX,
    UBA,
    WSD,
    WSDC,
    WSDS,
    AnyFamily,
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    Infinite,
    InverseSqrt,
    Linear,
    MiniCPMWSD,
    ModerateDecay,
    Noam,
    OneCycle,
    Polynomial,
    Power,
    Rewarm,
    Schedule,
    Step,
    Triangular,
    Warmup,
    convex_bound,
    refine,
)
from torch.optim import Optimizer

from benchmarks.quality.engine import WARMUP_SHARE, RateWriter, advance, shaped, train
from benchmarks.quality.score import Score, scored
from benchmarks.quality.tasks.base import Task
from benchmarks.quality.tasks.language import LanguageRecipe

RISING = ("one_cycle", "rewarm", "triangular")
"""They rise by themselves. The others warm up as the references do."""
_TENTHS = 3.3219280949
"""Half-lives to a tenth."""

Shape: TypeAlias = Callable[[Task, int], AnyFamily]


@dataclass(frozen=True)
class Form:
    """A family in the form that takes part; where it needs the task or its length, a function of both."""

    name: str
    shape: AnyFamily | Shape

    def body(self, task: Task, steps: int) -> AnyFamily:
        """Return the family for a run of ``steps``."""
        return self.shape(task, steps) if callable(self.shape) else self.shape


def _minicpm(task: Task, steps: int) -> AnyFamily:
    """Return a tail of a tenth that falls to a tenth: 16,610 steps at the paper's half-life of 5000."""
    del task
    return MiniCPMWSD(decay=0.1, half_life=max(1, round(0.1 * steps / _TENTHS)))


def _power(task: Task, steps: int) -> AnyFamily:
    del steps
    recipe = _language(task)
    return Power(batch_tokens=recipe.batch * recipe.context, clock="steps")


def _noam(task: Task, steps: int) -> AnyFamily:
    del steps
    return Noam(width=_language(task).width)


def _language(task: Task) -> LanguageRecipe:
    if isinstance(task.recipe, LanguageRecipe):
        return task.recipe
    raise ValueError(f"{task.name} has neither tokens nor a width; the law is for language models")


FORMS: tuple[Form, ...] = (
    Form("constant", Constant()),
    Form("linear", Linear()),
    Form("cosine", Cosine()),
    Form("polynomial 1.5", Polynomial(power=1.5)),
    Form("exponential to .1", Exponential()),
    Form("inverse sqrt", InverseSqrt()),
    Form("step 8-1-1", Step()),
    Form("one cycle", OneCycle()),
    Form("triangular, 3 cycles halving", Triangular(cycles=3, halving=True)),
    Form("cosine restarts, 3 x2", CosineRestarts()),
    Form("wsd linear", WSD()),
    Form("wsd linear over half", WSD(cooldown=0.5)),
    Form("wsd sqrt", WSD(shape="sqrt")),
    Form("wsd square", WSD(shape="square")),
    Form("wsd cosine", WSD(shape="cosine")),
    Form("wsd mirror cosine", WSD(shape="mirror_cosine")),
    Form("wsd exponential to .1", WSD(shape="exponential")),
    Form("minicpm wsd", _minicpm),
    Form("wsd-s, 3 budgets", WSDS()),
    Form("wsdc", WSDC()),
    Form("rex", REX()),
    Form("uba phi .5", UBA(phi=0.5)),
    Form("uba phi 5", UBA(phi=5.0)),
    Form("infinite", Infinite()),
    Form("rewarm", Rewarm()),
    Form("moderate decay", ModerateDecay()),
)
"""Relative families, as published. ``table`` and ``joined`` have no form of their own."""

LAWS: tuple[Form, ...] = (Form("noam", _noam), Form("power", _power))
"""They fix the learning rate itself, from width or tokens, and say nothing where there are none."""


def law_fits(task: Task) -> bool:
    """Whether laws of language models trained by Adam say something about a task."""
    return isinstance(task.recipe, LanguageRecipe) and refined_fits(task)


def laid_out(body: AnyFamily, steps: int) -> Schedule:
    """Return a family over ``steps``, with the warm-up of the references where it does not rise by itself."""
    warmup = Warmup(length=max(1, round(WARMUP_SHARE * steps)))
    if body.published_peak(Schedule(length=steps, warmup=warmup).extent) is not None:
        return Schedule.absolute(steps, body, warmup=warmup)
    return Schedule(length=steps, warmup=None if body.family in RISING else warmup, body=body)


def transferred(schedule: Schedule, linear_lr: float) -> float:
    """Return the base rate of a shape: the tuned one of the linear decay, times the ratio that the bound's best have.

    With constant norms the convex bound [Defazio2023, arXiv 2310.07831] fixes the ratio of two shapes' best base rates.
    """
    ours, linear = (_best_lr(found) for found in (schedule, shaped("linear", schedule.length)))
    return linear_lr * ours / linear


def run_form(task: Task, form: Form, linear_lr: float, steps: int, seed: int) -> Score:
    """Train T steps on a relative family at its transferred rate, or on a law at the rate that it fixes."""
    schedule = laid_out(form.body(task, steps), steps)
    lr = 1.0 if schedule.unit == "absolute" else transferred(schedule, linear_lr)
    return scored(train(task, schedule, lr, steps, seed))


def run_refined(task: Task, linear_lr: float, steps: int, seed: int) -> Score:
    """Train T steps on the linear decay for its gradient norms, and T again on the schedule refined from them."""
    kind: Literal["sgd", "adam"] = "sgd" if _optimizer(task) in ("sgd", "momentum") else "adam"
    norms = measured_norms(task, kind, linear_lr, steps, seed)
    schedule = Schedule(length=steps, body=refine(norms, optimizer=kind))
    lr = transferred(schedule, linear_lr)
    return scored(train(task, schedule, lr, steps, seed), searched=len(norms))


def refined_fits(task: Task) -> bool:
    """Whether the norms of one optimizer, SGD or of Adam's kind, are all that a task has."""
    return _optimizer(task) in ("sgd", "momentum", "adam", "adamw")


def measured_norms(task: Task, kind: str, lr: float, steps: int, seed: int) -> list[float]:
    """Return the gradient norms of a linear decay, one a step: l2 for ``"sgd"``, else l1."""
    trial = task.open(seed, lr)
    norms: list[float] = []

    def measure(optimizer: Optimizer, *_: object) -> None:
        found = [p.grad for group in optimizer.param_groups for p in group["params"]]
        whole = torch.cat([grad.flatten() for grad in found if grad is not None])
        norms.append(float(torch.linalg.vector_norm(whole, ord=2 if kind == "sgd" else 1)))

    (optimizer,) = trial.optimizers
    optimizer.register_step_pre_hook(measure)
    multipliers = shaped("linear", steps).over(np.arange(steps, dtype=np.float64)).tolist()
    advance(trial, RateWriter([optimizer]), multipliers)
    return norms


def _optimizer(task: Task) -> str:
    return str(getattr(task.recipe, "optimizer", ""))


def _best_lr(schedule: Schedule) -> float:
    rates = schedule.over(np.arange(schedule.length, dtype=np.float64))
    return convex_bound(rates).best_base_lr
