"""What a parametrization does to a model and tells its optimizer, number by number."""

import functools
import json
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pacesetter.errors import ConfigurationError
from pacesetter.mup import ParameterClass, Parametrization, attention_scale
from torch import nn

from tests.client.mup.models import ResidualPerceptron, perceptron
from tests.support.byte_decoder import ByteDecoder, next_byte_loss
from tests.support.service import ScriptedTransport
from tests.support.training import attach

WINDOWS = torch.randint(0, 256, (4, 33), generator=torch.Generator().manual_seed(0))


def wide(width: int = 128) -> Parametrization:
    return Parametrization.by_shapes(ByteDecoder, width, base_width=32)


def std(model: nn.Module, name: str) -> float:
    return float(model.get_parameter(name).detach().std())


# -- initialisation and multipliers --


def test_torchs_own_initialisation_is_changed_at_the_readout_and_the_biases_alone() -> None:
    torch.manual_seed(0)
    model = perceptron(512)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    form = Parametrization.by_shapes(perceptron, 512, base_width=32)
    form.apply_(model)
    factors = {
        name: (value.norm() / before[name].norm()).item()
        for name, value in model.state_dict().items()
    }
    # Linear is uniform with 1/sqrt(fan_in), weights and biases: readout and its bias go back to the base's, 4 times.
    assert factors == pytest.approx(
        {
            "0.weight": 1.0,
            "0.bias": 1.0,
            "2.weight": 1.0,
            "2.bias": 4.0,
            "3.weight": 4.0,
            "3.bias": 4.0,
        }
    )


def test_a_constant_initialisation_is_changed_at_the_hidden_matrices_alone() -> None:
    def constant(width: int) -> nn.Module:
        model = nn.Sequential(
            nn.Embedding(64, width), nn.Linear(width, width), nn.Linear(width, 50)
        )
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.02)
        return model

    form = Parametrization.by_shapes(constant, 256, base_width=16)
    model = form.apply_(constant(256))
    assert std(model, "1.weight") == pytest.approx(0.02 / 4.0, rel=0.02)
    assert std(model, "0.weight") == pytest.approx(0.02, rel=0.02)
    assert std(model, "2.weight") == pytest.approx(0.02, rel=0.02)


def test_one_standard_deviation_that_falls_with_the_width_is_changed_at_the_ends_alone() -> None:
    def falling(width: int) -> nn.Module:
        model = nn.Sequential(
            nn.Embedding(64, width), nn.Linear(width, width), nn.Linear(width, 50)
        )
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=width**-0.5)
        return model

    torch.manual_seed(0)
    model = falling(256)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Parametrization.by_shapes(falling, 256, base_width=16).apply_(model)
    factors = {
        name: (value.norm() / before[name].norm()).item()
        for name, value in model.state_dict().items()
    }
    assert factors == pytest.approx(
        {"0.weight": 4.0, "1.weight": 1.0, "1.bias": 4.0, "2.weight": 4.0, "2.bias": 4.0}
    )


def test_an_initialisation_of_neither_kind_is_brought_to_the_bases_measure() -> None:
    def odd(width: int) -> nn.Module:
        model = nn.Sequential(nn.Linear(64, width), nn.Linear(width, width), nn.Linear(width, 64))
        nn.init.normal_(
            model.get_parameter("1.weight"), std=3.0 / width
        )  # falls faster than 1/sqrt(width)
        return model

    form = Parametrization.by_shapes(odd, 256, base_width=64)
    base_rms = form.rule("1.weight").base_rms
    assert base_rms is not None
    assert base_rms == pytest.approx(3.0 / 64, rel=0.05)
    assert std(form.apply_(odd(256)), "1.weight") == pytest.approx(base_rms / 2.0, rel=1e-3)


def test_zeros_and_gains_stay_what_they_are() -> None:
    def zeroed(width: int) -> nn.Module:
        model = ByteDecoder(width)
        nn.init.zeros_(model.readout.weight)
        return model

    form = Parametrization.by_shapes(zeroed, 64, base_width=32)
    model = form.apply_(zeroed(64))
    assert std(model, "readout.weight") == 0.0
    assert bool((model.get_parameter("norm.weight") == 1.0).all())


