"""What tensors are, from the shapes of two models or from a map."""

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pacesetter.errors import ConfigurationError
from pacesetter.mup import ParameterClass, Parametrization, Rule
from torch import Tensor, nn

from tests.client.mup.models import perceptron
from tests.support.byte_decoder import ByteDecoder

INPUT, HIDDEN, OUTPUT = ParameterClass.INPUT, ParameterClass.HIDDEN, ParameterClass.OUTPUT
VECTOR, FIXED = ParameterClass.VECTOR, ParameterClass.FIXED


def kinds(form: Parametrization) -> dict[str, ParameterClass]:
    return {rule.name: rule.kind for rule in form.rules}


def ratios(rule: Rule) -> tuple[float, float]:
    return rule.fan_in, rule.fan_out


def test_a_perceptron_has_an_input_a_hidden_matrix_and_a_readout() -> None:
    form = Parametrization.by_shapes(perceptron, 32, base_width=8)
    assert kinds(form) == {
        "0.weight": INPUT,
        "0.bias": VECTOR,
        "2.weight": HIDDEN,
        "2.bias": VECTOR,
        "3.weight": OUTPUT,
        "3.bias": FIXED,
    }
    assert ratios(form.rule("2.weight")) == (4.0, 4.0)
    assert ratios(form.rule("3.weight")) == (4.0, 1.0)
    assert ratios(form.rule("0.weight")) == (1.0, 4.0)
    assert form.inputs == {"3": 0.25}


def test_at_the_base_width_the_classes_are_the_same_and_all_ratios_are_one() -> None:
    base, wide = (Parametrization.by_shapes(perceptron, w, base_width=8) for w in (8, 32))
    assert kinds(base) == kinds(wide)
    assert {ratios(rule) for rule in base.rules} == {(1.0, 1.0)}
    assert base.inputs == {"3": 1.0}


def test_a_decoder_has_its_embeddings_matrices_gains_and_readout_told_apart() -> None:
    found = kinds(Parametrization.by_shapes(ByteDecoder, 64, base_width=32))
    assert found["token.weight"] == found["place.weight"] == INPUT
    assert {found[f"blocks.1.{name}.weight"] for name in ("qkv", "project", "up", "down")} == {
        HIDDEN
    }
    assert found["blocks.0.norm_attention.weight"] == found["norm.weight"] == VECTOR
    assert found["readout.weight"] == OUTPUT


def test_a_tied_readout_is_an_embedding_whose_use_as_a_readout_is_scaled() -> None:
    tied = functools.partial(ByteDecoder, tied=True)
    form = Parametrization.by_shapes(tied, 128, base_width=32)
    assert form.rule("token.weight").kind is INPUT
    assert "readout.weight" not in kinds(form)
    assert form.inputs == {"readout": 0.25}


def test_kernels_and_transposed_kernels_read_from_the_right_dimension() -> None:
    def convolutions(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, width, 3),
            nn.Conv2d(width, 2 * width, 3),
            nn.ConvTranspose2d(2 * width, width, 3),
            nn.ConvTranspose2d(width, 3, 3),
        )

    form = Parametrization.by_shapes(convolutions, 16, base_width=8)
    found = kinds(form)
    assert [found[f"{n}.weight"] for n in range(4)] == [INPUT, HIDDEN, HIDDEN, OUTPUT]
    assert form.inputs == {"3": 0.5}


