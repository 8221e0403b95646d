"""The normalisation check on layers of which it is known whether their scale matters."""

import pytest
import torch
from pacesetter.errors import ConfigurationError
from pacesetter.projection import LayerScaling, scale_invariance
from torch import Tensor, nn

from tests.client.projection.normalised import linear, perceptron

BATCH = torch.randn(16, 6, generator=torch.Generator().manual_seed(1))


class TiedLanguageModel(nn.Module):
    """A transformer layer whose output layer shares the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(11, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, norm_first=True, batch_first=True)
        self.norm = nn.LayerNorm((5, 16))  # whose scale has two dimensions
        self.head = nn.Linear(16, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.layer(self.embedding(tokens))))
        return logits


def check(model: nn.Module, batch: Tensor = BATCH) -> dict[str, LayerScaling]:
    return {each.name: each for each in scale_invariance(model, lambda: model(batch))}


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm, nn.BatchNorm1d])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_weights_before_a_normalisation_are_invariant_and_the_output_layer_is_not(
    norm: type[nn.Module], activation: type[nn.Module]
) -> None:
    found = check(perceptron(norm, activation))

    assert [each.invariant for each in found.values()] == [True, True, False]
    assert all(each.change < 1e-3 for each in list(found.values())[:2])
    assert found["6.weight"].is_output
    assert found["6.weight"].change > 0.3


def test_a_bias_before_layer_norm_breaks_it_also_where_it_starts_at_zero() -> None:
    model = perceptron(bias=True)
    for index in (0, 3):
        nn.init.zeros_(linear(model, index).bias)
    found = check(model)

    for name in ("0.weight", "3.weight"):
        assert not found[name].invariant
        assert "make the layer with bias=False" in found[name].reason


def test_a_bias_that_batch_norm_subtracts_does_no_harm() -> None:
    found = check(perceptron(nn.BatchNorm1d, bias=True))

    assert [each.invariant for each in found.values()] == [True, True, False]


def test_without_any_normalisation_nothing_is_invariant() -> None:
    found = check(perceptron(nn.Identity, nn.Tanh))

    assert not any(each.invariant for each in found.values())
    assert "put LayerNorm, RMSNorm or BatchNorm" in found["0.weight"].reason


def test_a_layer_of_little_influence_is_not_taken_for_an_invariant_one() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.trunk, self.branch = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
            self.output = nn.Linear(6, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            trunk = nn.functional.layer_norm(self.trunk(inputs), (6,))
            out: Tensor = self.output(trunk + 1e-3 * self.branch(inputs).tanh())
            return out

    found = check(Gated())

    assert found["trunk.weight"].invariant
    assert not found["branch.weight"].invariant


def test_weights_that_are_zero_or_do_not_reach_the_output_prove_nothing() -> None:
    model = perceptron()
    nn.init.zeros_(linear(model, 3).weight)
    found = check(model)

    assert "it is zero" in found["3.weight"].reason
    assert "does not depend on it" in found["0.weight"].reason
    assert not found["0.weight"].invariant


def test_a_normalisation_with_a_large_epsilon_is_none() -> None:
    model = perceptron(activation=nn.Tanh)
    model[1] = nn.LayerNorm(16, eps=1.0)

    assert [each.invariant for each in check(model).values()] == [False, True, False]


def test_embeddings_norms_and_frozen_weights_are_no_candidates() -> None:
    model = TiedLanguageModel()
    model.layer.linear1.weight.requires_grad_(False)
    found = check(model, torch.randint(11, (3, 5), generator=torch.Generator().manual_seed(0)))

    # The residual stream adds them up, and none alone is normalised.
    assert list(found) == [
        "layer.self_attn.in_proj_weight",
        "layer.self_attn.out_proj.weight",
        "layer.linear2.weight",
    ]
    assert not any(each.invariant or each.is_output for each in found.values())


def test_the_model_is_left_as_it_was() -> None:
    model = perceptron(nn.BatchNorm1d, bias=True)
    model.append(nn.Dropout(0.5))
    model.eval()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    check(model)

    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_outputs_in_dicts_and_lists_are_found() -> None:
    model = perceptron()
    found = scale_invariance(model, lambda: {"logits": [model(BATCH)], "labels": BATCH.long()})

    assert [each.invariant for each in found] == [True, True, False]


def test_an_output_that_tells_nothing_is_refused_and_the_model_put_back() -> None:
    model = perceptron()
    kept = linear(model, 0).weight.detach().clone()

    with pytest.raises(ConfigurationError, match=r"forward\(\) returned 0 numbers"):
        scale_invariance(model, lambda: "nothing")
    with pytest.raises(ConfigurationError, match="not all of them finite"):
        scale_invariance(model, lambda: model(BATCH * float("nan")))
    batches = iter(torch.randn(99, 16, 6))
    with pytest.raises(ConfigurationError, match="one fixed batch"):
        scale_invariance(model, lambda: model(next(batches)))
    assert torch.equal(linear(model, 0).weight, kept)
    assert model.training


def test_a_forward_pass_that_fails_midway_leaves_the_model_as_it_was() -> None:
    model = perceptron()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    calls = iter(range(4))

    def forward() -> Tensor:
        next(calls)
        out: Tensor = model(BATCH)
        return out

    with pytest.raises(StopIteration):
        scale_invariance(model, forward)
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
