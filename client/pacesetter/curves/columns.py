"""Which columns of a log hold the step, the learning rate and the loss, by the names that loggers give them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pacesetter.errors import CurveError

ENOUGH_VALIDATIONS = 20
"""Validation losses from which on they are taken instead of training losses: fewer carry no law."""

_STEPS = {
    *("step", "steps", "_step", "global_step", "train_steps", "num_updates", "update", "updates"),
    *("iteration", "iterations", "iter", "iters", "n_iter"),
}
_TRAIN = "train|training|tr"
_VALIDATION = "val|valid|validation|eval|evaluation|test|dev"
_LOSS = re.compile(
    rf"(?:(?:{_TRAIN}|{_VALIDATION})_)?(?:lm_|ce_|cross_entropy_)?loss(?:_step|_mean|_blockmean)?"
)
_RATE = re.compile(r"(?:learning_rate|lr)(?:_.*)?")
_IS_VALIDATION = re.compile(rf"(?:^|[/_ ])(?:{_VALIDATION})(?:[/_ ]|$)")


_CHART_BAND = ("__min", "__max")
"""Ends of the columns that W&B's charts add to each."""

Part = Literal["lr", "loss"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Names of columns that a person gave (None: to be found), and what is read at all."""

    step: str | None = None
    lr: str | None = None
    loss: str | None = None
    parts: tuple[Part, ...] = ("lr", "loss")
    """Some exports have learning rates and losses in files of their own."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Columns that hold a curve.

    Attributes:
        step: None where each series has steps of its own.
        lr: None where rates are not read.
        losses: Candidates, those with the plainest name first; empty where losses are not read.
    """

    step: str | None
    lr: str | None
    losses: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(name for name in (self.step, self.lr, *self.losses) if name is not None)


def is_validation(name: str) -> bool:
    """Return whether a column of that name holds losses of a validation."""
    return _IS_VALIDATION.search(_plain(name)) is not None


def find_columns(
    names: Sequence[str], wanted: Wanted, source: str, *, steps: bool = True
) -> Choice:
    """Return which columns to read.

    Args:
        names: All there are.
        wanted: What a person named; those must be there.
        source: What the names are of, for errors.
        steps: Whether there is a column of steps among them.

    Raises:
        CurveError: One is not found (``NO_SUCH_COLUMN``).
    """
    step = _one(names, wanted.step, _steps_in(names), source, "step") if steps else None
    lr, losses = None, []
    if "lr" in wanted.parts:
        lr = _one(names, wanted.lr, _rates_in(names), source, "lr")
    if "loss" in wanted.parts:
        losses = _losses_in(names) if wanted.loss is None else [wanted.loss]
        _one(names, wanted.loss, losses, source, "loss")
    return Choice(step, lr, tuple(losses))


def best_loss(candidates: Mapping[str, npt.ArrayLike]) -> str | None:
    """Return the column of losses to take: a validation's where it has enough of them, else the fullest of training.

    Args:
        candidates: Values by name, those with the plainest name first; None is returned where there is none.
    """
    counts = {name: int(np.isfinite(values).sum()) for name, values in candidates.items()}
    for name, count in counts.items():
        if is_validation(name) and count >= ENOUGH_VALIDATIONS:
            return name
    training = [name for name in counts if not is_validation(name)] or list(counts)
    return max(training, key=lambda name: counts[name], default=None)


def _one(
    names: Sequence[str], wanted: str | None, found: Sequence[str], source: str, role: str
) -> str:
    if wanted is not None:
        if wanted in names:
            return wanted
        raise CurveError(
            f"{source} has no column {wanted!r}; it has {_listed(names)}",
            code="NO_SUCH_COLUMN",
            hint=f"name one of them with --{role}-column",
        )
    if not found:
        raise _missing(source, role, names)
    alike = [name for name in found if _plain(name) == _plain(found[0])]
    if len(alike) > 1:
        raise CurveError(
            f"{source} holds several runs: {_listed(alike)}",
            code="SEVERAL_RUNS",
            hint=f"name one of them with --{role}-column",
        )
    return found[0]


def _missing(source: str, role: str, names: Sequence[str]) -> CurveError:
    word = {"lr": "learning rate"}.get(role, role)
    return CurveError(
        f"{source} has no column that is called like a {word}; it has {_listed(names)}",
        code="NO_SUCH_COLUMN",
        hint=f"name it with --{role}-column",
    )


def _steps_in(names: Sequence[str]) -> list[str]:
    return [name for name in names if _last(name) in _STEPS]


def _rates_in(names: Sequence[str]) -> list[str]:
    """Return the columns of rates, that of a plain name first, else that of the first group."""
    found = [name for name in names if _is_rate(name) and not _is_band(name)]
    return sorted(found, key=lambda name: _last(name) not in ("lr", "learning_rate"))


def _losses_in(names: Sequence[str]) -> list[str]:
    found = [name for name in names if _LOSS.fullmatch(_last(name))]
    return sorted(found, key=lambda name: len(_plain(name)))


def _is_rate(name: str) -> bool:
    """Return whether a part of a name is a rate's: Lightning writes ``lr-AdamW/pg1``."""
    return any(_RATE.fullmatch(part) for part in _plain(name).split("/"))


def _is_band(name: str) -> bool:
    return _plain(name).endswith(_CHART_BAND)


def _plain(name: str) -> str:
    """Return a name in small letters, without the run that W&B's charts put before it (``run - loss``)."""
    return re.sub(r"[\s.\-]+", "_", name.rpartition(" - ")[2].strip().lower())


def _last(name: str) -> str:
    """Return the last part of a name that is a path, such as ``train/loss``."""
    return _plain(name).rpartition("/")[2]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
