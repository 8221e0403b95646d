"""``attach``: from a model and its optimizer to a run."""

import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from pydantic import ValidationError
from torch import nn
from torch.optim import Optimizer

from pacesetter.checkpoints import open_store
from pacesetter.checkpoints.base import CheckpointStore
from pacesetter.errors import ConfigurationError, SnapshotError
from pacesetter.fitting import check_recommendation
from pacesetter.limits import Limits
from pacesetter.protocol import (
    Authority,
    Budget,
    Capabilities,
    ProxySearch,
    StrategyChoice,
    Target,
    Workload,
)
from pacesetter.run.claims import check_unclaimed, claim
from pacesetter.run.disabled import DisabledRun
from pacesetter.run.job import Job
from pacesetter.run.optimizing import OptimizerSteps
from pacesetter.run.options import Options
from pacesetter.run.ranks import Ranks, find_ranks
from pacesetter.run.rates import LearningRates, unwrap
from pacesetter.run.recommended import (
    Recommended,
    base_of,
    settings_of,
    target_of,
)
from pacesetter.run.run import Run
from pacesetter.run.settings import Settings, check_settings
from pacesetter.run.snapshots import SnapshotFolder
from pacesetter.run.stopping import ACCELERATOR_LAG_STEPS
from pacesetter.run.validating import Validate, Validation
from pacesetter.schedules import Schedule
from pacesetter.schedules.schedule import EXACT
from pacesetter.transport import NullTransport, Transport, open_transport

logger = logging.getLogger("pacesetter")


class Steps(Budget):
    """A budget in optimizer steps: ``Steps(10_000)``."""

    def __init__(self, total: float) -> None:
        super().__init__(clock="steps", total=_whole(total, "steps"))


class Tokens(Budget):
    """A budget in tokens, over all ranks: ``Tokens(2.5e9)``."""

    def __init__(self, total: float) -> None:
        super().__init__(clock="tokens", total=_whole(total, "tokens"))


def attach(
    model: nn.Module | list[nn.Module] | Mapping[str, nn.Module],
    optimizer: Any,
    *,
    name: str,
    budget: Budget,
    base: Schedule | None = None,
    validate: Validate | None = None,
    scaler: Any = None,
    extras: Mapping[str, Any] | None = None,
    external_id: str | None = None,
    strategy: str | None = None,
    strategy_parameters: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    authority: Authority | None = None,
    resume: Mapping[str, Any] | None = None,
    **settings: Unpack[Settings],
) -> Run:
    """Let the service set the learning rate of a training run.

    The job registers at its first batch or step, when it knows its data. If the service is away, training goes on.

    Args:
        model: The model, or several.
        optimizer: A torch optimizer, or a list or dict of them. The learning rate of a group now is its base.
        name: What people call this job.
        budget: :class:`Steps` or :class:`Tokens` of the main line.
        base: Schedule to follow when nobody says otherwise; else a short warm-up and a linear decay to zero.
        validate: Returns the validation loss; called at the end of some probes and of the run.
        scaler: The ``GradScaler``; do not call its ``step`` or ``update`` yourself.
        extras: Other objects with a ``state_dict`` that a probe must not change, such as an EMA.
        external_id: Stable across restarts (else ``PACESETTER_JOB_ID``); without one a restart is a new job.
        strategy: What decides; else the service chooses among what the job can do.
        strategy_parameters: Its parameters.
        limits: What no segment may exceed, whoever sent it.
        authority: ``observe``, ``advise``, ``approve`` or ``steer``.
        resume: What ``run.state_dict()`` returned, to go on from there.
        **settings: See :class:`Settings`.

    Raises:
        ConfigurationError: What was passed cannot work; the message says what would.
        StateMismatch: ``resume`` does not fit this job.
    """
    check_settings(settings)
    models, optimizers = _by_name(model, "model"), _by_name(optimizer, "optimizer")
    job = _job(name, budget, base, limits, settings, external_id)
    job = replace(job, authority=authority, strategy=_choice(strategy, strategy_parameters))
    if _disabled(settings):
        run: Run = _build_disabled(job, models, optimizers, validate, scaler)
    else:
        # What is resumed has its rates and decays already.
        recommended = settings_of(settings, optimizers) if resume is None else Recommended()
        known = {**recommended.base_lrs, **_base_lrs(resume)}
        run = _build(job, models, optimizers, validate, scaler, extras, settings, known)
        recommended.set_weight_decays()
    if resume is not None:
        run.load_state_dict(resume)
    elif not job.resumable:
        logger.info("no external_id: a restart of this process will be a new job")
    return run