def test_a_readout_may_start_at_zero_unless_it_is_tied() -> None:
    model = wide(64).apply_(ByteDecoder(64), zero_readout=True)
    assert std(model, "readout.weight") == 0.0
    assert std(model, "token.weight") == pytest.approx(0.5, rel=0.05)
    tied = functools.partial(ByteDecoder, tied=True)
    form = Parametrization.by_shapes(tied, 64, base_width=32)
    with pytest.raises(ConfigurationError, match="tied to an embedding, which cannot be zero"):
        form.apply_(tied(64), zero_readout=True)


def test_making_a_parametrization_leaves_the_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    wide()
    assert torch.equal(torch.rand(1), expected)


def test_the_readout_is_scaled_before_its_bias() -> None:
    torch.manual_seed(0)
    form = Parametrization.by_shapes(perceptron, 32, base_width=8, output_multiplier=3.0)
    model = perceptron(32)
    plain = model.get_submodule("3")
    assert isinstance(plain, nn.Linear)
    inputs, hidden = torch.randn(4, 7), torch.randn(4, 96)
    before = model(inputs)
    expected = hidden @ plain.weight.T * 0.75 + plain.bias
    form.install(model)
    torch.testing.assert_close(plain(hidden), expected)
    assert not torch.allclose(model(inputs), before)


def test_installing_again_or_another_parametrization_replaces_the_multipliers() -> None:
    model = ByteDecoder(64)
    inputs, plain = WINDOWS[:, :-1], model(WINDOWS[:, :-1])
    twice = wide(64).install(wide(64).install(model))
    torch.testing.assert_close(twice(inputs), plain / 2.0)
    torch.testing.assert_close(
        Parametrization.by_shapes(ByteDecoder, 64, base_width=64).install(model)(inputs), plain
    )


def test_at_the_base_width_training_is_that_of_the_plain_model_bit_for_bit() -> None:
    models = []
    for form in (None, Parametrization.by_shapes(ByteDecoder, 32, base_width=32)):
        torch.manual_seed(1)
        model = ByteDecoder(32)
        groups = [{"params": list(model.parameters())}]
        if form is not None:
            groups = form.groups(form.apply_(model), 2**-5, weight_decay=0.0)
        optimizer = torch.optim.AdamW(groups, lr=2**-5, weight_decay=0.0)
        for _ in range(5):
            optimizer.zero_grad()
            next_byte_loss(model, WINDOWS).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        models.append(model)
    for plain, mup in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(plain, mup)


# -- groups --


def test_adamw_gets_the_rates_decays_and_epsilons_of_table_8() -> None:
    model, form = ByteDecoder(128), wide()
    found = {
        group["name"]: (group["lr"], group["lr_scale"], group["weight_decay"], group["eps"])
        for group in form.groups(model, 0.01, weight_decay=0.1, eps=4e-8)
    }
    assert found == {
        "input": (0.01, 1.0, 0.1, 1e-8),
        "vector": (0.01, 1.0, 0.0, 1e-8),
        "hidden": (0.0025, 0.25, 0.4, 1e-8),
        "output": (0.01, 1.0, 0.1, 1e-8),
    }


def test_unscaled_decay_is_the_bases() -> None:
    groups = wide().groups(ByteDecoder(128), 0.01, weight_decay=0.1, decay="unscaled")
    assert {group["name"]: group["weight_decay"] for group in groups} == {
        "input": 0.1,
        "vector": 0.0,
        "hidden": 0.1,
        "output": 0.1,
    }


def test_sgd_gets_the_rates_of_table_8_and_no_epsilon() -> None:
    form = Parametrization.by_shapes(perceptron, 32, base_width=8)
    groups = form.groups(perceptron(32), 0.5, weight_decay=0.2, optimizer="sgd")
    assert {g["name"]: (g["lr"], g["weight_decay"]) for g in groups} == {
        "input": (2.0, 0.05),
        "vector": (2.0, 0.0),
        "hidden": (0.5, 0.2),
        "output": (2.0, 0.05),
        "fixed_vector": (0.5, 0.0),
    }
    assert all("eps" not in group for group in groups)
    torch.optim.SGD(groups, momentum=0.9)


