"""The coordinate check: whether activations keep their size as models get wider, over the first steps of training."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pacesetter.errors import ConfigurationError
from pacesetter.mup.classes import plain_name
from pacesetter.mup.grouping import Kind
from pacesetter.mup.parametrization import MakeModel, Parametrization
from pacesetter.protocol.coordinates import BOUND

FloatArray = npt.NDArray[np.float64]
Build = Callable[[int], tuple[nn.Module, Optimizer]]
"""Makes the model of a size, initialised, and its optimizer."""
Loss = Callable[[nn.Module, Any], Tensor]
"""Returns the loss of a model on a batch."""

DRIFT = 0.3
"""Slope that a parametrization which is not muP shows somewhere; a check that sees less than this proves little."""
SETTLED, READOUT_SETTLED = 2, 3
"""Steps from which on the bound holds. A readout vanishes at first, by 1/sqrt(width): its slope may be -.5 before."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A slope that is out of bounds."""

    module: str
    step: int
    slope: float


@dataclass(frozen=True)
class CoordinateCheck:
    """Sizes of activations over widths, and what they say.

    Attributes:
        widths: What was compared.
        sizes: Mean absolute entry of what each module returned, by its name: (widths, seeds, steps), step 1 being the
            forward pass before the first update.
        losses: (widths, seeds, steps).
        vanishing: Modules whose output may vanish with the width until step 3.
    """

    widths: tuple[int, ...]
    sizes: Mapping[str, FloatArray]
    losses: FloatArray
    vanishing: frozenset[str] = frozenset()

    @property
    def steps(self) -> int:
        """How many steps were watched."""
        return int(self.losses.shape[2])

    def slopes(self) -> dict[str, FloatArray]:
        """Return by module, for each step, the slope of log2 size over log2 width, of the mean over seeds.

        It is NaN where a size is zero (a readout that starts at zero) or not finite.
        """
        return {name: _slopes(self.widths, sizes) for name, sizes in self.sizes.items()}

    @property
    def failures(self) -> tuple[Drift, ...]:
        """Slopes out of bounds: beyond .15 from step 2 on; below -.15 only from step 3 on where outputs may vanish."""
        found = []
        for name, slopes in self.slopes().items():
            settled = READOUT_SETTLED if name in self.vanishing else SETTLED
            for step, slope in enumerate(slopes.tolist(), start=1):
                low = -BOUND if step >= settled else -np.inf
                if step >= SETTLED and not low <= slope <= BOUND:
                    found.append(Drift(name, step, slope))
        return tuple(found)

    def furthest(self) -> dict[str, float]:
        """Return by module the slope furthest from 0 of those with a bound; NaN where one is NaN from step 2 on."""
        found = {}
        for name, slopes in self.slopes().items():
            settled = READOUT_SETTLED if name in self.vanishing else SETTLED
            judged = [
                slope
                for step, slope in enumerate(slopes.tolist(), start=1)
                if step >= settled or (step >= SETTLED and not slope <= 0.0)
            ]
            found[name] = math.nan if any(map(math.isnan, judged)) else max(judged, key=abs)
        return found

    @property
    def passed(self) -> bool:
        """Whether every slope is within bounds."""
        return not self.failures

    @property
    def drift(self) -> float:
        """The largest slope from step 2 on; .3 and more is what a plain parametrization shows."""
        return float(max(np.nanmax(slopes[SETTLED - 1 :]) for slopes in self.slopes().values()))

    def __str__(self) -> str:
        """Return a table of slopes, a line a module, and the verdict."""
        slopes = self.slopes()
        width = max(map(len, slopes))
        lines = [
            f"{name:{width}}  " + " ".join(f"{slope:+.2f}" for slope in values)
            for name, values in slopes.items()
        ]
        verdict = "passed" if self.passed else f"failed: {len(self.failures)} slopes out of bounds"
        return "\n".join(
            [f"slopes over widths {self.widths}, steps 1 to {self.steps}", *lines, verdict]
        )


