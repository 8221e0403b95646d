"""Norms beside torch's own, for every layout that a gradient comes in."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pacesetter.run.statistics import GradientStatistics
from torch import Tensor, nn

ROOT = Path(__file__).parents[3]
SHARDED = "tests.client.run.sharded_statistics"


def parameters(dtype: torch.dtype = torch.float32, scale: float = 1.0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for shape in ((17, 5), (3,), (2, 3, 4), ()):
        parameter = nn.Parameter(torch.randn(shape, generator=generator).to(dtype))
        parameter.grad = (scale * torch.randn(shape, generator=generator)).to(dtype)
        made.append(parameter)
    return made


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().double().reshape(-1) for tensor in tensors])


def gradients(of: list[nn.Parameter]) -> list[Tensor]:
    return [p.grad for p in of if p.grad is not None]


def number(tensor: Tensor | None) -> float:
    assert tensor is not None
    assert tensor.ndim == 0
    return tensor.item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_norms_equal_those_of_one_long_float64_vector(dtype: torch.dtype) -> None:
    watched = parameters(dtype)
    norms = GradientStatistics(watched, l2=True, l1=True, parameter_norm=True).measure()
    gradient, weights = flat(gradients(watched)), flat(list(watched))

    assert number(norms.gradient_l2) == pytest.approx(gradient.norm().item(), rel=1e-6)
    assert number(norms.gradient_l1) == pytest.approx(gradient.abs().sum().item(), rel=1e-6)
    assert number(norms.parameter_l2) == pytest.approx(weights.norm().item(), rel=1e-6)


def test_l2_norm_equals_that_of_torch() -> None:
    watched = parameters()
    theirs = torch.nn.utils.get_total_norm(gradients(watched))

    assert number(GradientStatistics(watched).measure().gradient_l2) == pytest.approx(
        theirs.item(), rel=1e-7
    )


def test_only_what_was_asked_for_is_measured() -> None:
    norms = GradientStatistics(parameters(), l2=False, parameter_norm=True).measure()

    assert norms.gradient_l2 is None
    assert norms.gradient_l1 is None
    assert norms.parameter_l2 is not None


def test_sixteen_bit_gradients_do_not_overflow_on_the_way() -> None:
    parameter = nn.Parameter(torch.zeros(4096, dtype=torch.float16))
    parameter.grad = torch.full_like(parameter, 60_000.0)
    norms = GradientStatistics([parameter], l1=True).measure()

    assert number(norms.gradient_l2) == pytest.approx(59_968.0 * 64, rel=1e-3)
    assert number(norms.gradient_l1) == pytest.approx(59_968.0 * 4096, rel=1e-3)


def test_parameters_of_several_types_are_measured_together() -> None:
    mixed = [*parameters(torch.float32), *parameters(torch.bfloat16), *parameters(torch.float64)]
    norms = GradientStatistics(mixed, l1=True).measure()

    assert number(norms.gradient_l2) == pytest.approx(
        flat(gradients(mixed)).norm().item(), rel=1e-6
    )
    assert number(norms.gradient_l1) == pytest.approx(
        flat(gradients(mixed)).abs().sum().item(), rel=1e-6
    )


def test_complex_gradients_count_by_their_modulus() -> None:
    parameter = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    parameter.grad = torch.tensor([3 + 4j, 0 + 12j])
    norms = GradientStatistics([parameter], l1=True).measure()

    assert number(norms.gradient_l2) == pytest.approx(13.0)
    assert number(norms.gradient_l1) == pytest.approx(17.0)


def test_sparse_gradient_counts_repeated_rows_once_summed() -> None:
    embedding = nn.Embedding(10, 2, sparse=True)
    embedding(torch.tensor([1, 1, 4])).sum().backward()
    statistics = GradientStatistics(embedding.parameters(), l1=True)
    norms = statistics.measure()

    # Row 1 was looked up twice: its gradient is (2, 2), and that of row 4 is (1, 1).
    assert number(norms.gradient_l2) == pytest.approx(math.sqrt(10.0))
    assert number(norms.gradient_l1) == pytest.approx(6.0)

    assert norms.gradient_l2 is not None
    statistics.clip_(1.0, norms.gradient_l2)
    assert number(statistics.measure().gradient_l2) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_gradients_pass_through(bad: float) -> None:
    watched = parameters()
    gradients(watched)[1][0] = bad
    norms = GradientStatistics(watched, l1=True, parameter_norm=True).measure()

    assert not math.isfinite(number(norms.gradient_l2))
    assert not math.isfinite(number(norms.gradient_l1))
    assert math.isfinite(number(norms.parameter_l2))


def test_parameter_without_gradient_counts_as_zero_and_again_once_it_has_one() -> None:
    watched = parameters()
    statistics = GradientStatistics(watched, l1=True)
    kept = watched[0].grad
    watched[0].grad = None
    rest = flat(gradients(watched)).norm().item()

    assert number(statistics.measure().gradient_l2) == pytest.approx(rest, rel=1e-6)
    watched[0].grad = kept
    assert number(statistics.measure().gradient_l2) > rest


def test_nothing_to_measure_is_zero() -> None:
    for watched in ([], [nn.Parameter(torch.ones(3))], [nn.Parameter(torch.zeros(0))]):
        norms = GradientStatistics(watched, l1=True).measure()

        assert number(norms.gradient_l2) == 0.0
        assert number(norms.gradient_l1) == 0.0


def test_tied_parameter_counts_once() -> None:
    (first, *_) = parameters()

    assert number(GradientStatistics([first, first]).measure().gradient_l2) == pytest.approx(
        flat(gradients([first])).norm().item(), rel=1e-6
    )


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_clipping_equals_that_of_torch(max_norm: float, dtype: torch.dtype) -> None:
    ours, theirs = parameters(dtype), parameters(dtype)
    statistics = GradientStatistics(ours)
    norm = statistics.measure().gradient_l2
    assert norm is not None
    clipped = statistics.clip_(max_norm, norm)
    torch.nn.utils.clip_grads_with_norm_(theirs, max_norm, norm)

    for mine, other in zip(gradients(ours), gradients(theirs), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)
    assert clipped.dtype == torch.bool
    assert bool(clipped) == (max_norm < 1.0)


def test_clipping_to_nothing_is_refused() -> None:
    statistics = GradientStatistics(parameters())

    for max_norm in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="a norm above 0"):
            statistics.clip_(max_norm, torch.ones(()))


def test_measuring_never_waits_for_the_device() -> None:
    watched = [nn.Parameter(p.detach().to("meta")) for p in parameters()]
    for parameter in watched:
        parameter.grad = torch.ones_like(parameter)
    statistics = GradientStatistics(watched, l1=True, parameter_norm=True)
    norms = statistics.measure()

    # Tensors without data raise at any attempt to read one: what runs on them reads none.
    assert norms.gradient_l2 is not None
    assert norms.gradient_l2.is_meta
    assert statistics.clip_(1.0, norms.gradient_l2).is_meta


def test_norms_of_sharded_gradients_are_those_of_the_whole(tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", SHARDED, str(rank), str(tmp_path / "rendezvous")],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    try:
        complaints = [rank.communicate(timeout=120)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()

    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(complaints)
