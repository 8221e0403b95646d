"""Weights held at their initial norm, in every way that an optimizer steps."""

import copy
import io
import logging
import math

import pytest
import torch
from pacesetter.errors import ConfigurationError, StateMismatch
from pacesetter.projection import NormProjection
from torch import nn
from torch.optim import SGD, Adam

from tests.client.projection.normalised import descend, perceptron, projected, weight


def norm(parameter: torch.Tensor) -> float:
    return float(parameter.detach().norm())


def stepped(parameter: nn.Parameter, optimizer: torch.optim.Optimizer, scale: float = 1.0) -> None:
    parameter.grad = scale * torch.ones_like(parameter)
    optimizer.step()


def test_p1_a_step_of_the_notes_is_projected_to_norm_five() -> None:
    w = nn.Parameter(torch.tensor([[3.0, 4.0]], dtype=torch.float64))
    optimizer = SGD([w], lr=0.1)
    w.grad = torch.tensor([[0.5, -1.0]], dtype=torch.float64)
    optimizer.step()
    torch.testing.assert_close(w.detach(), torch.tensor([[2.95, 4.1]], dtype=torch.float64))
    assert norm(w) == pytest.approx(5.05099000, abs=1e-8)
    with torch.no_grad():
        w.copy_(torch.tensor([[3.0, 4.0]], dtype=torch.float64))

    NormProjection([("w", w)], optimizer)
    optimizer.step()
    expected = torch.tensor([[2.9202196, 4.05861029]], dtype=torch.float64)
    torch.testing.assert_close(w.detach(), expected, rtol=0.0, atol=5e-8)
    assert norm(w) == pytest.approx(5.0, rel=1e-15)


@pytest.mark.parametrize("every", [1, 3])
def test_the_norm_is_held_after_every_so_many_steps(every: int) -> None:
    w = weight()
    start = norm(w)
    projection = projected(w, every=every)
    held = []
    for _ in range(7):
        stepped(w, projection._optimizer)
        held.append(norm(w) == pytest.approx(start, rel=1e-14))

    assert held == [(step + 1) % every == 0 for step in range(7)]
    assert projection.steps == 7


