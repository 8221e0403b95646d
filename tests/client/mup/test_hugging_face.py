"""muP on Hugging Face models that are made from a configuration: they know nothing of it."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pacesetter.mup import Parametrization, attention_scale, coordinate_check
from pacesetter.mup.checking import DRIFT
from torch import Tensor, nn
from torch.nn import functional

from demo.text import Windows, load_corpus

transformers = pytest.importorskip("transformers")

INPUTS = torch.randint(0, 256, (4, 32), generator=torch.Generator().manual_seed(0))
LAYERS = 2


def gpt2(width: int) -> nn.Module:
    """Return a GPT-2: tied readout, fused and transposed matrices, one standard deviation for all of them."""
    config = transformers.GPT2Config(
        n_embd=width,
        n_layer=LAYERS,
        n_head=width // 16,
        vocab_size=256,
        n_positions=64,
        bos_token_id=None,
        eos_token_id=None,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=0.125,
    )
    model: nn.Module = transformers.GPT2LMHeadModel(config)
    return model


def llama(width: int, heads: int | None = None) -> nn.Module:
    """Return a Llama: untied readout, grouped queries, gated perceptrons."""
    config = transformers.LlamaConfig(
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=LAYERS,
        num_attention_heads=heads or width // 16,
        num_key_value_heads=heads or width // 32,
        vocab_size=256,
        max_position_embeddings=64,
        bos_token_id=None,
        eos_token_id=None,
        initializer_range=0.125,
    )
    model: nn.Module = transformers.LlamaForCausalLM(config)
    return model


def loss(model: nn.Module, windows: Tensor) -> Tensor:
    logits = model(input_ids=windows[:, :-1]).logits
    return functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


def counts(form: Parametrization, model: nn.Module) -> dict[str, int]:
    return {group["name"]: len(group["params"]) for group in form.groups(model, 0.01)}


def std(model: nn.Module, name: str) -> float:
    return float(model.get_parameter(name).detach().std())


def test_gpt2_has_its_transposed_matrices_and_its_tied_readout_told() -> None:
    form = Parametrization.by_shapes(gpt2, 128, base_width=32)
    model = form.apply_(gpt2(128))
    assert counts(form, model) == {"input": 2, "vector": 2 + LAYERS * 8, "hidden": LAYERS * 4}
    assert form.inputs == {"lm_head": 0.25}
    # GPT-2 initialises everything alike, and what ends a branch by the root of twice the layers less.
    assert std(model, "transformer.wte.weight") == pytest.approx(0.125, rel=0.03)
    assert std(model, "transformer.h.0.mlp.c_fc.weight") == pytest.approx(0.0625, rel=0.03)
    assert std(model, "transformer.h.0.mlp.c_proj.weight") == pytest.approx(0.03125, rel=0.03)


def test_llama_has_its_grouped_queries_and_its_own_readout_told() -> None:
    form = Parametrization.by_shapes(llama, 128, base_width=32)
    model = form.apply_(llama(128))
    assert counts(form, model) == {
        "input": 1,
        "hidden": LAYERS * 7,
        "vector": 1 + LAYERS * 2,
        "output": 1,
    }
    assert form.rule("model.layers.0.self_attn.k_proj.weight").fan_out == 4.0
    assert std(model, "lm_head.weight") == pytest.approx(0.125, rel=0.03)
    assert std(model, "model.layers.1.mlp.down_proj.weight") == pytest.approx(0.0625, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "zero_readout"), [(gpt2, False), (llama, True)])
def test_coordinates_keep_their_size_with_mup_and_grow_without(
    make: Callable[[int], nn.Module], zero_readout: bool
) -> None:
    windows = Windows(load_corpus().train, 16, 64, seed=0)
    settings: dict[str, Any] = {
        "loss": loss,
        "batches": [windows.batch_at(step) for step in range(5)],
        "lr": 2.0**-6,
        "seeds": 2,
        "zero_readout": zero_readout,
    }
    found = coordinate_check(make, (64, 128, 256), **settings)
    plain = coordinate_check(make, (64, 128, 256), form="standard", **settings)
    assert "lm_head" in found.sizes
    # GPT-2's readout cannot start at zero; measured: .23 with muP, 2.2 without.
    assert found.passed if zero_readout else found.drift < DRIFT, f"{found}"
    assert plain.drift > DRIFT


def test_a_copied_and_a_saved_model_compute_the_same(tmp_path: Path) -> None:
    form = Parametrization.by_shapes(
        llama,
        64,
        base_width=32,
        depth_ratio=2.0,
        branches=("model.layers.*.self_attn.o_proj", "model.layers.*.mlp.down_proj"),
    )
    model = form.apply_(llama(64)).eval()
    inputs = INPUTS
    expected = model(input_ids=inputs).logits
    assert torch.equal(copy.deepcopy(model)(input_ids=inputs).logits, expected)
    model.save_pretrained(tmp_path)  # type: ignore[operator]
    loaded = transformers.LlamaForCausalLM.from_pretrained(tmp_path).eval()
    assert not torch.equal(loaded(input_ids=inputs).logits, expected)
    assert torch.equal(form.install(loaded)(input_ids=inputs).logits, expected)


def test_heads_that_grow_take_the_scale_of_attention_in_their_own_attribute() -> None:
    model = llama(128, heads=2)
    layers = [each for each in model.modules() if hasattr(each, "scaling")]
    assert [each.scaling for each in layers] == [0.125] * LAYERS
    before = model(input_ids=INPUTS).logits
    for each in layers:
        each.scaling = attention_scale(head_dim=64, base_head_dim=16)  # type: ignore[assignment]
    assert [each.scaling for each in layers] == [0.0625] * LAYERS
    assert not torch.allclose(model(input_ids=INPUTS).logits, before)
