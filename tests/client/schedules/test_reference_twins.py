"""Families against what everybody has, step by step: the schedulers of torch, the formulas of Transformers."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pacesetter.schedules import (
    WSD,
    AnyFamily,
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseSqrt,
    Linear,
    OneCycle,
    Polynomial,
    Schedule,
    Step,
    Triangular,
    Warmup,
)
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    SequentialLR,
    StepLR,
)

STEPS = 120
BASE = 0.3

Make = Callable[[torch.optim.Optimizer], LRScheduler]


def of_torch(make: Make, steps: int = STEPS) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE, momentum=0.9)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


def of_ours(schedule: Schedule, steps: int = STEPS) -> list[float]:
    evaluate = schedule.evaluator()
    return [BASE * evaluate(step) for step in range(steps)]


def warmed(rest: Make, start: float, length: int) -> Make:
    def make(optimizer: torch.optim.Optimizer) -> LRScheduler:
        rise = LinearLR(optimizer, start_factor=start, total_iters=length)
        return SequentialLR(optimizer, [rise, rest(optimizer)], milestones=[length])

    return make


def scheduled(body: AnyFamily, length: int = STEPS, **parts: object) -> Schedule:
    return Schedule.model_validate({"length": length, "body": body, **parts})


# Torch's own forms are recursions, whose rounding adds up: some 1e-14 after 120 steps.
TWINS: dict[str, tuple[Schedule, Make]] = {
    "LinearLR down to a floor": (
        scheduled(Linear(), floor=0.2),
        lambda o: LinearLR(o, start_factor=1.0, end_factor=0.2, total_iters=STEPS),
    ),
    "LinearLR as a warm-up": (
        scheduled(Constant(), warmup=Warmup(length=30, start=0.25)),
        lambda o: LinearLR(o, start_factor=0.25, total_iters=30),
    ),
    "CosineAnnealingLR": (scheduled(Cosine()), lambda o: CosineAnnealingLR(o, T_max=STEPS)),
    "CosineAnnealingLR with eta_min": (
        scheduled(Cosine(), floor=0.1),
        lambda o: CosineAnnealingLR(o, T_max=STEPS, eta_min=0.1 * BASE),
    ),
    "LinearLR, then CosineAnnealingLR": (
        scheduled(Cosine(), warmup=Warmup(length=20, start=0.01)),
        warmed(lambda o: CosineAnnealingLR(o, T_max=STEPS - 20), 0.01, 20),
    ),
    "PolynomialLR": (
        scheduled(Polynomial(power=1.5)),
        lambda o: PolynomialLR(o, total_iters=STEPS, power=1.5),
    ),
    "ExponentialLR": (
        scheduled(Exponential(end=0.97**STEPS)),
        lambda o: ExponentialLR(o, gamma=0.97),
    ),
    "MultiStepLR": (
        scheduled(Step(milestones=(48 / STEPS, 97 / STEPS), factors=(0.3, 0.09))),
        lambda o: MultiStepLR(o, milestones=[48, 97], gamma=0.3),
    ),
    "StepLR": (
        scheduled(Step(milestones=(0.25, 0.5, 0.75), factors=(0.5, 0.25, 0.125))),
        lambda o: StepLR(o, step_size=30, gamma=0.5),
    ),
    "ConstantLR": (
        scheduled(Constant(), peak=0.5),
        lambda o: ConstantLR(o, factor=0.5, total_iters=STEPS + 1),
    ),
    "CosineAnnealingWarmRestarts of equal length": (
        scheduled(CosineRestarts(cycles=4, growth=1)),
        lambda o: CosineAnnealingWarmRestarts(o, T_0=30),
    ),
    "CosineAnnealingWarmRestarts that double, with eta_min": (
        scheduled(CosineRestarts(cycles=4, growth=2), floor=0.05),
        lambda o: CosineAnnealingWarmRestarts(o, T_0=8, T_mult=2, eta_min=0.05 * BASE),
    ),
    "CyclicLR triangular": (
        scheduled(Triangular(cycles=3, low=0.1)),
        lambda o: CyclicLR(o, 0.1 * BASE, BASE, step_size_up=20, mode="triangular"),
    ),
    "CyclicLR triangular2": (
        scheduled(Triangular(cycles=3, low=0.1, halving=True)),
        lambda o: CyclicLR(o, 0.1 * BASE, BASE, step_size_up=20, mode="triangular2"),
    ),
    # Torch is at its top and at its end one step early: at .3 * 121 - 1 and 121 - 1.
    "OneCycleLR": (
        scheduled(OneCycle(rise=35.3 / STEPS)),
        lambda o: OneCycleLR(o, max_lr=BASE, total_steps=STEPS + 1),
    ),
    "OneCycleLR in lines": (
        scheduled(OneCycle(rise=35.3 / STEPS, divisor=10.0, final_divisor=100.0, anneal="linear")),
        lambda o: OneCycleLR(
            o,
            max_lr=BASE,
            total_steps=STEPS + 1,
            div_factor=10.0,
            final_div_factor=100.0,
            anneal_strategy="linear",
        ),
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_it_is_the_scheduler_of_torch_at_every_step(name: str) -> None:
    schedule, make = TWINS[name]

    assert of_ours(schedule) == pytest.approx(of_torch(make), rel=1e-12, abs=1e-15)


def test_steps_at_powers_of_two_have_the_bits_of_torch() -> None:
    schedule, make = TWINS["StepLR"]

    assert of_ours(schedule) == of_torch(make)


def linear(t: int, warmup: int, total: int) -> float:
    """``get_linear_schedule_with_warmup``."""
    return t / warmup if t < warmup else max(0.0, (total - t) / (total - warmup))


def cosine(t: int, warmup: int, total: int) -> float:
    """``get_cosine_schedule_with_warmup``, half a period."""
    progress = (t - warmup) / (total - warmup)
    return t / warmup if t < warmup else max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))


def hard_restarts(t: int, warmup: int, total: int) -> float:
    """``get_cosine_with_hard_restarts_schedule_with_warmup``, three cycles."""
    progress = (t - warmup) / (total - warmup)
    return t / warmup if t < warmup else 0.5 * (1.0 + math.cos(math.pi * (3.0 * progress % 1.0)))


def polynomial(t: int, warmup: int, total: int) -> float:
    """``get_polynomial_decay_schedule_with_warmup``, power 2, to a hundredth."""
    remaining = 1.0 - (t - warmup) / (total - warmup)
    return t / warmup if t < warmup else 0.99 * remaining**2 + 0.01


def inverse_sqrt(t: int, warmup: int, total: int) -> float:
    """``get_inverse_sqrt_schedule``, its timescale the warm-up."""
    del total
    return t / warmup if t < warmup else 1.0 / math.sqrt(t / warmup)


def wsd(t: int, warmup: int, total: int) -> float:
    """``get_wsd_schedule``, a cosine over the last 30 steps down to a tenth."""
    if t < warmup:
        return t / warmup
    progress = max(0, t - (total - 30)) / 30
    return 0.1 + 0.9 * 0.5 * (1.0 + math.cos(math.pi * progress))


def wsd_one_minus_sqrt(t: int, warmup: int, total: int) -> float:
    """``get_wsd_schedule``, 1 - sqrt over the last 30 steps."""
    return t / warmup if t < warmup else 1.0 - math.sqrt(max(0, t - (total - 30)) / 30)


@pytest.mark.parametrize(
    ("formula", "body", "floor"),
    [
        (linear, Linear(), 0.0),
        (cosine, Cosine(), 0.0),
        (hard_restarts, CosineRestarts(cycles=3, growth=1.0), 0.0),
        (polynomial, Polynomial(power=2.0), 0.01),
        (inverse_sqrt, InverseSqrt(), 0.0),
        (wsd, WSD(cooldown=30 / STEPS, shape="cosine"), 0.1),
        (wsd_one_minus_sqrt, WSD(cooldown=30 / STEPS, shape="sqrt"), 0.0),
    ],
)
def test_it_is_the_formula_of_transformers_at_every_step(
    formula: Callable[[int, int, int], float], body: AnyFamily, floor: float
) -> None:
    schedule = scheduled(body, floor=floor, warmup=Warmup(length=15, start=0.0))
    expected = [formula(step, 15, STEPS) for step in range(STEPS)]

    assert schedule.over(np.arange(float(STEPS))) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert [schedule.at(step) for step in range(STEPS)] == pytest.approx(
        expected, rel=1e-12, abs=1e-15
    )
