"""Pictures of what the service answers, and of checks: schedules, predictions, a bowl over the rate, coordinates.

Each function draws into the axes it is given, or into new ones, and returns them: ``ax.figure.savefig("picture.png")``.
They need matplotlib (``pip install "pacesetter[plot]"``), which is loaded when something is drawn.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pacesetter.errors import ConfigurationError
from pacesetter.schedules import Schedule
from pacesetter.schedules.plotting import axes, plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pacesetter.mup import CoordinateCheck

__all__ = ["bowl", "coordinates", "prediction", "ranking", "schedules"]


def schedules(
    named: Mapping[str, Schedule], ax: "Axes | None" = None, *, clock: str = "steps"
) -> "Axes":
    """Draw schedules over each other, with a legend.

    Args:
        named: Schedules by the name of their line.
        ax: Axes to draw into; new ones if None.
        clock: What positions count.

    Raises:
        ConfigurationError: There is none, or matplotlib is not installed.
    """
    if not named:
        raise ConfigurationError("there is no schedule to draw; give one by name at least")
    for name, schedule in named.items():
        ax = plot(schedule, ax, clock=clock, label=name)
    assert ax is not None
    ax.legend()
    return ax


def prediction(
    steps: npt.ArrayLike,
    mean: npt.ArrayLike,
    sd: npt.ArrayLike,
    ax: "Axes | None" = None,
    *,
    measured: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    label: str = "predicted",
) -> "Axes":
    """Draw a predicted curve with its 90 % band, and what was measured.

    Args:
        steps: (n,) steps done.
        mean: (n,) expected losses.
        sd: (n,) their standard deviations.
        ax: Axes to draw into; new ones if None.
        measured: Steps and losses of a run.
        label: Of the predicted line.

    Raises:
        ConfigurationError: Lengths differ, or matplotlib is not installed.
    """
    places, middle, spread = (np.asarray(each, dtype=np.float64) for each in (steps, mean, sd))
    if not places.shape == middle.shape == spread.shape:
        raise ConfigurationError(
            f"steps, mean and sd have shapes {places.shape}, {middle.shape} and {spread.shape}; give them one"
        )
    ax = axes(ax)
    if measured is not None:
        ax.plot(*measured, color="0.6", linewidth=0.8, label="measured")
    (line,) = ax.plot(places, middle, label=label)
    low, high = middle - 1.6449 * spread, middle + 1.6449 * spread
    ax.fill_between(places, low, high, color=line.get_color(), alpha=0.2, label="90 %")
    ax.set_xlabel("steps")
    ax.set_ylabel("loss")
    ax.legend()
    return ax


def bowl(
    lrs: Sequence[float],
    losses: Sequence[float],
    ax: "Axes | None" = None,
    *,
    interval: tuple[float, float] | None = None,
    best: float | None = None,
) -> "Axes":
    """Draw final losses over the peak learning rate, the interval of the best one, and the one that is recommended.

    Args:
        lrs: (n,) peaks, above zero.
        losses: (n,) what each ended with; runs that were lost are NaN and drawn at the top.
        ax: Axes to draw into; new ones if None.
        interval: Learning rates between which the best one lies, such as ``lr_90`` of a recommendation.
        best: The rate that is recommended.

    Raises:
        ConfigurationError: Lengths differ, a rate is not above zero, no loss is finite, or matplotlib is not installed.
    """
    rates, values = np.asarray(lrs, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    finite = np.isfinite(values)
    if rates.shape != values.shape or not (rates > 0.0).all() or not finite.any():
        raise ConfigurationError(
            "give each learning rate (above zero) its final loss, one of them finite at least"
        )
    ax = axes(ax)
    order = np.argsort(rates[finite])
    ax.plot(rates[finite][order], values[finite][order], marker="o", label="final loss")
    if not finite.all():
        top = np.full(int((~finite).sum()), values[finite].max())
        ax.plot(rates[~finite], top, "x", color="0.4", label="lost")
    if interval is not None:
        ax.axvspan(*interval, alpha=0.15, label="best rate, 90 %")
    if best is not None:
        ax.axvline(best, linestyle="--", color="0.3", label=f"{best:.3g}")
    ax.set_xscale("log", base=2)
    ax.set_xlabel("peak learning rate")
    ax.set_ylabel("loss")
    ax.legend()
    return ax


def ranking(answer: Mapping[str, Any], ax: "Axes | None" = None) -> "Axes":
    """Draw the answer of ``POST /v1/predictions``: a line for each candidate, best on top, with its 90 % interval.

    Args:
        answer: The JSON document.
        ax: Axes to draw into; new ones if None.

    Raises:
        ConfigurationError: It has no candidates, or matplotlib is not installed.
    """
    found = answer.get("candidates")
    if not found:
        raise ConfigurationError(
            "the answer has no candidates; pass the document of /v1/predictions"
        )
    ax = axes(ax)
    places = np.arange(len(found), 0, -1)
    losses = np.array([one["loss"] for one in found])
    low, high = (np.array([one["loss_90"][side] for one in found]) for side in (0, 1))
    ax.errorbar(losses, places, xerr=[losses - low, high - losses], fmt="o", capsize=3)
    ax.set_yticks(places, [one["name"] for one in found])
    ax.set_ylim(0.5, len(found) + 0.5)
    ax.set_xlabel("expected final loss, 90 % interval")
    return ax


def coordinates(
    check: "CoordinateCheck", ax: "Axes | None" = None, *, step: int | None = None
) -> "Axes":
    """Draw the sizes of activations over the width: level lines under muP, rising ones without.

    Args:
        check: What ``pacesetter.mup.coordinate_check`` returned.
        ax: Axes to draw into; new ones if None.
        step: Which step, from 1 on; the last one if None.

    Raises:
        ConfigurationError: There is no such step, or matplotlib is not installed.
    """
    step = check.steps if step is None else step
    if not 1 <= step <= check.steps:
        raise ConfigurationError(f"there is no step {step}; the check has steps 1 to {check.steps}")
    ax = axes(ax)
    slopes = check.slopes()
    for name, sizes in check.sizes.items():
        means = np.exp2(np.log2(sizes[:, :, step - 1]).mean(axis=1))
        ax.plot(check.widths, means, marker="o", label=f"{name} {slopes[name][step - 1]:+.2f}")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.set_xlabel("width")
    ax.set_ylabel("mean absolute activation")
    ax.set_title(f"step {step}: {'passed' if check.passed else 'failed'} over all steps")
    ax.legend(fontsize="small")
    return ax