def test_dimensions_may_grow_by_different_ratios() -> None:
    def uneven(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(4, width), nn.Linear(width, width // 2 + 8), nn.Linear(width // 2 + 8, 2)
        )

    form = Parametrization.by_shapes(uneven, 64, base_width=16)  # 16 -> 64, and 16 -> 40
    assert ratios(form.rule("1.weight")) == (4.0, 2.5)
    assert form.rule("1.weight").std_scale == 0.5
    assert form.inputs == {"2": 0.4}


class WithTable(nn.Module):
    """Adds a bare parameter to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(5, width))
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(x + self.table)
        return out


def test_a_bare_table_is_asked_about_and_may_be_declared() -> None:
    with pytest.raises(
        ConfigurationError, match=r"table has shape .* classes=\{'table': 'input'\}"
    ):
        Parametrization.by_shapes(WithTable, 16, base_width=8)
    form = Parametrization.by_shapes(WithTable, 16, base_width=8, classes={"tab*": "input"})
    assert (form.rule("table").kind, *ratios(form.rule("table"))) == (INPUT, 1.0, 2.0)


class WithBareReadout(nn.Module):
    """Multiplies by a parameter that no module of its own holds: what the model reads is not what that multiplies."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(8, width)
        self.out = nn.Parameter(torch.zeros(5, width))


def test_a_bare_readout_is_refused_for_what_its_module_reads_is_not_what_it_multiplies() -> None:
    refusal = r"0.out is 'output'.* a WithBareReadout, .*nn.Linear.* form.readout_multiplier"
    classes = {"0.out": "output"}
    with pytest.raises(ConfigurationError, match=refusal):
        Parametrization.by_shapes(
            lambda w: nn.Sequential(WithBareReadout(w)), 16, base_width=8, classes=classes
        )
    with pytest.raises(ConfigurationError, match=refusal):
        Parametrization.by_map(
            nn.Sequential(WithBareReadout(16)),
            {"0.first.weight": "input", "0.first.bias": "vector", **classes},
            width_ratio=2.0,
        )


def test_a_tied_weight_that_is_declared_a_readout_is_refused_for_an_embedding_reads_indices() -> (
    None
):
    tied = functools.partial(ByteDecoder, tied=True)
    with pytest.raises(ConfigurationError, match=r"Embedding, .* with an embedding is 'input'"):
        Parametrization.by_shapes(tied, 64, base_width=32, classes={"token.*": "output"})


def test_of_attention_and_recurrent_layers_only_what_multiplies_their_input_reads_out() -> None:
    def recurrent(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(4, width), nn.GRU(width, 3, bidirectional=True))

    def attention(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(4, width), nn.MultiheadAttention(6, 2, kdim=width), nn.Linear(width, 2)
        )

    def projecting(width: int) -> nn.Module:
        return nn.Sequential(nn.LSTM(4, width, proj_size=3), nn.Linear(width, 2))

    assert Parametrization.by_shapes(recurrent, 16, base_width=8).inputs == {"1": 0.5}
    with pytest.raises(ConfigurationError, match=r"1.k_proj_weight is 'output'"):
        Parametrization.by_shapes(attention, 16, base_width=8)
    with pytest.raises(ConfigurationError, match=r"0.weight_hr_l0 is 'output'"):
        Parametrization.by_shapes(projecting, 16, base_width=8)


def test_a_declared_class_that_contradicts_the_shape_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"has 1 dimensions that grow .* 'hidden' has 2"):
        Parametrization.by_shapes(WithTable, 16, base_width=8, classes={"table": "hidden"})
    with pytest.raises(ConfigurationError, match="expected one of"):
        Parametrization.by_shapes(WithTable, 16, base_width=8, classes={"table": "middle"})
    with pytest.raises(ConfigurationError, match="nothing in the model is called 'tabel'"):
        Parametrization.by_shapes(WithTable, 16, base_width=8, classes={"tabel": "input"})


def test_models_that_do_not_grow_have_no_readout_or_change_their_parts_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="must use its argument"):
        Parametrization.by_shapes(lambda _: perceptron(8), 16, base_width=8)
    with pytest.raises(ConfigurationError, match="no readout was found"):
        Parametrization.by_shapes(lambda w: nn.Linear(w, w), 16, base_width=8)
    with pytest.raises(ConfigurationError, match=r"other parameters: .*nothing but the width"):
        Parametrization.by_shapes(
            lambda w: nn.Sequential(*(nn.Linear(w, w) for _ in range(w // 8))), 16, base_width=8
        )
    with pytest.raises(ConfigurationError, match="base width is 0"):
        Parametrization.by_shapes(perceptron, 16, base_width=0)


def test_a_map_gives_what_shapes_give() -> None:
    classes = {
        "*": HIDDEN,
        "*norm*": VECTOR,
        "token.weight": INPUT,
        "place.weight": INPUT,
        "readout.weight": OUTPUT,
    }
    by_map = Parametrization.by_map(ByteDecoder(128), classes, width_ratio=4.0)
    by_shapes = Parametrization.by_shapes(ByteDecoder, 128, base_width=32)
    assert kinds(by_map) == kinds(by_shapes)
    assert [ratios(rule) for rule in by_map.rules] == [ratios(rule) for rule in by_shapes.rules]
    assert by_map.inputs == by_shapes.inputs


def test_a_map_with_gaps_or_contradictions_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"place.weight.* have no class"):
        Parametrization.by_map(
            ByteDecoder(64), {"token.*": INPUT, "blocks.*": HIDDEN}, width_ratio=2.0
        )
    with pytest.raises(
        ConfigurationError, match=r"blocks.0.norm_attention.weight of shape \(64,\)"
    ):
        Parametrization.by_map(ByteDecoder(64), {"*": HIDDEN}, width_ratio=2.0)


@given(base=st.integers(1, 12), ratio=st.integers(1, 6), inner=st.integers(1, 4))
def test_any_ratio_is_found_again(base: int, ratio: int, inner: int) -> None:
    def make(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(3, width), nn.Linear(width, inner * width), nn.Linear(inner * width, 2)
        )

    form = Parametrization.by_shapes(make, base * ratio, base_width=base)
    assert ratios(form.rule("1.weight")) == (ratio, ratio)
    assert form.inputs["2"] == pytest.approx(1.0 / ratio)
    assert form.width_ratio == ratio
