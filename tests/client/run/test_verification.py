"""The learning rate that a step really applied, with the real optimizers of torch."""

from typing import Any

import pytest
import torch
from pacesetter.run.verification import Verifier
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim import SGD, AdamW
from torch.utils._python_dispatch import TorchDispatchMode

from tests.client.run.verified import LR, OPTIMIZERS, give_gradients, observe, weights


class StaleStep(AdamW):
    """What a captured graph does: the learning rate of the first step is baked in, whatever the group says later."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group.setdefault("captured_lr", group["lr"])
        told = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] = group["captured_lr"]
        result = super().step(closure)
        for group, lr in zip(self.param_groups, told, strict=True):
            group["lr"] = lr
        return result


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_applied_rate_is_verified(name: str, dtype: torch.dtype) -> None:
    parameters = weights(dtype)
    seen = observe(OPTIMIZERS[name](parameters), parameters, LR)

    assert seen.status == "verified"
    assert seen.lr_applied == pytest.approx(LR, rel=1e-6)
    assert seen.rounding_bound is not None
    assert seen.rounding_bound < 1e-3


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("announced", [1.02 * LR, 0.98 * LR, 10 * LR])
def test_another_rate_than_announced_is_a_mismatch(name: str, announced: float) -> None:
    parameters = weights()
    seen = observe(OPTIMIZERS[name](parameters), parameters, announced)

    assert seen.status == "mismatch"
    assert seen.lr_applied == pytest.approx(LR, rel=1e-6)


@pytest.mark.parametrize("name", ["sgd", "sgd maximize", "adamw", "adam"])
def test_first_step_of_all_is_verified(name: str) -> None:
    parameters = weights()

    assert observe(OPTIMIZERS[name](parameters), parameters, LR, steps=1).status == "verified"


def test_late_step_has_a_sharper_bound_than_the_first() -> None:
    parameters = weights()
    optimizer = AdamW(parameters, LR)
    first = observe(optimizer, parameters, LR, steps=1).rounding_bound
    late = observe(optimizer, parameters, LR, steps=300).rounding_bound

    assert first is not None
    assert late is not None
    assert late < 1e-5 < first < 1e-3


@pytest.mark.parametrize("name", ["sgd", "sgd momentum", "sgd nesterov"])
def test_bfloat16_weights_are_verified_where_they_are_small(name: str) -> None:
    small, large = weights(torch.bfloat16, scale=0.002), weights(torch.bfloat16, scale=2.0)

    assert observe(OPTIMIZERS[name](small), small, LR).lr_applied == pytest.approx(LR, rel=0.01)
    assert observe(SGD(small, LR), small, LR).status == "verified"
    assert observe(SGD(small, LR), small, 1.1 * LR).status == "mismatch"
    assert observe(SGD(large, LR), large, LR).status == "unverifiable"


@pytest.mark.parametrize("name", ["adam", "adamw", "adamw fused"])
def test_bfloat16_state_of_adam_says_too_little_to_verify_but_shows_a_gross_mismatch(
    name: str,
) -> None:
    parameters = weights(torch.bfloat16, scale=0.002)
    optimizer = OPTIMIZERS[name](parameters)
    seen = observe(optimizer, parameters, LR)

    assert seen.status == "unverifiable"
    assert seen.lr_applied == pytest.approx(LR, rel=0.01)
    assert observe(optimizer, parameters, 2 * LR).status == "mismatch"


def test_large_weights_hide_a_small_rate() -> None:
    parameters = weights(scale=1e4)
    seen = observe(SGD(parameters, 1e-9), parameters, 1e-9)

    assert seen.status == "unverifiable"
    assert seen.rounding_bound is None or seen.rounding_bound > 0.01


def test_no_false_alarm_over_many_seeds_rates_and_types() -> None:
    for seed in range(20):
        for dtype in (torch.float32, torch.bfloat16):
            lr = 10.0 ** -(seed % 7)
            torch.manual_seed(seed)
            parameters = [nn.Parameter((0.05 * torch.randn(40, 40)).to(dtype))]
            for make in (SGD, AdamW):
                seen = observe(make(parameters, lr=lr), parameters, lr)

                assert seen.status in ("verified", "unverifiable"), (seed, dtype, make, seen)


# --- stale learning rates ---


def test_stale_rate_in_a_captured_step_is_caught() -> None:
    parameters = weights()
    optimizer = StaleStep(parameters, LR)

    assert observe(optimizer, parameters, LR).status == "verified"
    optimizer.param_groups[0]["lr"] = 0.5 * LR
    seen = observe(optimizer, parameters, 0.5 * LR)
    assert optimizer.param_groups[0]["lr"] == 0.5 * LR
    assert seen.status == "mismatch"
    assert seen.lr_applied == pytest.approx(LR, rel=1e-6)


def test_traced_step_with_a_baked_in_rate_is_caught_though_no_hook_fires() -> None:
    (weight, _) = weights()
    optimizer = SGD([weight], LR, momentum=0.9)
    give_gradients([weight])
    optimizer.step()
    buffer = optimizer.state[weight]["momentum_buffer"]

    def body(w: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        moved = b * 0.9 + g
        return w - optimizer.param_groups[0]["lr"] * moved, moved

    assert weight.grad is not None
    graph = make_fx(body)(weight.detach(), buffer, weight.grad)
    optimizer.param_groups[0]["lr"] = 2 * LR
    verifier = Verifier(optimizer)
    verifier.arm()
    with torch.no_grad():
        for target, value in zip((weight, buffer), graph(weight, buffer, weight.grad), strict=True):
            target.copy_(value)
    seen = verifier.collect().resolve(2 * LR)

    assert seen.status == "mismatch"
    assert seen.lr_applied == pytest.approx(LR, rel=1e-6)


def test_compiled_step_that_follows_the_rate_is_verified() -> None:
    parameters = weights()
    optimizer = AdamW(parameters, torch.tensor(LR))
    give_gradients(parameters)
    compiled = torch.compile(optimizer.step, backend="eager")
    compiled()
    rate = optimizer.param_groups[0]["lr"]
    assert isinstance(rate, Tensor)
    rate.fill_(3 * LR)
    verifier = Verifier(optimizer)
    verifier.arm()
    compiled()
    pending = verifier.collect()

    assert pending.resolve(3 * LR).status == "verified"
    assert pending.resolve(LR).status == "mismatch"


def test_mostly_dead_tensor_is_verified_by_the_elements_that_moved() -> None:
    (embedding, _) = weights(shape=(500, 20))
    optimizer = SGD([embedding], LR)
    verifier = Verifier(optimizer)
    embedding.grad = torch.zeros_like(embedding)
    embedding.grad[400:420] = 1.0
    verifier.arm()
    optimizer.step()

    assert verifier.collect().resolve(LR).status == "verified"


def test_zero_initialised_weights_are_verified() -> None:
    parameters = [nn.Parameter(torch.zeros(64, 64))]

    assert observe(AdamW(parameters, LR), parameters, LR, steps=1).status == "verified"


@pytest.mark.parametrize(
    "values",
    [
        0.02 * torch.ones(50, 40, dtype=torch.complex64),
        0.02 * torch.ones(50, 40).t(),
        (0.02 * torch.ones(4, 8, 6, 6)).to(memory_format=torch.channels_last),
    ],
    ids=["complex", "transposed", "channels last"],
)
def test_weights_in_other_layouts_are_verified(values: Tensor) -> None:
    torch.manual_seed(0)
    for make in (SGD, AdamW):
        parameters = [nn.Parameter(values * torch.randn_like(values))]

        assert observe(make(parameters, lr=LR), parameters, LR).status == "verified"


@pytest.mark.parametrize("name", ["adamw", "sgd decay", "sgd nesterov", "sgd momentum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_all_round_alike_are_no_false_alarm(name: str, dtype: torch.dtype) -> None:
    # Equal gradients round alike, so their errors do not average out; the bound must not assume that they do.
    for value in (0.0, 1e-5, 0.01):
        for gradient in (0.37, 0.71, 1.13, 2.9):
            parameter = nn.Parameter(torch.full((50, 50), value, dtype=dtype))
            optimizer = OPTIMIZERS[name]([parameter])
            verifier = Verifier(optimizer)
            for _ in range(5):
                parameter.grad = torch.full_like(parameter, gradient)
                verifier.arm()
                optimizer.step()
                assert verifier.collect().resolve(LR).status in ("verified", "unverifiable")


def test_matrices_are_preferred_to_norm_weights_that_sit_at_one() -> None:
    torch.manual_seed(0)
    norms = [nn.Parameter(torch.ones(1000)) for _ in range(4)]
    matrix = nn.Parameter(1e-3 * torch.randn(50, 50))
    gains_only = observe(SGD(norms, 1e-6), norms, 1e-6)
    parameters = [*norms, matrix]
    with_matrix = observe(SGD(parameters, 1e-6), parameters, 1e-6)

    assert gains_only.status == "unverifiable"
    assert with_matrix.status == "verified"


def test_hooks_are_gone_after_collect() -> None:
    parameters = weights()
    optimizer = SGD(parameters, LR)
    hooks = optimizer._optimizer_step_pre_hooks
    verifier = Verifier(optimizer)
    give_gradients(parameters)
    verifier.arm()
    verifier.arm()
    assert len(hooks) == 1
    verifier.collect()
    assert len(hooks) == 0


class NoReading(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses to read a number from a tensor (``item``, ``float``, ``if``), which is what waits for a device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "this waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_verifying_never_waits_for_the_device(name: str) -> None:
    parameters = weights()
    optimizer = OPTIMIZERS[name](parameters)
    verifier = Verifier(optimizer)
    give_gradients(parameters)
    with NoReading():  # type: ignore[no-untyped-call]
        verifier.arm()
    optimizer.step()
    with NoReading():  # type: ignore[no-untyped-call]
        pending = verifier.collect()

    assert pending.resolve(LR).status == "verified"


def test_watched_step_equals_an_unwatched_one() -> None:
    plain, watched = weights(), weights()
    for parameters in (plain, watched):
        optimizer = AdamW(parameters, LR)
        verifier = Verifier(optimizer)
        torch.manual_seed(7)
        for _ in range(3):
            give_gradients(parameters)
            if parameters is watched:
                verifier.arm()
            optimizer.step()
            verifier.collect()

    for one, other in zip(plain, watched, strict=True):
        assert torch.equal(one, other)