@pytest.mark.parametrize(("optimizer", "first"), [("adamw", "output"), ("sgd", "hidden")])
def test_the_first_group_is_a_matrix_at_the_base_rate(
    optimizer: Literal["adamw", "sgd"], first: str
) -> None:
    model = ByteDecoder(128)
    for name in ("token", "place"):
        model.get_submodule(name).requires_grad_(False)
    group = wide().groups(model, 0.01, weight_decay=0.1, optimizer=optimizer)[0]
    assert (group["name"], group["lr"], group["weight_decay"]) == (first, 0.01, 0.1)


def test_every_tensor_is_in_one_group_and_frozen_ones_in_none() -> None:
    model = ByteDecoder(64)
    model.token.weight.requires_grad_(False)
    groups = wide(64).groups(model, 0.01)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_tensors_of_one_class_with_different_ratios_get_groups_of_their_own() -> None:
    def uneven(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(4, width),
            nn.Linear(width, 2 * width + 8),
            nn.Linear(2 * width + 8, width),
            nn.Linear(width, 2),
        )

    form = Parametrization.by_shapes(uneven, 64, base_width=16)  # 16 -> 64, and 40 -> 136
    scales = {
        g["name"]: g["lr_scale"]
        for g in form.groups(uneven(64), 1.0)
        if g["name"].startswith("hid")
    }
    assert scales == pytest.approx({"hidden": 1 / 4, "hidden_2": 40 / 136})


def test_muon_takes_the_hidden_matrices_and_adamw_the_rest() -> None:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    model, form = ByteDecoder(128), wide()
    matrices, rest = form.muon_groups(model, 0.02, adam_lr=0.01, weight_decay=0.1)
    assert [(g["name"], g["lr"], g["weight_decay"], len(g["params"])) for g in matrices] == [
        ("hidden", 0.02, 0.1, 8)
    ]
    assert [g["name"] for g in rest] == ["input", "output", "vector"]
    adjusted, _ = form.muon_groups(
        model, 0.02, adam_lr=0.01, weight_decay=0.1, adjust="match_rms_adamw"
    )
    assert (adjusted[0]["lr"], adjusted[0]["weight_decay"]) == pytest.approx((0.01, 0.2))
    optimizers = [torch.optim.Muon(matrices), torch.optim.AdamW(rest)]
    next_byte_loss(form.apply_(model), WINDOWS).backward()  # type: ignore[no-untyped-call]
    before = model.get_parameter("blocks.0.qkv.weight").detach().clone()
    for optimizer in optimizers:
        optimizer.step()
    assert not torch.equal(model.get_parameter("blocks.0.qkv.weight"), before)


@given(
    ratio=st.integers(1, 8),
    decay=st.floats(1e-3, 1.0),
    sgd=st.booleans(),
)
def test_scaled_decay_forgets_at_the_bases_speed_at_every_width(
    ratio: int, decay: float, sgd: bool
) -> None:
    form = Parametrization.by_shapes(perceptron, 4 * ratio, base_width=4)
    groups = form.groups(
        perceptron(4 * ratio), 0.1, weight_decay=decay, optimizer="sgd" if sgd else "adamw"
    )
    for group in groups:
        expected = 0.1 * decay if group["params"][0].ndim > 1 else 0.0
        assert group["lr"] * group["weight_decay"] == pytest.approx(expected)


def test_rates_decays_and_words_that_cannot_be_are_refused() -> None:
    model, form = ByteDecoder(64), wide(64)
    with pytest.raises(ConfigurationError, match="base learning rate is 0"):
        form.groups(model, 0.0)
    with pytest.raises(ConfigurationError, match="weight decay is -1"):
        form.groups(model, 0.1, weight_decay=-1.0)
    with pytest.raises(ConfigurationError, match="no rules for 'lion'"):
        form.groups(model, 0.1, optimizer="lion")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="decay is 'half'"):
        form.groups(model, 0.1, decay="half")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="adjust is 'spectral'"):
        form.muon_groups(model, 0.1, adam_lr=0.1, adjust="spectral")