def coordinate_check(
    make_model: MakeModel,
    widths: Sequence[int],
    *,
    loss: Loss,
    batches: Sequence[Any],
    lr: float,
    form: Literal["mup", "standard"] = "mup",
    base_width: int | None = None,
    seeds: int = 3,
    optimizer: Callable[..., Optimizer] | None = None,
    rules: Kind = "adamw",
    watch: Iterable[str] = (),
    vanishing: Iterable[str] = (),
    zero_readout: bool = False,
    **options: Any,
) -> CoordinateCheck:
    """Train a few steps at each width, and return how large activations were.

    Use a rate about the best one: with a much smaller one the readout's vanishing start shows for longer than the steps
    that are watched, with a larger one training is chaos, in which widths differ for no reason of theirs.

    Args:
        make_model: Makes the model of a width.
        widths: Two or more, spread over a factor of 4 at least; 3 or 4 of them, each twice the last, are usual.
        loss: Returns the loss of a model on a batch.
        batches: One for each step, 4 to 6 of them.
        lr: The base learning rate.
        form: ``"mup"``, or ``"standard"`` for the model as it is, with one learning rate: the negative control.
        base_width: Of muP; the first width if None.
        seeds: How many initialisations are averaged.
        optimizer: Makes the optimizer of parameter groups. If None, AdamW (.9, .95) with an epsilon of 1e-12, or plain
            SGD with the rules of that.
        rules: Whose rates the groups have with muP, as in ``Parametrization.groups``: say ``"sgd"`` with an optimizer
            of that family. Nothing tells it from what ``optimizer`` makes.
        watch: Patterns of modules to watch. By default those that the bound was measured on: embeddings and members of
            the outermost lists (blocks). What single layers add scatters beyond it by chance.
        vanishing: Patterns of modules to watch whose output may vanish with the width until step 3, beside the
            readouts: what returns attention logits.
        zero_readout: Let readouts start at zero, in both forms.
        options: Of ``Parametrization.by_shapes``, such as ``classes``.

    Raises:
        ConfigurationError: There are fewer than two widths or three batches, no module is watched, there are no such
            rules, or what ``Parametrization.by_shapes`` says.
    """
    _check(widths, batches, seeds)
    if rules not in _OPTIMIZERS:
        raise ConfigurationError(f"there are no rules for {rules!r}; expected 'adamw' or 'sgd'")
    forms = {
        width: Parametrization.by_shapes(
            make_model, width, base_width=base_width or widths[0], **options
        )
        for width in widths
    }

    def build(width: int) -> tuple[nn.Module, Optimizer]:
        model = make_model(width)
        groups: list[dict[str, Any]] = [{"params": list(model.parameters()), "lr": lr}]
        if form == "mup":
            forms[width].apply_(model, zero_readout=zero_readout)
            groups = forms[width].groups(model, lr, eps=None, optimizer=rules)
        elif zero_readout:
            for name in forms[width].inputs:
                nn.init.zeros_(model.get_parameter(f"{name}.weight"))
        return model, (optimizer or _OPTIMIZERS[rules])(groups)

    return measure_coordinates(
        build,
        widths,
        loss=loss,
        batches=batches,
        seeds=seeds,
        watch=watch,
        vanishing=(*forms[widths[0]].inputs, *vanishing),
    )


