"""A proxy that trains nothing: to try a fleet of workers, and to measure what a trial costs beside its training."""

import math
import time

from pacesetter_workers.outcome import Outcome
from pacesetter_workers.proxies.parameters import Parameters
from pacesetter_workers.running import RunningTrial


def noop(trial: RunningTrial) -> Outcome:
    """Report ``steps`` steps of a loss that is known beforehand, ``seconds`` apart, and end with it.

    Parameters: ``lr`` (1e-3), ``steps`` (1), ``seconds`` (0). The loss is ``(log2(lr) + 10)^2``: best at 2^-10.
    """
    given = Parameters(trial.parameters)
    lr = given.positive("lr", 1e-3)
    steps = given.count("steps", 1)
    seconds = given.number("seconds", 0.0, low=0.0)
    # Whatever else an experiment passes is recorded with the trial and changes nothing here.
    loss = (math.log2(lr) + 10.0) ** 2
    for step in range(1, steps + 1):
        if seconds:
            time.sleep(seconds)
        trial.report(step, loss=loss, lr=lr, tokens=1.0)
    return Outcome(loss=loss)
