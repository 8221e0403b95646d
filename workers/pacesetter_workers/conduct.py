"""Runs one trial in the process it is called in, and turns whatever happens into an ending."""

import math
import random
import sys
import traceback
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from pacesetter.leasing.texts import bounded
from pacesetter.protocol import Cost, Trial

from pacesetter_workers.errors import ProxyRefused, TrialCancelled, TrialDiverged
from pacesetter_workers.outcome import Done, Ending, Failed, Outcome, Stopped
from pacesetter_workers.proxies import resolve
from pacesetter_workers.running import Channel, RunningTrial
from pacesetter_workers.site import Site

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
"""What torch's allocators say, of a device and of the host."""


def conduct(trial: Trial, site: Site, channel: Channel) -> Ending:
    """Run ``trial`` to its end. Nothing that its code raises comes out of here."""
    try:
        proxy = resolve(trial.proxy, site.allow)
        if trial.proxy != "noop" and find_spec("torch") is not None:
            import_module(
                "torch"
            )  # for its seed: code that imports it later would draw others at its first trial
    except ProxyRefused as error:
        return Failed(bounded(str(error)))
    except (Exception, SystemExit) as error:
        return _failure(error, None)
    running = RunningTrial(trial, site.folder_of(trial), channel, site.data, site.jobs)
    try:
        _seed(trial.seed)
        with running:
            outcome = _checked(proxy(running))
        return Done(replace(outcome, job=outcome.job or running.job), running.cost)
    except TrialCancelled:
        return Stopped()
    except TrialDiverged:
        return Done(Outcome(loss=None, job=running.job), running.cost)
    # A sys.exit() in the code of a trial ends that trial, not the worker.
    except (Exception, SystemExit) as error:
        return _failure(error, running)


def _failure(error: BaseException, running: RunningTrial | None) -> Failed:
    text = "".join(traceback.format_exception(error)).rstrip()
    if _is_out_of_memory(error):
        advice = (
            "\nThe trial ran out of memory. Give it a smaller width, batch or context, or the worker fewer slots "
            "(--slots), or each slot a larger share of a GPU (--gpus)."
        )
        cost = Cost() if running is None else running.unkept_cost
        return Failed(bounded(text + advice), retry=True, cost=cost)
    return Failed(bounded(text), cost=Cost() if running is None else running.cost)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(
        phrase in str(error).lower() for phrase in _OUT_OF_MEMORY
    )


def _checked(returned: Any) -> Outcome:
    """Return what a proxy returned as an outcome; a bare number is its loss.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(returned, Outcome):
        outcome = returned
    elif isinstance(returned, bool) or not hasattr(returned, "__float__"):
        raise TypeError(
            f"the proxy returned a {type(returned).__name__}; expected an Outcome, or its loss as a number"
        )
    else:
        outcome = Outcome(loss=float(returned))
    loss = None if outcome.loss is None else float(outcome.loss)
    metrics = {str(name): float(value) for name, value in outcome.metrics.items()}
    diverged = loss is None or not math.isfinite(loss)
    return replace(outcome, loss=None if diverged else loss, metrics=metrics)


def _seed(seed: int) -> None:
    """Seed every generator that a trial might draw from, and hold torch to one thread where it is loaded."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.manual_seed(seed)
        # Sums of two threads are rounded in another order: one thread gives the same bits in every executor.
        torch.set_num_threads(1)