def measure_coordinates(
    build: Build,
    sizes: Sequence[int],
    *,
    loss: Loss,
    batches: Sequence[Any],
    seeds: int = 3,
    watch: Iterable[str] = (),
    vanishing: Iterable[str] = (),
) -> CoordinateCheck:
    """Do what :func:`coordinate_check` does with models and optimizers of your own, over widths or over depths.

    The global random state is put back.

    Raises:
        ConfigurationError: There are fewer than two sizes or three batches, or no module is watched at all sizes.
    """
    _check(sizes, batches, seeds)
    patterns, may = tuple(watch), tuple(vanishing)
    runs: list[list[tuple[dict[str, list[float]], list[float]]]] = []
    with torch.random.fork_rng():
        for size in sizes:
            runs.append([])
            for seed in range(seeds):
                torch.manual_seed(seed)
                runs[-1].append(_train(*build(size), loss, batches, patterns, may))
    names = [name for name in runs[0][0][0] if all(name in seen for row in runs for seen, _ in row)]
    if not names:
        raise ConfigurationError(
            f"no module of all sizes matches {patterns} and returns a tensor; watch others"
        )
    found = {name: np.array([[seen[name] for seen, _ in row] for row in runs]) for name in names}
    losses = np.array([[values for _, values in row] for row in runs])
    return CoordinateCheck(
        tuple(sizes), found, losses, frozenset(name for name in names if _any(name, may))
    )


def _adam(groups: list[dict[str, Any]]) -> Optimizer:
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-12, weight_decay=0.0)


_OPTIMIZERS: dict[Kind, Callable[..., Optimizer]] = {"adamw": _adam, "sgd": torch.optim.SGD}


def _train(
    model: nn.Module,
    optimizer: Optimizer,
    loss: Loss,
    batches: Sequence[Any],
    patterns: tuple[str, ...],
    vanishing: tuple[str, ...],
) -> tuple[dict[str, list[float]], list[float]]:
    """Return what modules returned, mean absolute entry by name for each step, and the losses."""
    seen: dict[str, list[list[float]]] = {}
    handles = [
        module.register_forward_hook(_watcher(seen, plain_name(name)))
        for name, module in model.named_modules()
        if _watched(plain_name(name), module, patterns) or _any(plain_name(name), vanishing)
    ]
    losses = []
    for step, batch in enumerate(batches):
        for values in seen.values():
            values.append([])
        optimizer.zero_grad()
        value = loss(model, batch)
        value.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        losses.append(float(value.detach()))
        for name, values in list(seen.items()):
            if len(values) != step + 1 or not values[-1]:
                del seen[name]  # not used at every step
    for handle in handles:
        handle.remove()
    return {
        name: [float(np.mean(each)) for each in values] for name, values in seen.items()
    }, losses


def _watched(name: str, module: nn.Module, patterns: tuple[str, ...]) -> bool:
    """Return whether a module is watched; without patterns by what it is."""
    if patterns:
        return _any(name, patterns)
    *above, own = name.split(".")
    member = own.isdigit() and not any(part.isdigit() for part in above)
    trained = next(module.parameters(), None) is not None
    return trained and (member or isinstance(module, nn.Embedding))


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _watcher(seen: dict[str, list[list[float]]], name: str) -> Callable[..., None]:
    """Return a forward hook that notes the mean absolute entry of a module's output, or of its first part."""

    def watch(_module: nn.Module, _arguments: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) and output else output
        if isinstance(first, Tensor) and first.is_floating_point():
            value = float(first.detach().float().abs().mean())
            seen.setdefault(name, [[]])[-1].append(value)

    return watch


def _slopes(widths: tuple[int, ...], sizes: FloatArray) -> FloatArray:
    """Return the least-squares slope of log2 size over log2 width for each step; sizes are (widths, seeds, steps)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log2(sizes).mean(axis=1)
        places = np.log2(np.array(widths, dtype=np.float64))
        centred = places - places.mean()
        slopes: FloatArray = centred @ logs / (centred @ centred)
    return np.where(np.isfinite(slopes), slopes, np.nan)


def _check(sizes: Sequence[int], batches: Sequence[Any], seeds: int) -> None:
    if len(set(sizes)) < 2:
        raise ConfigurationError(f"sizes {tuple(sizes)} have no slope; give two or more")
    if len(batches) < READOUT_SETTLED:
        raise ConfigurationError(
            f"{len(batches)} batches are too few: the bound holds from step {READOUT_SETTLED} on; give 4 to 6"
        )
    if seeds < 1:
        raise ConfigurationError(f"seeds is {seeds}; expected 1 or more")