# -- depth --


def deep(depth_ratio: float) -> Parametrization:
    return Parametrization.by_shapes(
        functools.partial(ByteDecoder, depth=8),
        64,
        base_width=32,
        depth_ratio=depth_ratio,
        branches=("blocks.*.project", "blocks.*.down"),
    )


def test_completep_scales_branches_and_the_epsilon_of_their_blocks() -> None:
    form = deep(4.0)
    assert form.outputs["blocks.7.down"] == 0.25
    assert len(form.outputs) == 16
    groups = form.groups(ByteDecoder(64, depth=8), 0.1, eps=8e-8)
    assert {(g["name"], g["lr_scale"], g["eps"]) for g in groups} == {
        ("input", 1.0, 4e-8),
        ("vector", 1.0, 1e-8),
        ("hidden", 0.5, 1e-8),
        ("vector_2", 1.0, 4e-8),
        ("output", 1.0, 4e-8),
    }


def test_sgd_makes_up_for_the_gradients_that_fall_with_the_depth() -> None:
    groups = deep(4.0).groups(ByteDecoder(64, depth=8), 0.1, weight_decay=0.2, optimizer="sgd")
    assert {(g["name"], g["lr_scale"], g["weight_decay"]) for g in groups} == {
        ("input", 2.0, 0.1),
        ("vector", 8.0, 0.0),
        ("hidden", 4.0, 0.05),
        ("vector_2", 2.0, 0.0),
        ("output", 2.0, 0.1),
    }


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_step_of_the_blocks_moves_the_stream_as_far_at_every_depth(
    optimizer: Literal["adamw", "sgd"],
) -> None:
    def moved(depth: int) -> float:
        torch.manual_seed(0)
        make = functools.partial(ResidualPerceptron, depth=depth)
        form = Parametrization.by_shapes(
            make, 64, base_width=64, depth_ratio=depth / 2, branches="blocks.*.2"
        )
        model = make(64).requires_grad_(False)
        model.blocks.requires_grad_(True)
        form.apply_(model)
        inputs, labels = torch.randn(64, 16), torch.randint(0, 10, (64,))
        groups = form.groups(model, 1e-3 if optimizer == "adamw" else 0.5, optimizer=optimizer)
        steps = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer](groups)
        before = model.stream(inputs).detach()
        nn.functional.cross_entropy(model(inputs), labels).backward()  # type: ignore[no-untyped-call]
        steps.step()
        return float((model.stream(inputs).detach() - before).abs().mean())

    # Measured, at depths 2 and 32: AdamW .0163 and .0154, SGD .0299 and .0270, and .0017 where its rates lacked m_L.
    assert 0.8 < moved(32) / moved(2) < 1.1


def test_a_branch_adds_a_quarter_of_what_it_added() -> None:
    model = ByteDecoder(64, depth=8)
    block, x = model.blocks[0], torch.randn(2, 8, 64)
    attended = x + model.get_submodule("blocks.0.project")(torch.ones(2, 8, 64)) * 0.25
    deep(4.0).install(model)
    torch.testing.assert_close(x + block.project(torch.ones(2, 8, 64)), attended)  # type: ignore[operator]


def test_depth_without_branches_or_with_unknown_ones_is_refused() -> None:
    make = functools.partial(ByteDecoder, depth=4)
    with pytest.raises(ConfigurationError, match="depth ratio is 2, and branches are not named"):
        Parametrization.by_shapes(make, 64, base_width=32, depth_ratio=2.0)
    with pytest.raises(ConfigurationError, match=r"nothing in the model is called 'layers.\*'"):
        Parametrization.by_shapes(make, 64, base_width=32, depth_ratio=2.0, branches="layers.*")


def test_a_branch_that_returns_no_tensor_says_what_to_name() -> None:
    class Pair(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.LSTM(width, width)])
            self.head = nn.Linear(width, 2)

    form = Parametrization.by_shapes(Pair, 8, base_width=4, depth_ratio=2.0, branches="blocks.0")
    model = form.install(Pair(8))
    with pytest.raises(ConfigurationError, match="LSTM that returns a tuple; name its last layer"):
        model.get_submodule("blocks.0")(torch.zeros(3, 8))


