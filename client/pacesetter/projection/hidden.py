"""Which weights of a model may be projected at all."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_NORMALISATIONS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)


@dataclass(frozen=True, slots=True)
class HiddenWeight:
    """A weight matrix (or kernel) between two layers, and the module that it belongs to."""

    name: str
    weight: nn.Parameter
    module: nn.Module

    @property
    def bias(self) -> nn.Parameter | None:
        """The bias that is added to what this weight gives, if the module has one.

        torch names them alike: ``weight`` and ``bias``, ``in_proj_weight`` and ``in_proj_bias``.
        """
        leaf = self.name.rpartition(".")[2]
        bias = getattr(self.module, leaf.replace("weight", "bias"), None)
        return bias if isinstance(bias, nn.Parameter) and bias is not self.weight else None


def hidden_weights(model: nn.Module) -> tuple[HiddenWeight, ...]:
    """Return every trained weight of two dimensions or more that is neither an embedding nor a normalisation's scale.

    A weight that an embedding shares with the output layer counts as an embedding.
    """
    excluded = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _EMBEDDINGS + _NORMALISATIONS)
        for parameter in module.parameters(recurse=False)
    }
    return tuple(
        found
        for found in _weights(model)
        if id(found.weight) not in excluded
        and found.weight.ndim >= 2
        and found.weight.requires_grad
    )


def _weights(model: nn.Module) -> Iterator[HiddenWeight]:
    owners = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        yield HiddenWeight(name, parameter, owners[name.rpartition(".")[0]])