def _build_disabled(
    job: Job,
    models: Mapping[str, nn.Module],
    optimizers: Mapping[str, Any],
    validate: Validate | None,
    scaler: Any,
) -> DisabledRun:
    optimizing = OptimizerSteps(optimizers, None, scaler=scaler)
    return DisabledRun(job, optimizing, validate, tuple(models.values()), find_ranks().world_size)


def _build(
    job: Job,
    models: Mapping[str, nn.Module],
    optimizers: Mapping[str, Any],
    validate: Validate | None,
    scaler: Any,
    extras: Mapping[str, Any] | None,
    settings: Settings,
    known_base_lrs: Mapping[str, float],
) -> Run:
    ranks = find_ranks()
    inner = {label: unwrap(each) for label, each in optimizers.items()}
    check_unclaimed(inner.values())
    rates = LearningRates(inner, settings.get("controls"), known_base_lrs)
    _check_spec(job, rates)
    statistics = tuple(settings.get("statistics", ()))
    store = _store(job, ranks, models, inner, scaler, extras, settings)
    validation = None if validate is None else Validation(validate, tuple(models.values()))
    transport = _transport(ranks, settings)
    # Last: what failed before leaves no hooks behind.
    optimizing = OptimizerSteps(
        optimizers, rates, scaler=scaler, statistics=statistics, world_size=ranks.world_size
    )
    run = Run(
        job,
        rates=rates,
        optimizing=optimizing,
        store=store,
        validation=validation,
        transport=transport,
        ranks=ranks,
        rollback=settings.get("rollback") or "memory",
        options=_options(models, settings),
    )
    claim(inner.values(), run, optimizing)
    return run


