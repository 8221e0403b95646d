"""What the built-in trainings have in common, read from a trial's parameters: length, schedule, optimizer, form."""

import json
import math
from dataclasses import dataclass
from typing import Literal, cast

from pacesetter.errors import ScheduleError
from pacesetter.protocol.coordinates import PARAMETER
from pacesetter.schedules import Schedule
from pacesetter.schedules.parse import parse_schedule

from pacesetter_workers.errors import ParameterRefused
from pacesetter_workers.proxies.parameters import Parameters
from pacesetter_workers.running import RunningTrial


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        steps: Optimizer steps.
        lr: Peak of the base learning rate.
        schedule: Multiplier of it, over the steps.
        optimizer: AdamW or SGD.
        momentum: Of SGD.
        beta1: Of AdamW.
        beta2: Of AdamW.
        eps: Of AdamW, at the base width.
        weight_decay: Of matrices; ``1 / (lr * timescale * steps)`` where ``timescale`` is given, the share of the run
            until a weight is forgotten [arXiv 2405.13698].
        clip: Largest norm of the gradient; 0 for any.
        precision: Of the forward pass.
        parametrization: ``"mup"`` makes the best rate of a width that of the others.
        base_width: Where muP changes nothing.
        base_depth: Likewise.
        seed: Of weights and data.
        checkpoint_every: Steps between checkpoints; 0 for one every ten seconds, which changes no bit of a result.
        job: Whether to run as a job of the controller; without anybody who steers it that changes no bit either.
        coordinates: Widths to check coordinates at, instead of training.
    """

    steps: int
    lr: float
    schedule: Schedule
    optimizer: Literal["adamw", "sgd"]
    momentum: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    clip: float
    precision: Literal["fp32", "bf16"]
    parametrization: Literal["standard", "mup"]
    base_width: int
    base_depth: int
    seed: int
    checkpoint_every: int
    job: bool
    coordinates: tuple[int, ...]


def read_recipe(
    given: Parameters, trial: RunningTrial, *, steps: int, base_width: int, base_depth: int
) -> Recipe:
    """Return the recipe that a trial's parameters ask for.

    Args:
        given: The parameters.
        trial: Whose seed holds where ``seed`` is not given. Trials that differ in their learning rate alone compare
            best with one ``seed`` in the experiment's ``fixed``.
        steps: How many where they do not say it.
        base_width: Likewise.
        base_depth: Likewise.

    Raises:
        ParameterRefused: One of them cannot be.
    """
    steps, lr = given.count("steps", steps), given.positive("lr")
    optimizer = given.choice("optimizer", ("adamw", "sgd"), "adamw")
    return Recipe(
        steps=steps,
        lr=lr,
        schedule=_schedule(given, steps),
        optimizer=cast(Literal["adamw", "sgd"], optimizer),
        momentum=given.number("momentum", 0.9, low=0.0, high=0.9999),
        beta1=given.number("beta1", 0.9, low=0.0, high=0.9999),
        beta2=given.number("beta2", 0.95, low=0.0, high=0.999999),
        eps=given.number("eps", 1e-8, low=0.0, high=1.0),
        weight_decay=_weight_decay(given, optimizer, lr, steps),
        clip=given.number("clip", 0.0, low=0.0),
        precision=cast(
            Literal["fp32", "bf16"], given.choice("precision", ("fp32", "bf16"), "fp32")
        ),
        parametrization=cast(
            Literal["standard", "mup"],
            given.choice("parametrization", ("standard", "mup"), "standard"),
        ),
        base_width=given.count("base_width", base_width),
        base_depth=given.count("base_depth", base_depth),
        seed=given.count("seed", trial.seed, low=0),
        checkpoint_every=given.count("checkpoint_every", 0, low=0),
        job=given.flag("job"),
        coordinates=trial.coordinates if given.text(PARAMETER, "") else (),
    )


def _weight_decay(given: Parameters, optimizer: str, lr: float, steps: int) -> float:
    """Return the decay as it is given, or by the share of the run until a weight is forgotten."""
    decay = given.number("weight_decay", 0.0, low=0.0)
    share = given.positive("timescale", math.inf)
    if math.isinf(share):
        return decay
    if decay:
        raise ParameterRefused(
            f"weight_decay {decay:g} and timescale {share:g} both say how fast weights decay; leave one of them out"
        )
    if optimizer != "adamw":
        raise ParameterRefused(
            "timescale is of decoupled decay, AdamW's; give sgd its weight_decay"
        )
    return 1.0 / (lr * share * steps)


def _schedule(given: Parameters, steps: int) -> Schedule:
    """Return warm-up and shape: a family's name, or one with its parameters as JSON."""
    named = given.text("schedule", "linear")
    warmup = int(given.number("warmup", 0.1, low=0.0, high=1.0) * steps)
    body = _body(named)
    document = {
        "length": steps,
        "floor": given.number("floor", 0.0, low=0.0, high=1.0),
        "body": body,
        # A warm-up over everything would leave no schedule.
        **({"warmup": {"length": min(warmup, steps - 1)}} if warmup and steps > 1 else {}),
    }
    try:
        return parse_schedule(document)
    except ScheduleError as error:
        raise ParameterRefused(f"schedule {named!r} cannot be: {error}") from None


def _body(named: str) -> object:
    if not named.lstrip().startswith("{"):
        return {"family": named}
    try:
        return json.loads(named)
    except ValueError as error:
        raise ParameterRefused(
            f"schedule is no JSON ({error}); expected a family's name, or such as "
            '{"family": "wsd", "cooldown": 0.2}'
        ) from None
