"""Where the hypergradient rule settles, and its normalised form: the regulator on problems with known answers."""

import math

import pytest
import torch
from pacesetter.feedback import Hypergradient
from pacesetter.run.feedback.base import Surroundings
from pacesetter.run.feedback.hypergradient import HypergradientRegulator
from pacesetter.run.ranks import Ranks
from torch import Tensor

CURVATURE = torch.tensor([1.0, 10.0], dtype=torch.float64)
WIDE = {"lowest": 1e-4, "highest": 1e3, "max_change_per_step": 100.0, "rise": 1e6}


def regulating(weights: Tensor, lr: float, **rule: object) -> HypergradientRegulator:
    spec = Hypergradient.model_validate({**WIDE, **rule})
    return HypergradientRegulator(spec, Surroundings(lambda: [weights], lambda: lr, Ranks()))


def noisy_gradient(weights: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    draw = torch.randn(weights.shape, dtype=torch.float64, generator=generator)
    return CURVATURE * weights.detach() + noise * draw


def test_with_fresh_minibatches_it_settles_at_the_greedy_optimum_of_one_step() -> None:
    """``|G|^2 / (G'HG + tr(H Sigma) / B)``: 101 / (1001 + 11 noise^2), below the 101 / 1001 without noise."""
    noise, lr, generator = 3.0, 0.05, torch.Generator().manual_seed(0)
    weights = torch.ones(2000, 2, dtype=torch.float64, requires_grad=True)
    # The gradient of a sum over 2000 copies: so much greater is h, and so much less noisy.
    regulator = regulating(weights, lr, form="additive", beta=2e-4 / 2000)
    settled = []
    for _ in range(120):
        for _ in range(2):  # one step from the same weights, and the gradient it leads to
            weights.grad = noisy_gradient(weights, noise, generator)
            multiplier = regulator.before_step()
            with torch.no_grad():
                weights -= lr * multiplier * weights.grad
        settled.append(lr * multiplier)
        with torch.no_grad():
            weights.fill_(1.0)
        regulator.forget_weights()
    assert sum(settled[-60:]) / 60 == pytest.approx(101 / (1001 + 11 * noise**2), rel=0.01)


def final_loss(rate: "HypergradientRegulator | None", weights: Tensor, peak: float) -> float:
    """Return the mean loss over copies after 1000 steps: under the rule, or under a linear decay from ``peak``."""
    generator = torch.Generator().manual_seed(1)
    for step in range(1000):
        weights.grad = noisy_gradient(weights, 1.0, generator)
        scale = 1.0 - step / 1000 if rate is None else rate.before_step()
        with torch.no_grad():
            weights -= peak * scale * weights.grad
    return float(0.5 * (CURVATURE * weights.detach() ** 2).sum(1).mean())


def test_on_the_noisy_quadratic_it_does_not_anneal_and_ends_far_above_a_linear_decay() -> None:
    copies = 200
    weights = torch.ones(copies, 2, dtype=torch.float64, requires_grad=True)
    regulator = regulating(weights, 0.1, form="additive", beta=1e-5 / copies)
    regulated = final_loss(regulator, weights, 0.1)
    assert 0.1 * regulator.multiplier == pytest.approx(0.09, abs=0.004)
    assert regulated == pytest.approx(0.065, abs=0.006)
    decayed = final_loss(None, torch.ones(copies, 2, dtype=torch.float64), 0.1)
    assert decayed < regulated / 20


def test_the_normalised_form_has_the_steps_of_adagrad() -> None:
    """By hand on .5 x^2 at a rate of .1: h = x_t / x_(t-1) = 1 - m/10, over the root of the squares so far."""
    weights = torch.ones(1, dtype=torch.float64, requires_grad=True)
    regulator = regulating(weights, 0.1, form="hdm", beta=0.5)
    multipliers = []
    for _ in range(4):
        weights.grad = weights.detach().clone()
        multipliers.append(regulator.before_step())
        with torch.no_grad():
            weights -= 0.1 * multipliers[-1] * weights.grad
    expected, squares = [1.0], 0.0
    for _ in range(3):
        normalised = 1.0 - 0.1 * expected[-1]
        squares += normalised**2
        expected.append(expected[-1] + 0.5 * normalised / math.sqrt(squares))
    assert expected[1] == 1.5
    assert multipliers == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("form", ["additive", "multiplicative", "hdm"])
def test_what_was_kept_of_it_goes_on_as_if_it_had_never_stopped(form: str) -> None:
    weights = torch.ones(3, dtype=torch.float64, requires_grad=True)
    regulator = regulating(weights, 0.1, form=form, beta=0.01)

    def steps(count: int, regulator: HypergradientRegulator) -> list[float]:
        made = []
        for _ in range(count):
            weights.grad = weights.detach().clone()
            made.append(regulator.before_step())
            with torch.no_grad():
                weights.sub_(weights.grad, alpha=0.1 * made[-1])
            regulator.after_step(float(weights.detach().square().sum()))
        return made

    steps(5, regulator)
    document, then = regulator.document(), weights.detach().clone()
    # Whoever takes a state back has no direction any more, so that the first step moves nothing.
    regulator.forget_weights()
    expected = steps(4, regulator)
    weights.data.copy_(then)
    other = regulating(weights, 0.1, form=form, beta=0.01)
    other.load(document)
    assert steps(4, other) == expected
    assert expected[1] != expected[0] == document["multiplier"]


def test_gradients_that_are_not_finite_move_nothing() -> None:
    weights = torch.ones(2, dtype=torch.float64, requires_grad=True)
    regulator = regulating(weights, 0.1, beta=0.05)
    made = []
    for gradient in (1.0, 1.0, math.inf, 1.0):
        weights.grad = torch.full_like(weights, gradient)
        made.append(regulator.before_step())
        if math.isfinite(gradient):  # a scaler skips the other
            with torch.no_grad():
                weights -= 0.01 * weights.grad
    assert made == pytest.approx([1.0, 1.05, 1.05, 1.05 * 1.05])
