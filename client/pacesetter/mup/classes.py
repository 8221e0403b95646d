"""What a tensor is to muP: which of its dimensions grow with the width, and which one it reads from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TypeVar

from torch import Tensor, nn

from pacesetter.errors import ConfigurationError

Named = TypeVar("Named")

OUT_FIRST = (
    nn.Linear,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.modules.conv._ConvNd,
)
"""Modules whose weights are (out, in, ...), as torch has them."""

IN_FIRST = (nn.Embedding, nn.EmbeddingBag, nn.modules.conv._ConvTransposeNd)
"""Modules whose weights are (in, out, ...)."""

WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of a name that torch's wrappers put into it."""


class ParameterClass(StrEnum):
    """What muP tells apart [Yang2022, arXiv 2203.03466, table 8]."""

    INPUT = "input"
    """Embeddings and weights that read from something of fixed size: only fan-out grows."""
    HIDDEN = "hidden"
    """Matrices between layers: fan-in and fan-out grow."""
    OUTPUT = "output"
    """Readouts: only fan-in grows."""
    VECTOR = "vector"
    """Biases and gains that grow with the width."""
    FIXED = "fixed"
    """Whatever keeps its shape."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What muP says of one tensor, relative to the same tensor of the base model.

    Attributes:
        name: As in ``model.named_parameters()``.
        kind: Its class.
        shape: In the target model.
        fan_in: Ratio of what it reads from, target to base; 1 where that is of fixed size.
        fan_out: Ratio of what it writes to.
        in_block: Whether it stands in a residual block whose branches are scaled with the depth.
        base_rms: Root mean square of the base's tensor as it is initialised; None where it was not measured.
    """

    name: str
    kind: ParameterClass
    shape: tuple[int, ...]
    fan_in: float = 1.0
    fan_out: float = 1.0
    in_block: bool = False
    base_rms: float | None = None

    @property
    def std_scale(self) -> float:
        """Standard deviation at initialisation, as a multiple of the base's."""
        return float(self.fan_in**-0.5) if self.kind is ParameterClass.HIDDEN else 1.0

    @property
    def matrix(self) -> bool:
        """Whether it has two dimensions or more."""
        return len(self.shape) >= 2


def classify(
    name: str, shape: tuple[int, ...], ratios: tuple[float, ...], first: str | None
) -> Rule:
    """Return the rule of a tensor from the ratios of its dimensions.

    Args:
        name: Of the tensor.
        shape: In the target model.
        ratios: Of each dimension, target to base; NaN where the dimension is fixed.
        first: What its first dimension is, ``"out"`` or ``"in"``; None where nobody knows.

    Raises:
        ConfigurationError: It has more than two growing dimensions, or it is not known which it reads from.
    """
    growing = [index for index, ratio in enumerate(ratios) if ratio == ratio]
    if not growing:
        return Rule(name, ParameterClass.FIXED, shape)
    if len(shape) == 1:
        return Rule(name, ParameterClass.VECTOR, shape, fan_out=ratios[0])
    if len(growing) > 2 or growing[-1] > 1 or (first is None and len(growing) == 1):
        raise ConfigurationError(
            f"{name} has shape {shape}, of which dimensions {growing} grow with the width, and it is not known which "
            f"it reads from; say what it is: classes={{{name!r}: 'input'}} (what is added to a stream, such as a table "
            "of places) or 'hidden'; a readout has to be an nn.Linear"
        )
    reads, writes = (0, 1) if first == "in" else (1, 0)
    fan_in, fan_out = (ratios[each] if each in growing else 1.0 for each in (reads, writes))
    return Rule(name, _kind(reads in growing, writes in growing), shape, fan_in, fan_out)


def _kind(reads: bool, writes: bool) -> ParameterClass:
    if reads and writes:
        return ParameterClass.HIDDEN
    return ParameterClass.OUTPUT if reads else ParameterClass.INPUT


def declared(
    name: str,
    shape: tuple[int, ...],
    ratios: tuple[float, ...],
    first: str | None,
    kind: ParameterClass,
) -> Rule:
    """Return the rule of a tensor whose class the user gave; arguments are those of :func:`classify`.

    Raises:
        ConfigurationError: Its shape contradicts the class.
    """
    growing = [ratio for ratio in ratios if ratio == ratio]
    needed = {ParameterClass.HIDDEN: 2, ParameterClass.FIXED: 0}.get(kind, 1)
    if len(growing) != needed:
        raise ConfigurationError(
            f"{name} of shape {shape} has {len(growing)} dimensions that grow with the width, and {kind.value!r} has "
            f"{needed}; correct classes"
        )
    if kind is ParameterClass.HIDDEN:
        fan_in, fan_out = growing if first == "in" else reversed(growing)
    elif kind is ParameterClass.OUTPUT:
        fan_in, fan_out = growing[0], 1.0
    else:
        fan_in, fan_out = 1.0, growing[0] if growing else 1.0
    return Rule(name, kind, shape, fan_in, fan_out)


def owners(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Parameter]]:
    """Yield (name of the module, module, name within it, parameter), a shared parameter once for each owner."""
    for path, module in model.named_modules():
        for leaf, parameter in module.named_parameters(recurse=False):
            yield plain_name(path), module, leaf, parameter


def first_dimension(module: nn.Module) -> str | None:
    """Return what the first dimension of a module's weights is, ``"out"`` or ``"in"``; None where it is not known.

    Hugging Face's ``Conv1D`` (GPT-2) is a linear layer whose weight is (in, out); it is told by its name and ``nf``.
    """
    if isinstance(module, IN_FIRST) or _transposed(module):
        return "in"
    return "out" if isinstance(module, OUT_FIRST) else None


def multiplies_input(module: nn.Module, leaf: str) -> bool:
    """Return whether a tensor of a module multiplies what the module reads, its first argument.

    The weights of linear layers and convolutions do, and those by which the first recurrent layer reads. Embeddings
    read indices, attention reads three tensors, and of modules that are not torch's nobody knows.
    """
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return leaf in ("weight_ih", "weight_ih_l0", "weight_ih_l0_reverse")
    linear = isinstance(module, nn.Linear | nn.modules.conv._ConvNd) or _transposed(module)
    return linear and leaf.startswith("weight")


def _transposed(module: nn.Module) -> bool:
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def plain_name(name: str) -> str:
    """Return a name without what ``torch.compile`` and wrappers of checkpointing put into it."""
    parts = [part for part in name.split(".") if part not in WRAPPERS]
    return ".".join(parts)


def plain_names(items: Iterable[tuple[str, Named]]) -> dict[str, Named]:
    """Return what is named by its plain name, without DistributedDataParallel's ``module`` in front of all of them."""
    found = {plain_name(name): each for name, each in items if plain_name(name)}
    if found and all(name.split(".")[0] == "module" for name in found):
        return {name.partition(".")[2]: each for name, each in found.items() if "." in name}
    return found


def matching(names: Mapping[str, object], pattern: str) -> list[str]:
    """Return the names that a pattern (``*`` matches) stands for.

    Raises:
        ConfigurationError: It stands for none.
    """
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        raise ConfigurationError(
            f"nothing in the model is called {pattern!r}; expected a name or a pattern such as 'blocks.*.project'. "
            f"There are {list(names)[:5]}"
        )
    return found


def rms(tensor: Tensor) -> float:
    """Return the root mean square of a tensor's entries. Waits for the device."""
    return float(tensor.detach().float().square().mean().sqrt())
