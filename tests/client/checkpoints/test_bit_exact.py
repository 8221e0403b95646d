"""Continuing after a restore gives the same losses as never having left."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.client.checkpoints.trainings import (
    OPTIMIZERS,
    Training,
    make_training,
    with_everything,
)

WHERE = ["memory", "disk"]


def check_exact(make: Callable[[], Training], where: str) -> None:
    undisturbed = make().steps(12)
    training = make()
    store = training.store(where=where)
    losses = training.steps(5)
    rate = training.optimizer.param_groups[0]["lr"]
    store.save("left", {"step": 5})
    scaling = training.scaler.state_dict() if training.scaler else None
    before = {name: (t.data_ptr(), t.dtype, t.clone()) for name, t in training.tensors().items()}
    for _ in range(2):
        for group in training.optimizer.param_groups:
            group["lr"] *= 3  # in place where it is a Tensor
        training.steps(4)
        assert store.restore("left") == {"step": 5}
        for name, tensor in training.tensors().items():
            address, dtype, values = before[name]
            assert (tensor.data_ptr(), tensor.dtype) == (address, dtype), name
            assert torch.equal(tensor, values), name
        assert (training.scaler.state_dict() if training.scaler else None) == scaling
        if isinstance(rate, torch.Tensor):
            assert training.optimizer.param_groups[0]["lr"] is rate
    assert losses + training.steps(7) == undisturbed


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "lbfgs"])
def test_plain_training(optimizer: str, where: str) -> None:
    check_exact(lambda: make_training(optimizer), where)


@pytest.mark.parametrize("where", WHERE)
def test_amp_with_a_growing_scaler_accumulation_and_an_average(where: str) -> None:
    check_exact(with_everything, where)


@pytest.mark.parametrize("where", WHERE)
def test_an_optimizer_with_lists_and_numbers_in_its_state(where: str) -> None:
    undisturbed = make_training("lbfgs").steps(8)
    training = make_training("lbfgs")
    store = training.store(where=where)
    losses = training.steps(3)
    store.save("left", {})
    training.steps(3)
    store.restore("left")
    assert losses + training.steps(5) == undisturbed


@pytest.mark.parametrize("where", WHERE)
def test_state_that_did_not_exist_yet_is_gone_again(where: str) -> None:
    undisturbed = make_training().steps(4)
    training = make_training()
    store = training.store(where=where)
    store.save("start", {})
    training.steps(3)
    store.restore("start")
    assert not training.optimizer.state
    assert training.steps(4) == undisturbed


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floating_types(dtype: torch.dtype) -> None:
    def make() -> Training:
        torch.manual_seed(3)
        model = torch.nn.Linear(4, 2).to(dtype)
        return make_training(model=_Cast(model, dtype))

    check_exact(make, "memory")
    check_exact(make, "disk")


class _Waves(torch.nn.Module):
    phase: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.z = torch.nn.Parameter(torch.randn(3, dtype=torch.complex64))
        self.register_buffer("phase", torch.randn(2, dtype=torch.complex128).conj())


class _Cast(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner, self.dtype = inner, dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.inner(x[:, :4].to(self.dtype)).sum(1, keepdim=True)
        return out


@pytest.mark.parametrize("where", WHERE)
def test_complex_parameters_and_buffers(where: str) -> None:
    model = _Waves()
    training = make_training(model=model)
    store = training.store(where=where)
    expected = model.z.detach().clone(), model.phase.clone()
    store.save("left", {})
    with torch.no_grad():
        model.z.zero_()
    model.phase = model.phase * 2
    store.restore("left")
    assert torch.equal(model.z, expected[0])
    assert torch.equal(model.phase, expected[1])


def test_a_compiled_model_is_the_model_inside() -> None:
    undisturbed = make_training().steps(6)
    training = make_training()
    compiled: Any = torch.compile(training.model, backend="eager")
    training.model = compiled
    store = training.store()
    losses = training.steps(2)
    store.save("left", {})
    training.steps(2)
    store.restore("left")
    assert losses + training.steps(4) == undisturbed


def test_a_restarted_process_gets_the_state_back_from_disk(tmp_path: Path) -> None:
    undisturbed = with_everything().steps(9)
    training = with_everything()
    losses = training.steps(5)
    training.store(where="disk", directory=tmp_path).save("left", {"step": 5, "x": float("nan")})
    again = with_everything()
    again.average.update_parameters(again.model)  # type: ignore[union-attr]
    torch.manual_seed(1)
    store = again.store(where="disk", directory=tmp_path)
    assert store.names() == ("left",)
    position = store.restore("left")
    assert position["step"] == 5
    assert position["x"] != position["x"]
    assert losses + again.steps(4) == undisturbed