def _base_lrs(resume: Mapping[str, Any] | None) -> Mapping[str, float]:
    """Return the bases in a state to resume from: a loaded optimizer shows its scheduled rate, which may be zero."""
    found = resume.get("base_lrs") if isinstance(resume, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _options(models: Mapping[str, nn.Module], settings: Settings) -> Options:
    parameters = [parameter for model in models.values() for parameter in model.parameters()]
    on_device = any(parameter.device.type != "cpu" for parameter in parameters)
    lag_steps = settings.get("lag_steps")
    if lag_steps is None:
        lag_steps = ACCELERATOR_LAG_STEPS if on_device else 0
    return Options(
        waiting_seconds=settings.get("waiting_seconds", 30.0),
        register_seconds=settings.get("register_seconds", 10.0),
        sync_every=settings.get("sync_every", 10),
        lag_steps=lag_steps,
        on_device=on_device,
        buffer_batches=settings.get("buffer_batches", 64),
        statistics=tuple(settings.get("statistics", ())),
        rollback_required=settings.get("rollback") is not None,
        on_branch=settings.get("on_branch"),
    )


def _job(
    name: str,
    budget: Budget,
    base: Schedule | None,
    limits: Limits | None,
    settings: Settings,
    external_id: str | None,
) -> Job:
    external_id = external_id or os.environ.get("PACESETTER_JOB_ID")
    if not isinstance(budget, Budget):
        raise ConfigurationError(
            f"budget is {budget!r}; expected pacesetter.Steps(10_000) or pacesetter.Tokens(2.5e9)"
        )
    # Steps and Tokens are how people write a budget; what travels is the plain message.
    budget = Budget(clock=budget.clock, total=budget.total)
    target = _target(settings)
    recommended = settings.get("recommendation")
    if recommended is not None:
        base = base_of(check_recommendation(recommended), budget, base)
        target = target_of(recommended, target)
    return Job(
        name=name,
        external_id=external_id or f"{name[:100]}-{secrets.token_hex(8)}",
        resumable=external_id is not None,
        budget=budget,
        base=base or Schedule.default_base(budget.total, clock=budget.clock),
        limits=limits or Limits(),
        strategy=StrategyChoice(),
        overhead_cap=settings.get("overhead_cap"),
        regime=settings.get("regime", "other" if target is None else target.regime),
        workload=Workload() if target is None else target.workload(),
        recommendation=recommended.id if recommended else None,
        proxies=_proxies(settings),
        expected_batch=recommended.batch_tokens if recommended else None,
        seed=settings.get("seed", 0),
        tags=dict(settings.get("tags") or {}),
    )


def _proxies(settings: Settings) -> ProxySearch | None:
    """Return the proxy runs that the job listens to.

    Raises:
        ConfigurationError: Both kinds were given, or one that cannot be.
    """
    proxy, experiment = settings.get("proxy"), settings.get("experiment")
    if proxy is None and experiment is None:
        return None
    if proxy is not None and experiment is not None:
        raise ConfigurationError(
            "proxy and experiment both say where the peak comes from; leave one of them out"
        )
    if isinstance(proxy, ProxySearch):
        return proxy
    try:
        return ProxySearch.model_validate(
            {"experiment": experiment} if proxy is None else {"proxy": proxy}
        )
    except ValidationError as error:
        given = f"experiment is {experiment!r}" if proxy is None else f"proxy is {proxy!r}"
        raise ConfigurationError(
            f"{given}; expected a built-in proxy such as 'byte_lm', an entry point 'module:function', "
            "pacesetter.ProxySearch(...), or experiment=<id>"
        ) from error


def _target(settings: Settings) -> Target | None:
    target = settings.get("target")
    if target is not None and not isinstance(target, Target):
        raise ConfigurationError(
            f"target is {target!r}; expected pacesetter.Target(family=..., parameters=...)"
        )
    return target


def _choice(strategy: str | None, parameters: Mapping[str, Any] | None) -> StrategyChoice:
    return StrategyChoice(name=strategy, parameters=dict(parameters or {}))


def _check_spec(job: Job, rates: LearningRates) -> None:
    """Say now what registration would refuse for its form."""
    try:
        job.spec(Capabilities(), tuple(group.describe() for group in rates.groups))
    except ValidationError as error:
        raise ConfigurationError(f"attach was given what no job can have: {error}") from error


def _store(
    job: Job,
    ranks: Ranks,
    models: Mapping[str, nn.Module],
    optimizers: Mapping[str, Optimizer],
    scaler: Any,
    extras: Mapping[str, Any] | None,
    settings: Settings,
) -> CheckpointStore | None:
    """Open the store; without one being asked for, a training that cannot be restored does without."""
    rollback = settings.get("rollback")
    if rollback == "none":
        return None
    folder = _claim_folder(job, ranks, settings) if rollback == "disk" else None
    try:
        store = open_store(
            list(models.values()),
            list(optimizers.values()),
            scaler=scaler,
            extras=extras,
            where="memory" if folder is None else "disk",
            directory=None if folder is None else folder.path,
            max_snapshot_bytes=settings.get("max_snapshot_bytes"),
            process_group=ranks.group,
        )
    except SnapshotError as error:
        if rollback is not None:
            raise
        logger.warning("no probes in this run: %s", error)
        return None
    if folder is not None:
        folder.remove_with(store)
    return store


def _claim_folder(job: Job, ranks: Ranks, settings: Settings) -> SnapshotFolder:
    root = settings.get("directory") or os.environ.get("PACESETTER_DIR") or ".pacesetter"
    folder = SnapshotFolder(Path(root) / "snapshots", job.external_id, job.nonce)
    problem: SnapshotError | None = None
    try:
        folder.claim()
    except SnapshotError as error:
        problem = error
    failure = ranks.agree(None if problem is None else str(problem))
    if failure is not None:
        raise problem or SnapshotError(failure)
    return folder


def _transport(ranks: Ranks, settings: Settings) -> Transport:
    if not ranks.speaks:
        return NullTransport()
    return settings.get("transport") or open_transport(
        settings.get("mode"), settings.get("url"), settings.get("token"), settings.get("directory")
    )


def _disabled(settings: Settings) -> bool:
    mode = settings.get("mode") or os.environ.get("PACESETTER_MODE")
    return mode == "disabled" and settings.get("transport") is None


def _by_name(given: Any, what: str) -> dict[str, Any]:
    """Return models or optimizers under stable names: ``model``, or ``model0``, ``model1``, or the dict's own."""
    if isinstance(given, Mapping):
        named = dict(given)
    elif isinstance(given, list | tuple):
        named = {f"{what}{index}": each for index, each in enumerate(given)}
    else:
        named = {what: given}
    if not named:
        raise ConfigurationError(f"no {what} was passed; expected one or more")
    for label, each in named.items():
        if what == "optimizer":
            unwrap(each)
        elif not isinstance(each, nn.Module):
            raise ConfigurationError(
                f"{what} {label!r} is a {type(each).__name__}; expected a torch.nn.Module"
            )
    return named


def _whole(total: float, unit: str) -> int:
    if total != total or total in (float("inf"), float("-inf")) or int(total) != total or total < 1:
        raise ConfigurationError(
            f"a budget of {total!r} {unit} is impossible; expected a whole number above 0"
        )
    if total > EXACT:
        raise ConfigurationError(
            f"a budget of {total!r} {unit} is impossible; expected at most {EXACT}, as positions are exact up to there"
        )
    return int(total)
