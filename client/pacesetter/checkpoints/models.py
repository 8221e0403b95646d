"""Models as a part of the training's state."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pacesetter.checkpoints.parts import Part
from pacesetter.checkpoints.trees import Kept, Tree, Wrapped, brought_back
from pacesetter.errors import SnapshotError


class ModelsPart(Part):
    """Parameters and buffers of models, each tensor once, and what modules return from ``get_extra_state``.

    Gradients are no part of a state: a parameter that had none when the state was kept has none afterwards, and one
    that had one (``zero_grad(set_to_none=False)``, captured graphs) gets zeros at the same address.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self._models = [_unwrapped(model) for model in models]
        self._wrappers = [model for outer in models for model in _data_parallel(outer)]
        if list(_fully_sharded(self._modules(), "FullyShardedDataParallel")):
            raise SnapshotError(
                "a model wrapped in FullyShardedDataParallel cannot be restored in place; expected fully_shard "
                "(FSDP2), DistributedDataParallel or a plain model. Move to fully_shard, or turn rollback off"
            )

    def view(self) -> Tree:
        """Return parameters, buffers, extra states, and which parameters have a gradient."""
        self._reshard()
        parameters = self._parameters()
        return {
            "parameters": parameters,
            "buffers": {name: buffer for name, (_, _, buffer) in self._buffers().items()},
            "with_gradient": [name for name, item in parameters.items() if item.grad is not None],
            # A validation in a probe turns off DDP's broadcast of buffers for the next forward pass.
            "buffer_syncs": [wrapper.require_forward_param_sync for wrapper in self._wrappers],
            "extra_states": {
                name: module.get_extra_state() for name, module in self._with_extra_state()
            },
        }

    def check(self, saved: Tree) -> None:
        """See whether the parameters have the names, shapes and dtypes they had."""
        self._reshard()
        live, kept = self._parameters(), saved["parameters"]
        if live.keys() != kept.keys():
            changed = sorted(live.keys() ^ kept.keys())
            raise SnapshotError(
                f"the model's parameters changed since the state was kept: {changed[:3]} are only in one of the two. "
                "Add or remove parameters before attaching, not during the run"
            )
        for name, value in kept.items():
            if not _same_kind(value, live[name]):
                raise SnapshotError(
                    f"parameter {name} is now {tuple(live[name].shape)} {live[name].dtype}, and had another shape, "
                    "dtype or sharding when the state was kept. Resize and convert before attaching"
                )

    def bring_back(self, saved: Tree) -> None:
        """Copy parameters and buffers back in place."""
        with_gradient = set(saved["with_gradient"])
        for name, parameter in self._parameters().items():
            brought_back(saved["parameters"][name], parameter, where=name)
            if parameter.grad is not None and name in with_gradient:
                parameter.grad.zero_()
            else:
                parameter.grad = None
        self._bring_back_buffers(saved["buffers"])
        for wrapper, sync in zip(self._wrappers, saved["buffer_syncs"], strict=False):
            wrapper.require_forward_param_sync = sync
        for name, module in self._with_extra_state():
            if name in saved["extra_states"]:
                module.set_extra_state(brought_back(saved["extra_states"][name], None, where=name))

    def _bring_back_buffers(self, saved: Tree) -> None:
        live = self._buffers()
        for name, (module, leaf, _) in live.items():
            if name not in saved:
                setattr(module, leaf, None)
        owners = self._named_modules()
        for name, value in saved.items():
            buffer = live[name][2] if name in live else None
            returned = brought_back(value, buffer, like=self._any_parameter(), where=name)
            owner, _, leaf = name.rpartition(".")
            # A buffer that grew or vanished since (a cache) is set again, any other keeps its address.
            if returned is not buffer and owner in owners:
                setattr(owners[owner], leaf, returned)

    def _any_parameter(self) -> Tensor | None:
        return next((item for model in self._models for item in model.parameters()), None)

    def _named_modules(self) -> dict[str, nn.Module]:
        return {
            _join(str(index), name): module
            for index, model in enumerate(self._models)
            for name, module in model.named_modules()
        }

    def _modules(self) -> Iterator[nn.Module]:
        yield from self._named_modules().values()

    def _parameters(self) -> dict[str, nn.Parameter]:
        found: dict[int, tuple[str, nn.Parameter]] = {}
        for index, model in enumerate(self._models):
            for name, parameter in model.named_parameters():
                found.setdefault(id(parameter), (_join(str(index), name), parameter))
        return dict(found.values())

    def _buffers(self) -> dict[str, tuple[nn.Module, str, Tensor]]:
        found: dict[int, tuple[str, tuple[nn.Module, str, Tensor]]] = {}
        for name, module in self._named_modules().items():
            for leaf, buffer in module.named_buffers(recurse=False):
                found.setdefault(id(buffer), (f"{name}.{leaf}", (module, leaf, buffer)))
        return dict(found.values())

    def _with_extra_state(self) -> Iterator[tuple[str, nn.Module]]:
        for name, module in self._named_modules().items():
            if type(module).get_extra_state is not nn.Module.get_extra_state:
                yield name, module

    def _reshard(self) -> None:
        # After a forward pass without a backward, FSDP2 still shows gathered copies; what is written to them is lost.
        for module in _fully_sharded(self._modules(), "FSDPModule"):
            module.reshard()


def _fully_sharded(modules: Iterable[nn.Module], by: str) -> Iterator[Any]:
    """Yield the modules that one of FSDP's classes shards."""
    # Importing it takes a second, and whoever shards has imported it already.
    fsdp = sys.modules.get("torch.distributed.fsdp")
    if fsdp is not None:
        yield from (module for module in modules if isinstance(module, getattr(fsdp, by)))


def _unwrapped(model: nn.Module) -> nn.Module:
    inner = getattr(model, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        return _unwrapped(inner)
    return _unwrapped(model.module) if isinstance(model, DistributedDataParallel) else model


def _data_parallel(model: nn.Module) -> list[DistributedDataParallel]:
    inner = getattr(model, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        return _data_parallel(inner)
    return [model] if isinstance(model, DistributedDataParallel) else []


def _join(prefix: str, name: str) -> str:
    cleaned = name.replace("_orig_mod.", "").removesuffix("_orig_mod").rstrip(".")
    return f"{prefix}.{cleaned}" if cleaned else prefix


def _same_kind(saved: Any, live: Tensor) -> bool:
    if isinstance(saved, Kept):
        return saved.fits(live)
    return isinstance(saved, Wrapped) and saved.size == tuple(live.shape)
