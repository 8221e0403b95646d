"""The arguments of ``attach`` that most jobs never need."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from pydantic import JsonValue

from pacesetter.errors import ConfigurationError
from pacesetter.protocol import ProxySearch, Recommendation, Regime, Target
from pacesetter.run.optimizing import STATISTICS, Statistic
from pacesetter.run.ranks import GROUP_TIMEOUT_SECONDS
from pacesetter.transport import Mode, Transport

Rollback = Literal["memory", "disk", "none"]


class Settings(TypedDict, total=False):
    """Further keyword arguments of :func:`pacesetter.attach`."""

    url: str | None
    """Address of the service, or ``local`` (else ``PACESETTER_URL``)."""
    token: str | None
    """Register-scoped token (else ``PACESETTER_TOKEN``)."""
    mode: Mode | None
    """``online``, ``offline`` (the base schedule, recorded for ``pacesetter sync``) or ``disabled`` (the learning rate
    stays the training code's own and nothing is recorded); else ``PACESETTER_MODE``."""
    directory: str | Path | None
    """Where journals and snapshots on disk go (else ``PACESETTER_DIR``, else ``./.pacesetter``)."""
    rollback: Rollback | None
    """Where states are kept for probes; None: in memory if they fit, else nothing is probed."""
    max_snapshot_bytes: int | None
    """Most that kept states may take."""
    buffer_batches: int
    """Batches kept to rewind a loader that cannot do so itself (64)."""
    statistics: Iterable[Statistic]
    """``grad_norm``, ``grad_norm_l1``, ``parameter_norm``, ``gradient_noise``: measured at every step."""
    overhead_cap: float | None
    """Main plus probe steps stay below (1 + cap) x budget; None: the strategy's own cap."""
    controls: Mapping[str, str] | None
    """Control set of a parameter group, by the group's name."""
    target: Target | None
    """What is trained: family, size, batch. What is recorded of this job helps later ones of its kind. The job itself
    knows its ``optimizer`` and ``tokens``."""
    recommendation: Recommendation | None
    """What :func:`pacesetter.recommend` returned: its schedule is the base, its peak the first group's base rate (the
    ratios between groups are kept), and its target the job's where none is given. Budget and batch have to be its
    own."""
    proxy: str | ProxySearch | None
    """What workers run beside this job, so that it takes its peak from that (strategy ``proxy``): a built-in proxy, an
    entry point ``module:function`` that their operators allow, or all of a :class:`pacesetter.ProxySearch`."""
    experiment: str | None
    """Id of an experiment that the peak is taken from instead."""
    recommended_weight_decay: bool
    """Whether groups that decay take the recommended weight decay (False)."""
    regime: Regime
    """Kind of training; evidence does not cross it silently. Else the target's."""
    tags: Mapping[str, JsonValue] | None
    """Anything else to remember this job by: up to 100, within 64 KiB of JSON."""
    seed: int
    """Of the strategy's random numbers (0)."""
    waiting_seconds: float
    """Longest wait for the next segment at the end of a probe (30)."""
    register_seconds: float
    """Longest wait for the service at the start (10)."""
    sync_every: int
    """Steps between two exchanges of several ranks (10)."""
    lag_steps: int | None
    """Steps after which stop clauses judge a loss: 0 on a CPU, 16 on accelerators."""
    on_branch: Callable[[str], None] | None
    """Called with a branch's name while the model holds its end state."""
    transport: Transport | None
    """Replaces the one that ``mode`` and ``url`` stand for."""


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check what needs no model.

    Raises:
        ConfigurationError: A setting is unknown or out of range.
    """
    unknown = sorted(settings.keys() - Settings.__annotations__.keys())
    if unknown:
        raise ConfigurationError(
            f"attach does not know {unknown}; it takes {sorted(Settings.__annotations__)}"
        )
    _check_number(settings, "sync_every", 1)
    _check_number(settings, "lag_steps", 0)
    _check_number(settings, "register_seconds", 0)
    _check_number(settings, "waiting_seconds", 0, GROUP_TIMEOUT_SECONDS / 2)
    rollback = settings.get("rollback")
    if rollback not in (None, "memory", "disk", "none"):
        raise ConfigurationError(
            f"rollback is {rollback!r}; expected 'memory', 'disk', 'none', or None to let it be tried"
        )
    if settings.get("recommended_weight_decay") and settings.get("recommendation") is None:
        raise ConfigurationError("recommended_weight_decay takes a recommendation; pass both")
    statistics = settings.get("statistics", ())
    if isinstance(statistics, str) or set(statistics) - set(STATISTICS):
        raise ConfigurationError(
            f"statistics is {statistics!r}; expected any of {', '.join(STATISTICS)}, as a tuple"
        )


def _check_number(
    settings: Mapping[str, Any], name: str, lowest: float, highest: float = float("inf")
) -> None:
    value = settings.get(name)
    if value is not None and not lowest <= value <= highest:
        raise ConfigurationError(f"{name} is {value}; expected {lowest:g} to {highest:g}")
