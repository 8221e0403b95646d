"""The noise scale: published vectors, a problem where it is known, and gradients taken on the way."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pacesetter.errors import ConfigurationError
from pacesetter.noise import (
    AccumulationNoise,
    NoiseScale,
    adascale_gain,
    advise_batch,
    moments_of,
    relative_rate,
)
from torch import nn

ROOT = Path(__file__).parents[3]
SAMPLES = np.array([(1, 0), (3, 2), (2, -1), (0, 1), (1, 3), (3, -2), (2, 2), (0, -1)], dtype=float)


def test_two_norms_give_both_moments() -> None:
    found = moments_of(1.5, 0.6, 8, 64)
    assert found.gradient == pytest.approx(0.4714285714)
    assert found.noise == pytest.approx(8.2285714286)
    noise = NoiseScale()
    noise.update(1.5, 0.6, 8, 64)
    assert noise.value == pytest.approx(17.4545454545)
    assert relative_rate(17.4545454545, 8) == pytest.approx(0.314286, abs=1e-6)
    assert relative_rate(17.4545454545, 64) == pytest.approx(0.785714, abs=1e-6)


@pytest.mark.parametrize(
    ("micro_batch", "gradient", "trace", "scale"),
    [(1, 1.9285714, 4.5714286, 2.3703704), (2, 2.375, 1.0, 0.4210526)],
)
def test_gradients_of_single_samples_by_hand(
    micro_batch: int, gradient: float, trace: float, scale: float
) -> None:
    micro = SAMPLES.reshape(-1, micro_batch, 2).mean(axis=1)
    small, big = (micro**2).sum(axis=1).mean(), (SAMPLES.mean(axis=0) ** 2).sum()
    found = moments_of(float(small), float(big), micro_batch, 8)
    assert (found.gradient, found.noise) == (
        pytest.approx(gradient),  # type: ignore[comparison-overlap]
        pytest.approx(trace),
    )
    assert found.noise / found.gradient == pytest.approx(scale)
    if micro_batch == 1:
        assert found.noise == pytest.approx(np.cov(SAMPLES.T, ddof=1).trace())


def known(steps: int, small: int, big: int) -> tuple[NoiseScale, list[float]]:
    """Return the estimate and the ratios of single steps where ``B_noise`` is 30."""
    rng = np.random.default_rng(0)
    true = np.full(10, 1.0)
    noise, ratios = NoiseScale(horizon=math.inf), []
    for _ in range(steps):
        samples = true + math.sqrt(30.0) * rng.standard_normal((big // small, small, 10))
        micro = samples.mean(axis=1)
        norms = float((micro**2).sum(axis=1).mean()), float((micro.mean(axis=0) ** 2).sum())
        noise.update(*norms, small, big)
        found = moments_of(*norms, small, big)
        ratios.append(found.noise / found.gradient)
    return noise, ratios


def test_on_a_problem_where_it_is_known_it_is_right_within_its_own_error() -> None:
    noise, _ = known(2000, 1, 8)
    assert noise.value is not None
    assert noise.standard_error is not None
    assert abs(noise.value - 30.0) < 2.5 * noise.standard_error
    assert noise.standard_error < 3.0


def test_the_mean_of_ratios_is_not_the_noise_scale() -> None:
    noise, ratios = known(2000, 1, 8)
    positive = [each for each in ratios if each > 0.0]
    assert len(positive) < 0.95 * len(ratios)  # a single step's |G|^2 may come out below zero
    assert abs(float(np.mean(ratios)) - 30.0) > 3.0 * abs((noise.value or 0.0) - 30.0)


def test_the_bias_of_averaged_ratios_has_the_size_that_it_was_measured_at() -> None:
    """Batches of 1 and 8 at a true scale of 30: ratios average to 49, the ratio of averages is 28.9 (seeds differ)."""
    noise, ratios = known(20_000, 1, 8)
    assert noise.value == pytest.approx(30.0, rel=0.03)
    below = sum(each <= 0.0 for each in ratios) / len(ratios)
    assert 0.1 < below < 0.4
    assert abs(float(np.mean(ratios)) - 30.0) > 5.0


def test_a_larger_batch_may_raise_the_rate_by_adascales_gain() -> None:
    """(var + sqr) / (var / S + sqr) with var 1.0285714, sqr .4714286 and S = 8."""
    assert adascale_gain(17.4545454545, 8, 64) == pytest.approx(2.5, rel=1e-9)
    assert adascale_gain(17.4545454545, 8, 8) == 1.0
    assert adascale_gain(1e12, 8, 64) == pytest.approx(8.0)
    with pytest.raises(ValueError, match="a batch of 4 is not above 8"):
        adascale_gain(1.0, 8, 4)


def test_moments_that_would_overflow_are_left_out() -> None:
    noise = NoiseScale()
    noise.update(1e200, 1e200, 8, 64)
    assert (noise.steps, noise.skipped) == (0, 1)


def test_old_steps_are_forgotten() -> None:
    noise = NoiseScale(horizon=10)
    for _ in range(50):
        noise.update(1.5, 0.6, 8, 64)
    for _ in range(200):
        noise.update(6.0, 2.4, 8, 64)
    assert noise.moments.gradient == pytest.approx(4 * 0.4714285714, rel=1e-6)


def test_a_step_that_is_not_finite_is_left_out() -> None:
    noise = NoiseScale()
    noise.update(1.5, 0.6, 8, 64)
    noise.update(math.inf, math.nan, 8, 64)
    assert (noise.steps, noise.skipped) == (1, 1)
    assert noise.value == pytest.approx(17.4545454545)


def test_it_goes_on_from_its_state() -> None:
    whole, early = NoiseScale(5), NoiseScale(5)
    for step in range(6):
        for each in (whole, early):
            each.update(1.5 + step, 0.6, 8, 64)
    resumed = NoiseScale(5)
    resumed.load_state_dict(json.loads(json.dumps(early.state_dict())))
    for each in (whole, resumed):
        each.update(2.0, 1.0, 8, 64)
    assert resumed.state_dict() == whole.state_dict()


def test_without_two_batch_sizes_nothing_is_told() -> None:
    with pytest.raises(ValueError, match="split the batch into micro-batches"):
        moments_of(1.0, 1.0, 8, 8)
    assert NoiseScale().value is None
    assert NoiseScale().standard_error is None


# -- under accumulation --


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def micro_batches(step: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(3, 5, 4, generator=generator, dtype=torch.float64)
    return [(each, each.sum(1, keepdim=True)) for each in inputs]


@pytest.mark.parametrize("divided", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_gradients_taken_at_each_backward_pass_are_those_of_the_micro_batches(
    divided: bool, scale: float
) -> None:
    trained, twin = model(), model()
    noise, by_hand = NoiseScale(), NoiseScale()
    hook = AccumulationNoise(
        trained.parameters(), noise, micro_batch=5, divided=divided, scale=lambda: scale
    )
    for step in range(4):
        gradients = []
        trained.zero_grad()
        for inputs, targets in micro_batches(step):
            loss = ((trained(inputs) - targets) ** 2).mean()
            (scale * loss / (3 if divided else 1)).backward()
            twin.zero_grad()
            ((twin(inputs) - targets) ** 2).mean().backward()
            gradients.append(
                torch.cat(
                    [each.grad.flatten() for each in twin.parameters() if each.grad is not None]
                )
            )
        hook.collect()
        stacked = torch.stack(gradients)
        small, big = stacked.square().sum(1).mean(), stacked.mean(0).square().sum()
        by_hand.update(float(small), float(big), 5, 15)
    assert noise.moments.gradient == pytest.approx(by_hand.moments.gradient, rel=1e-10)
    assert noise.moments.noise == pytest.approx(by_hand.moments.noise, rel=1e-10)


def test_a_step_of_one_backward_pass_is_left_out_and_hooks_can_be_removed() -> None:
    trained, noise = model(), NoiseScale()
    hook = AccumulationNoise(trained.parameters(), noise, micro_batch=5)
    trained(torch.ones(2, 4, dtype=torch.float64)).sum().backward()
    hook.collect()
    assert (noise.steps, noise.skipped) == (0, 1)
    hook.remove()
    for _ in range(3):
        trained(torch.ones(2, 4, dtype=torch.float64)).sum().backward()
    hook.collect()
    assert (noise.steps, noise.skipped) == (0, 2)


def test_a_pass_that_does_not_use_a_parameter_is_counted() -> None:
    first = nn.Parameter(torch.ones(2, dtype=torch.float64))
    second = nn.Parameter(torch.ones(2, dtype=torch.float64))
    noise = NoiseScale()
    hook = AccumulationNoise([first, second], noise, micro_batch=1, divided=False)
    (first * second).sum().backward()  # type: ignore[no-untyped-call]
    (3.0 * second).sum().backward()  # type: ignore[no-untyped-call]
    (first * second).sum().backward()  # type: ignore[no-untyped-call]
    hook.collect()
    # Squared norms 4, 18 and 4; the mean gradient is (2, 2, 5, 5) / 3.
    wanted = moments_of(26 / 3, 58 / 9, 1, 3)
    assert noise.moments.gradient == pytest.approx(wanted.gradient)
    assert noise.moments.noise == pytest.approx(wanted.noise)


def test_without_a_parameter_that_takes_a_gradient_there_is_nothing_to_measure() -> None:
    with pytest.raises(ConfigurationError, match="no parameter takes a gradient"):
        AccumulationNoise([torch.ones(2)], NoiseScale(), micro_batch=5)


# -- over ranks --


def test_two_ranks_tell_what_the_same_gradients_tell_by_hand(tmp_path: Path) -> None:
    files = [tmp_path / "0.json", tmp_path / "1.json"]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.client.noise.ranked_noise",
                tmp_path / "store",
                str(rank),
                file,
            ],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, file in enumerate(files)
    ]
    errors = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    for file in files:
        seen = json.loads(file.read_text())
        assert seen["steps"] == 20
        assert seen["found"] == pytest.approx(seen["wanted"], rel=1e-5)


# -- what it says of a batch --


def test_a_batch_is_judged_by_the_noise_scale() -> None:
    assert "far below" in advise_batch(1000.0, 64).text
    # (1 + 15.625) / (1 + 3.906) of the steps.
    assert "3.4 times fewer steps, for 1.2 times the samples" in advise_batch(1000.0, 64).text
    assert "1.1 times the steps, for 0.57 times the samples" in advise_batch(10.0, 64).text
    assert "fits" in advise_batch(64.0, 64).text
    assert "too uncertain" in advise_batch(1000.0, 64, standard_error=600.0).text
    found = advise_batch(64.0, 64)
    assert (found.wasted_samples, found.extra_steps) == (0.5, 1.0)
    with pytest.raises(ValueError, match="impossible"):
        advise_batch(-1.0, 64)
    with pytest.raises(ValueError, match="a batch of 0 is impossible"):
        relative_rate(10.0, 0)


def test_an_endless_horizon_survives_json() -> None:
    noise = NoiseScale(math.inf)
    noise.update(1.5, 0.6, 8, 64)
    resumed = NoiseScale()
    resumed.load_state_dict(json.loads(json.dumps(noise.state_dict(), allow_nan=False)))
    assert (resumed.horizon, resumed.value) == (math.inf, noise.value)
