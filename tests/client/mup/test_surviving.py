"""What people do to models still works, and computes the same: nothing hangs on tensors."""

import copy
import io
import pickle

import pytest
import torch
from pacesetter.errors import ConfigurationError
from pacesetter.mup import Parametrization
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tests.support.byte_decoder import ByteDecoder

INPUTS = torch.randint(0, 256, (2, 32), generator=torch.Generator().manual_seed(0))
BRANCHES = ("blocks.*.project", "blocks.*.down")


def form() -> Parametrization:
    """Return one with multipliers of both kinds: of a readout and of residual branches."""
    return Parametrization.by_shapes(
        ByteDecoder, 64, base_width=32, depth_ratio=2.0, branches=BRANCHES
    )


def applied() -> nn.Module:
    torch.manual_seed(0)
    return form().apply_(ByteDecoder(64))


def logits(model: nn.Module) -> Tensor:
    out: Tensor = model(INPUTS)
    return out.detach()


def test_the_multipliers_are_there_at_all() -> None:
    plain = ByteDecoder(64)
    plain.load_state_dict(applied().state_dict())
    assert (logits(applied()) - logits(plain)).abs().max() > 0.1


def test_a_deep_copy_computes_the_same_and_shares_nothing() -> None:
    model = applied()
    copied = copy.deepcopy(model)
    assert torch.equal(logits(copied), logits(model))
    with torch.no_grad():
        model.get_parameter("readout.weight").zero_()
    assert logits(copied).abs().max() > 0.0


def test_a_pickled_model_computes_the_same() -> None:
    model = applied()
    assert torch.equal(logits(pickle.loads(pickle.dumps(model))), logits(model))


def test_a_saved_model_computes_the_same() -> None:
    model, file = applied(), io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert torch.equal(logits(torch.load(file, weights_only=False)), logits(model))


def test_a_checkpoint_is_a_plain_models_and_needs_install_alone() -> None:
    model = applied()
    assert list(model.state_dict()) == list(ByteDecoder(64).state_dict())
    loaded = ByteDecoder(64)
    loaded.load_state_dict(model.state_dict())
    assert torch.equal(logits(form().install(loaded)), logits(model))


def test_functional_calls_see_the_weights_they_are_given() -> None:
    model = applied()
    parameters = {name: 2.0 * value.detach() for name, value in model.named_parameters()}
    doubled = copy.deepcopy(model)
    doubled.load_state_dict(parameters)
    found = torch.func.functional_call(model, parameters, (INPUTS,))
    assert torch.equal(found, logits(doubled))


@pytest.mark.slow
def test_a_compiled_model_is_one_graph_computes_the_same_and_gives_the_same_groups() -> None:
    model = applied()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert isinstance(compiled, nn.Module)
    torch.testing.assert_close(logits(compiled), logits(model))
    ours, theirs = (form().groups(each, 0.1) for each in (model, compiled))
    assert [g["name"] for g in ours] == [g["name"] for g in theirs]
    assert all(
        p is q
        for one, two in zip(ours, theirs, strict=True)
        for p, q in zip(one["params"], two["params"], strict=True)
    )


def test_install_finds_the_modules_of_a_compiled_model() -> None:
    plain = ByteDecoder(64)
    plain.load_state_dict(applied().state_dict())
    compiled = torch.compile(plain, backend="eager")
    assert isinstance(compiled, nn.Module)
    form().install(compiled)
    assert torch.equal(logits(plain), logits(applied()))


def test_an_exported_program_computes_the_same() -> None:
    model = applied()
    program = torch.export.export(model, (INPUTS,))
    torch.testing.assert_close(program.module()(INPUTS), logits(model))
    assert set(program.state_dict) == set(model.state_dict())


def test_scripts_of_the_graph_show_the_multipliers_as_constants() -> None:
    program = torch.export.export(applied(), (INPUTS,))
    factors = [node.args[1] for node in program.graph.nodes if "mul.Tensor" in str(node.target)]
    assert factors.count(0.5) == 5  # one readout, four branches


def test_a_model_made_on_the_meta_device_is_filled_later() -> None:
    with torch.device("meta"):
        model = form().install(ByteDecoder(64))
    model.to_empty(device="cpu")
    model.load_state_dict(applied().state_dict())
    assert torch.equal(logits(model), logits(applied()))


def test_other_hooks_and_parametrizations_of_weights_stay() -> None:
    model, calls = applied(), []
    readout = model.get_submodule("readout")
    readout.register_forward_hook(lambda *_: calls.append(1))
    form().install(model)
    logits(model)
    assert calls == [1]
    before = logits(model)
    parametrize.register_parametrization(readout, "weight", nn.Identity())
    assert torch.equal(logits(model), before)


def test_a_readout_may_be_given_its_input_by_name() -> None:
    readout, x = applied().get_submodule("readout"), torch.randn(3, 64)
    assert torch.equal(readout(input=x), readout(x))
    with pytest.raises(ConfigurationError, match="called without its first argument 'input'"):
        readout(x_=x)


def test_installing_again_leaves_no_trace_of_the_hooks_before() -> None:
    model = form().install(applied())
    readout = model.get_submodule("readout")
    assert len(readout._forward_pre_hooks) == 1
    assert readout._forward_pre_hooks_with_kwargs.keys() == readout._forward_pre_hooks.keys()
    Parametrization.by_shapes(ByteDecoder, 64, base_width=64).install(model)
    assert not readout._forward_pre_hooks
    assert not readout._forward_pre_hooks_with_kwargs


def test_in_half_precision_the_output_stays_half() -> None:
    model = applied().to(torch.bfloat16)
    assert logits(model).dtype is torch.bfloat16
