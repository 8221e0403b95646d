"""Averages of weights: closed forms, what they stand for, and that the model is what it was afterwards."""

import copy
from itertools import pairwise
from typing import Any

import pacesetter
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.averaging import (
    CheckpointMerge,
    ExponentialAverage,
    WeightAverage,
    decay_equivalent_weights,
    estimate_decay,
    implied_multipliers,
    recalibrate,
)
from pacesetter.errors import ConfigurationError, StateMismatch
from pacesetter.schedules import Cosine, Linear, Schedule
from torch import Tensor, nn

from tests.support.service import ScriptedTransport, after_end, constant, segment
from tests.support.training import Regression, attach, start


def line(value: float = 0.0) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(layer.weight, value)
    return layer


def weight(model: nn.Module) -> float:
    return float(next(model.parameters()).detach())


def set_weight(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        next(model.parameters()).fill_(value)


# -- weights of a merge --


def test_uniform_weights_are_a_linear_decay() -> None:
    assert list(implied_multipliers([0.25] * 4)) == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_a_linear_decay_over_even_checkpoints_by_hand() -> None:
    # Multipliers of the three stretches after the first checkpoint: 5/6, 1/2, 1/6.
    found = decay_equivalent_weights(Schedule(length=300, body=Linear()), [0, 100, 200, 300])
    assert list(found) == pytest.approx([1 / 6, 1 / 3, 1 / 3, 1 / 6])


def test_checkpoints_need_not_be_even() -> None:
    found = decay_equivalent_weights(Schedule(length=100, body=Linear()), [0, 20, 100])
    assert list(found) == pytest.approx([0.1, 0.5, 0.4])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(gaps=st.lists(st.integers(1, 50), min_size=1, max_size=20), cosine=st.booleans())
def test_weights_are_shares_and_imply_the_decay_they_were_made_from(
    gaps: list[int], cosine: bool
) -> None:
    positions = [sum(gaps[:index]) for index in range(len(gaps) + 1)]
    decay = Schedule(length=positions[-1], body=Cosine() if cosine else Linear())
    weights = decay_equivalent_weights(decay, positions)
    assert min(weights) >= 0.0
    assert sum(weights) == pytest.approx(1.0)
    implied = implied_multipliers(list(weights))
    for index, (low, high) in enumerate(pairwise(positions), 1):
        assert decay.at(high) - 1e-9 <= implied[index] <= decay.at(low) + 1e-9


@pytest.mark.parametrize(
    ("positions", "message"),
    [([], "do not rise"), ([0, 0], "do not rise"), ([100, 200], "where it should begin")],
)
def test_checkpoints_that_stand_for_no_decay_are_refused(
    positions: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        decay_equivalent_weights(Schedule(length=100, body=Linear()), positions)


@pytest.mark.parametrize("body", [Linear(), Cosine()])
def test_a_merge_is_the_decayed_run_exactly_where_gradients_do_not_depend_on_the_weights(
    body: Any,
) -> None:
    """Gradients by step: the run that decays meets the same ones, so both ways end at the same place."""
    gradients = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    decay = Schedule(length=40, body=body)
    trunk = line(1.0)
    merge = CheckpointMerge(trunk, last=41, decay=decay)
    merge.update(0)
    value = decayed = 1.0
    for step, gradient in enumerate(gradients.tolist()):
        value -= 0.1 * gradient
        set_weight(trunk, value)
        merge.update(step + 1)
        middles = [decay.at(step + (part + 0.5) / 64) for part in range(64)]
        decayed -= 0.1 * gradient * sum(middles) / 64
    with merge.applied():
        assert weight(trunk) == pytest.approx(decayed, abs=1e-12)


# -- averages --


def test_the_running_average_begins_as_the_plain_mean() -> None:
    model = line()
    average = ExponentialAverage(model, horizon=4)
    for value in (1.0, 2.0, 6.0, 3.0):
        set_weight(model, value)
        average.update()
    assert float(average.average()["weight"]) == pytest.approx(3.0)
    set_weight(model, 11.0)
    average.update()
    assert float(average.average()["weight"]) == pytest.approx(5.0)


def test_only_the_last_ones_are_merged() -> None:
    model = line()
    merge = CheckpointMerge(model, last=3)
    for value in (100.0, 1.0, 2.0, 6.0):
        set_weight(model, value)
        merge.update()
    assert merge.positions == (2.0, 3.0, 4.0)
    assert float(merge.average()["weight"]) == pytest.approx(3.0)


def test_half_precision_weights_are_averaged_in_single() -> None:
    model = line().to(torch.bfloat16)
    average = ExponentialAverage(model, horizon=1000)
    for value in (1.0, 1.0078125):
        set_weight(model, value)
        average.update()
    found = average.average()["weight"]
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(1.00390625)  # between two bfloat16 numbers


class Normed(nn.Module):
    """A layer behind BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.last = nn.Linear(8, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.last(torch.relu(self.norm(self.first(inputs))))
        return out


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(model: nn.Module, before: dict[str, Tensor]) -> None:
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def averaged_normed() -> tuple[Normed, WeightAverage]:
    model = Normed()
    average = ExponentialAverage(model, horizon=10)
    for _ in range(3):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape))
        average.update()
    return model, average


def test_the_model_is_what_it_was_after_the_average_stood_in() -> None:
    model, average = averaged_normed()
    before = snapshot(model)
    with average.applied() as standing_in:
        assert standing_in is model
        assert not torch.equal(model.first.weight, before["first.weight"])
        recalibrate(model, [torch.randn(16, 4)])
        assert not torch.equal(model.norm.running_mean, before["norm.running_mean"])  # type: ignore[arg-type]
    assert_same(model, before)


def test_the_model_is_what_it_was_after_an_error_inside() -> None:
    model, average = averaged_normed()
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="inside"), average.applied():
        raise RuntimeError("inside")
    assert_same(model, before)


def test_recalibration_gives_the_statistics_of_the_batches_and_keeps_the_mode() -> None:
    model = Normed().eval()
    batches = [torch.randn(32, 4, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    recalibrate(model, [(batch, torch.zeros(32)) for batch in batches])
    with torch.no_grad():
        seen = [model.first(batch) for batch in batches]
    mean = torch.stack([each.mean(0) for each in seen]).mean(0)
    variance = torch.stack([each.var(0) for each in seen]).mean(0)
    assert torch.allclose(model.norm.running_mean, mean, atol=1e-6)  # type: ignore[arg-type]
    assert torch.allclose(model.norm.running_var, variance, atol=1e-5)  # type: ignore[arg-type]
    assert not model.training
    assert model.norm.momentum == 0.1


def test_the_estimate_is_the_validation_loss_of_the_average() -> None:
    model = line()
    average = CheckpointMerge(model, last=2)
    for value in (1.0, 3.0):
        set_weight(model, value)
        average.update()
    assert estimate_decay(average, lambda: (weight(model) - 5.0) ** 2) == pytest.approx(9.0)
    assert weight(model) == 3.0


@pytest.mark.parametrize("kind", ["running", "merge"])
def test_an_average_goes_on_from_its_state_as_if_nothing_had_happened(kind: str) -> None:
    def make(model: nn.Module) -> WeightAverage:
        return ExponentialAverage(model, 3) if kind == "running" else CheckpointMerge(model, 3)

    model = line()
    whole, early = make(model), make(model)
    for value in (1.0, 5.0):
        set_weight(model, value)
        whole.update()
        early.update()
    resumed = make(model)
    resumed.load_state_dict(copy.deepcopy(early.state_dict()))
    for value in (2.0, 7.0):
        set_weight(model, value)
        whole.update()
        resumed.update()
    assert torch.equal(whole.average()["weight"], resumed.average()["weight"])
    other = nn.Sequential(line())
    with pytest.raises(StateMismatch, match="of other weights"):
        make(other).load_state_dict(whole.state_dict())


def test_what_cannot_be_averaged_says_so() -> None:
    with pytest.raises(ConfigurationError, match="no parameter"):
        ExponentialAverage(nn.ReLU(), 10)
    with pytest.raises(ConfigurationError, match=r"a horizon of 0\.5"):
        ExponentialAverage(line(), 0.5)
    with pytest.raises(ConfigurationError, match="the last 0 weights"):
        CheckpointMerge(line(), 0)
    with pytest.raises(ConfigurationError, match="nothing was averaged yet"):
        ExponentialAverage(line(), 10).average()
    merge = CheckpointMerge(line(), 2)
    merge.update(10)
    with pytest.raises(ConfigurationError, match="positions rise"):
        merge.update(10)


# -- in a run --


def test_a_probe_leaves_no_trace_in_an_average_that_is_kept_with_the_model() -> None:
    def averaged(transport: ScriptedTransport) -> Tensor:
        torch.manual_seed(0)
        inner = nn.Linear(4, 1)
        average = CheckpointMerge(inner, last=30)
        run = attach(
            inner,
            torch.optim.SGD(inner.parameters(), lr=0.1),
            transport,
            extras={"average": average},
        )
        for inputs, targets in run.batches(Regression()):
            loss = ((inner(inputs) - targets) ** 2).mean()
            loss.backward()
            run.step(loss)
            if run.on_main_line:
                average.update(run.position)
        run.finish()
        return average.average()["weight"]

    main = segment(1, 0, when="now", length=5)
    probe = segment(2, 1, kind="probe", start=5, length=3, policy=constant(3.0), data="rewind")
    probed = averaged(
        ScriptedTransport(after_end({2: segment(3, 2, start=5, length=15)}), [main, probe])
    )
    assert torch.equal(probed, averaged(ScriptedTransport()))


def test_averages_know_nothing_of_runs() -> None:
    run, model, _ = start(ScriptedTransport(), budget=pacesetter.Steps(5))
    average = ExponentialAverage(model, 10)
    for inputs, targets in run.batches(Regression()):
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        run.step(loss)
        average.update()
    assert average.updates == 5
    run.finish()