def test_several_types_and_a_weight_under_two_names_are_projected_once_each() -> None:
    wide, narrow = weight(), nn.Parameter(torch.randn(40, 30).to(torch.bfloat16))
    optimizer = SGD([wide, narrow], lr=0.1)
    projection = NormProjection({"a": wide, "b": narrow, "tied": wide}, optimizer)
    before = projection.norms()
    for _ in range(20):
        wide.grad = torch.randn_like(wide)
        stepped(narrow, optimizer)

    after = projection.norms()
    assert after["a"] == after["tied"] == pytest.approx(before["a"], rel=1e-14)
    assert after["b"] == pytest.approx(before["b"], rel=4e-3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_weight_that_is_not_finite_is_left_for_others_to_see(bad: float) -> None:
    w, well = weight(), weight()
    optimizer = SGD([w, well], lr=0.1)
    NormProjection({"w": w, "well": well}, optimizer)
    start = norm(well)
    well.grad = torch.ones_like(well)
    w.grad = torch.tensor([[0.0, bad, 0.0, 0.0]], dtype=torch.float64)
    kept = w.detach().clone()
    optimizer.step()

    assert torch.equal(w.detach().isfinite(), torch.tensor([[True, False, True, True]]))
    assert w[0, 0] == kept[0, 0]
    assert norm(well) == pytest.approx(start, rel=1e-14)


def test_a_weight_that_a_step_makes_zero_stays_zero_and_comes_back() -> None:
    w = weight()
    start = norm(w)
    optimizer = projected(w, lr=1.0)._optimizer
    w.grad = w.detach().clone()
    optimizer.step()
    assert norm(w) == 0.0

    stepped(w, optimizer)
    assert norm(w) == pytest.approx(start, rel=1e-14)


def test_projection_never_waits_for_the_device() -> None:
    w = weight()
    projection = projected(w)
    shadow = nn.Parameter(w.detach().to("meta"))
    projection._buckets[0].parameters[0] = shadow
    projection._initial = [projection._initial[0].to("meta")]

    # Tensors without data raise at any attempt to read one: what runs on them reads none.
    projection.project()
    assert projection.last_factors[id(shadow)].is_meta


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("every", [1, 2])
def test_a_step_that_the_scaler_skips_is_none(fused: bool, every: int) -> None:
    w = nn.Parameter(torch.randn(4, 4))
    optimizer = SGD([w], lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    projection = NormProjection({"w": w}, optimizer, every=every)

    def train(factor: float) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(scaler.scale((w.square() * factor).sum()))
        scaler.step(optimizer)
        scaler.update()

    train(1.0)
    assert projection.steps == 1
    with torch.no_grad():
        w.mul_(1.5)  # what a projection would undo
    kept = w.detach().clone()
    train(math.inf)

    assert projection.steps == 1
    assert torch.equal(w, kept)
    train(1.0)
    assert projection.steps == 2


def test_of_model_projects_what_is_invariant_and_warns_of_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, batch = perceptron(), torch.randn(8, 6)
    model[1] = nn.Identity()
    optimizer = Adam(model.parameters(), lr=0.01)
    with caplog.at_level(logging.WARNING, "pacesetter"):
        projection = NormProjection.of_model(model, optimizer, lambda: model(batch))

    assert projection.names == (
        "0.weight",
        "3.weight",
    )  # ReLU lets the scale through to the second LayerNorm
    assert not caplog.records

    model = perceptron(activation=nn.Tanh)
    model[1] = nn.Identity()
    optimizer = Adam(model.parameters(), lr=0.01)
    with caplog.at_level(logging.WARNING, "pacesetter"):
        projection = NormProjection.of_model(model, optimizer, lambda: model(batch))
    assert projection.names == ("3.weight",)
    assert "0.weight: no normalisation layer takes its scale away" in caplog.text
    assert "6.weight" not in caplog.text

    with pytest.raises(ConfigurationError, match=r"not scale invariant\. 0\.weight"):
        NormProjection.of_model(model, optimizer, lambda: model(batch), strict=True)


def test_include_and_exclude_have_the_last_word(caplog: pytest.LogCaptureFixture) -> None:
    model, batch = perceptron(activation=nn.Tanh), torch.randn(8, 6)
    model[1] = nn.Identity()
    optimizer = Adam(model.parameters(), lr=0.01)

    def names(include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> tuple[str, ...]:
        made = NormProjection.of_model(
            model, optimizer, lambda: model(batch), include=include, exclude=exclude, strict=True
        )
        made.detach()
        return made.names

    assert names(exclude=("0.*",)) == ("3.weight",)
    assert names(include=("0.weight", "6.weight")) == ("0.weight", "3.weight", "6.weight")
    with pytest.raises(ConfigurationError, match=r"no parameter .*'layers\.\*'"):
        names(include=("layers.*",))
    with pytest.raises(ConfigurationError, match="nothing to project"):
        names(exclude=("0.weight", "3.weight"))


def test_of_two_optimizers_each_projects_its_own() -> None:
    model, batch = perceptron(), torch.randn(8, 6)
    first, second = SGD(model[:3].parameters(), lr=0.1), SGD(model[3:].parameters(), lr=0.1)
    projections = [
        NormProjection.of_model(model, each, lambda: model(batch)) for each in (first, second)
    ]

    assert [each.names for each in projections] == [("0.weight",), ("3.weight",)]


def test_what_cannot_be_projected_is_refused() -> None:
    w, zero, other = weight(), nn.Parameter(torch.zeros(2, 2)), weight()
    optimizer = SGD([w, zero], lr=0.1)

    with pytest.raises(ConfigurationError, match="the norm of z is 0"):
        NormProjection({"w": w, "z": zero}, optimizer)
    with pytest.raises(ConfigurationError, match="other is not in the optimizer"):
        NormProjection({"other": other}, optimizer)
    with pytest.raises(ConfigurationError, match="every is 0"):
        NormProjection({"w": w}, optimizer, every=0)
    with pytest.raises(ConfigurationError, match="nothing to project"):
        NormProjection({}, optimizer)


def test_the_state_brings_the_first_norms_to_a_run_that_resumes() -> None:
    w = weight()
    start = norm(w)
    projection = projected(w, every=2)
    stepped(w, projection._optimizer, 20.0)
    assert norm(w) != pytest.approx(start, rel=0.1)
    file = io.BytesIO()
    torch.save({"weight": w.detach(), "projection": projection.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file)

    resumed = nn.Parameter(saved["weight"])
    again = projected(resumed, every=2)
    again.load_state_dict(saved["projection"])
    stepped(resumed, again._optimizer)
    stepped(w, projection._optimizer)
    assert again.steps == 2
    assert norm(resumed) == pytest.approx(start, rel=1e-14)
    assert torch.equal(resumed, w)


def test_the_state_of_other_weights_is_refused() -> None:
    state = copy.deepcopy(projected(weight()).state_dict())
    state["norms"]["other"] = state["norms"].pop("w")

    with pytest.raises(StateMismatch, match="of other weights"):
        projected(weight()).load_state_dict(state)


def test_detached_it_projects_no_more() -> None:
    w = weight()
    projection = projected(w)
    projection.detach()
    start = norm(w)
    descend(w, projection._optimizer)

    assert norm(w) > start
