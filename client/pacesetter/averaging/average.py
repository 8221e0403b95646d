"""What every average of weights can do: be put in the model's place for a while, and be kept."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pacesetter.errors import ConfigurationError, StateMismatch
from pacesetter.run.statistics import local_part

Named = dict[str, Tensor]


class WeightAverage(ABC):
    """An average of a model's weights, in float32 or wider, on the device of the weights.

    Averaged is what is trained: the parameters, with frozen ones. Buffers are not (a count cannot be averaged, and the
    statistics of BatchNorm are of the weights they were seen at): recompute them with :func:`recalibrate`. Of sharded
    parameters each rank averages its own part.

    Pass it in ``extras`` of ``pacesetter.attach`` if the run may be rolled back or probed: what a probe trained is then
    taken out again. Update it where ``run.on_main_line``.

    Args:
        model: Whose weights are averaged. Nothing of it is copied but weights.

    Raises:
        ConfigurationError: The model has no parameter.
    """

    def __init__(self, model: nn.Module) -> None:
        self.updates = 0
        self._model = model
        if not any(True for _ in model.parameters()):
            raise ConfigurationError("the model has no parameter: there is nothing to average")

    @abstractmethod
    def update(self) -> None:
        """Take in the weights as they are now, after an optimizer step."""

    @abstractmethod
    def average(self) -> Named:
        """Return the averaged weights by name, in the wide precision; local parts of sharded ones.

        Raises:
            ConfigurationError: Nothing was taken in yet.
        """

    @contextmanager
    def applied(self) -> Iterator[nn.Module]:
        """Put the average in the place of the model's weights; afterwards they are what they were, bit by bit.

        Buffers are restored as well, so statistics recomputed inside leave no trace.
        """
        averaged = self.average()
        kept = [(tensor, tensor.clone()) for tensor in self._tensors()]
        try:
            with torch.no_grad():
                for name, value in averaged.items():
                    local_part(self._parameters[name].detach()).copy_(value)
            yield self._model
        finally:
            with torch.no_grad():
                for tensor, before in kept:
                    tensor.copy_(before)

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return all that it knows, for a checkpoint."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            StateMismatch: The state is of other weights.
        """

    @property
    def _parameters(self) -> Named:
        return dict(self._model.named_parameters())

    @torch.no_grad()
    def _now(self) -> Named:
        """Return a copy of the weights in the wide precision."""
        return {name: _wide(local_part(value.detach())) for name, value in self._parameters.items()}

    def _tensors(self) -> Sequence[Tensor]:
        held = [*self._model.parameters(), *self._model.buffers()]
        return [local_part(tensor.detach()) for tensor in held]

    def _check(self, state: Mapping[str, Any]) -> None:
        known = self._parameters.keys()
        if set(state) != set(known):
            differing = sorted(set(state) ^ set(known))
            raise StateMismatch(
                f"the average is of other weights: {differing[:3]} are only in one of the two. Average the same model "
                "as in the run that is resumed"
            )


def _wide(value: Tensor) -> Tensor:
    """Return a copy that a small change cannot be lost in."""
    narrow = value.is_floating_point() and value.dtype in (torch.float16, torch.bfloat16)
    return value.to(torch.float32) if narrow else value.clone()
