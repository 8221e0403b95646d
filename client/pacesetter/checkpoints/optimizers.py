"""Optimizers as a part of the training's state."""

from itertools import zip_longest
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from pacesetter.checkpoints.parts import Part
from pacesetter.checkpoints.trees import Tree, brought_back
from pacesetter.errors import SnapshotError


class OptimizerPart(Part):
    """An optimizer's state by parameter, and its groups' numbers.

    Both directly: ``load_state_dict`` would replace tensors and cast them. What an optimizer keeps in attributes of its
    own is not seen.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer

    def view(self) -> Tree:
        """Return the state of each parameter in the order of the groups, and the groups without parameters."""
        state: dict[Any, Any] = self._optimizer.state
        return {
            "state": [state.get(item) for item in self._parameters()],
            "others": {key: value for key, value in state.items() if not isinstance(key, Tensor)},
            "groups": [
                {key: value for key, value in group.items() if key != "params"}
                for group in self._optimizer.param_groups
            ],
            "sizes": self._sizes(),
        }

    def check(self, saved: Tree) -> None:
        """See whether the groups have the sizes they had; groups that were added since come after them."""
        sizes = self._sizes()
        if saved["sizes"] != sizes[: len(saved["sizes"])]:
            raise SnapshotError(
                f"the optimizer's groups have {sizes} parameters now and had {saved['sizes']} when the state was "
                "kept; expected the same ones, and new ones only after them (add_param_group)"
            )

    def bring_back(self, saved: Tree) -> None:
        """Fill what is there in place, remove state that was not there, create what is missing.

        A group that was added since stays; its parameters have no optimizer state again.
        """
        state: dict[Any, Any] = self._optimizer.state
        for index, (parameter, value) in enumerate(zip_longest(self._parameters(), saved["state"])):
            if value is None:
                state.pop(parameter, None)
            else:
                live = state.get(parameter)
                where = f"optimizer state {index}"
                state[parameter] = brought_back(value, live, like=parameter, where=where)
        for key in [
            key for key in state if not isinstance(key, Tensor) and key not in saved["others"]
        ]:
            del state[key]
        for key, value in saved["others"].items():
            state[key] = brought_back(value, state.get(key), where=f"optimizer state {key}")
        for group, value in zip(self._optimizer.param_groups, saved["groups"], strict=False):
            parameters = group.pop("params")
            brought_back(value, group, where="parameter group")
            group["params"] = parameters

    def missing_bytes(self) -> int:
        """Return how much the state will grow by with the first step: an estimate from the optimizer's settings.

        Adam and its kin (``betas``) keep two values a parameter, ``amsgrad`` a third, ``momentum`` one.
        """
        total = 0
        for group in self._optimizer.param_groups:
            values = 2 if "betas" in group else int(bool(group.get("momentum")))
            values += int(bool(group.get("amsgrad")))
            for parameter in group["params"]:
                if not self._optimizer.state.get(parameter) and parameter.requires_grad:
                    local = parameter.to_local() if hasattr(parameter, "to_local") else parameter
                    total += values * local.numel() * local.element_size()
        return total

    def _parameters(self) -> list[Tensor]:
        return [item for group in self._optimizer.param_groups for item in group["params"]]

    def _sizes(self) -> list[int]:
        return [len(group["params"]) for group in self._optimizer.param_groups]


def optimizers_within(optimizer: Optimizer) -> list[Optimizer]:
    """Return an optimizer and those it wraps (ZeroRedundancyOptimizer, Accelerate and the like), each once."""
    found = [optimizer]
    for value in vars(optimizer).values():
        if isinstance(value, Optimizer) and value is not optimizer:
            found += optimizers_within(value)
    return found