class Attending(nn.Module):
    """A stream that torch's own attention adds to."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.MultiheadAttention(width, 2, batch_first=True)])
        self.head = nn.Linear(width, 2)


@pytest.mark.parametrize("training", [True, False])
def test_torchs_attention_as_a_branch_has_its_output_scaled_and_not_its_weights(
    training: bool,
) -> None:
    torch.manual_seed(0)
    model, x = Attending(8).train(training), torch.randn(3, 5, 8)
    form = Parametrization.by_shapes(
        Attending, 8, base_width=8, depth_ratio=4.0, branches="blocks.0"
    )
    with torch.set_grad_enabled(training):
        added, weights = model.blocks[0](x, x, x)
        form.install(model)
        scaled, same = model.blocks[0](x, x, x)
        alone, none = model.blocks[0](x, x, x, need_weights=False)
    torch.testing.assert_close(scaled, 0.25 * added)
    torch.testing.assert_close(alone, 0.25 * added)
    torch.testing.assert_close(same, weights)
    assert none is None


@pytest.mark.parametrize("depth_ratio", [1.0, 4.0])
def test_the_last_layer_of_torchs_attention_is_never_called_and_refused(depth_ratio: float) -> None:
    with pytest.raises(
        ConfigurationError, match=r"'blocks.0.out_proj' .* never calls it.* name .* 'blocks.0'"
    ):
        Parametrization.by_shapes(
            Attending, 8, base_width=4, depth_ratio=depth_ratio, branches="blocks.*.out_proj"
        )


# -- what is kept and where it is used --


def test_a_document_brings_it_back_through_json() -> None:
    form = deep(4.0)
    assert Parametrization.from_document(json.loads(json.dumps(form.document()))) == form
    with pytest.raises(ConfigurationError, match="no document of a parametrization"):
        Parametrization.from_document({"rules": [{"name": "a"}]})


def test_another_model_or_width_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"2.bias.* only in one of the two"):
        wide(64).groups(perceptron(64), 0.1)
    with pytest.raises(
        ConfigurationError, match=r"token.weight has shape \(256, 32\), and \(256, 64\)"
    ):
        wide(64).apply_(ByteDecoder(32))


def test_a_map_does_not_know_how_the_base_is_initialised() -> None:
    classes = {
        "*": "hidden",
        "*norm*": "vector",
        "token.*": "input",
        "place.*": "input",
        "readout.*": "output",
    }
    form = Parametrization.by_map(ByteDecoder(64), classes, width_ratio=2.0)
    with pytest.raises(ConfigurationError, match="initialise the model yourself"):
        form.apply_(ByteDecoder(64))
    assert form.rule("blocks.0.up.weight").std_scale == pytest.approx(2**-0.5)
    assert form.rule("blocks.0.up.weight").kind is ParameterClass.HIDDEN


def test_attention_falls_from_the_square_root_at_the_base_to_the_inverse() -> None:
    assert attention_scale(16, 16) == 0.25
    assert attention_scale(64, 16) == pytest.approx(4.0 / 64.0)
    with pytest.raises(ConfigurationError, match="sizes of 1 or more"):
        attention_scale(0, 16)


def test_an_attached_run_keeps_the_ratios_and_the_names() -> None:
    model, form = ByteDecoder(128), wide()
    optimizer = torch.optim.AdamW(form.groups(form.apply_(model), 0.01, weight_decay=0.1))
    transport = ScriptedTransport()
    run = attach(model, optimizer, transport)
    assert run.learning_rates() == pytest.approx(
        {
            "optimizer/input": 0.01,
            "optimizer/vector": 0.01,
            "optimizer/hidden": 0.0025,
            "optimizer/output": 0.01,
        }
    )
    run.step(next_byte_loss(model, WINDOWS))
    assert optimizer.param_groups[3]["lr"] / optimizer.param_groups[0]["lr"] == 0.25
    run.finish()
