"""How much sooner or lower one schedule ends than another: surer than either loss, as what they share cancels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pacesetter_search.laws.base import FittedLaw, asked
from pacesetter_search.laws.curves import FloatArray
from pacesetter_search.laws.ensemble import FittedEnsemble
from pacesetter_search.laws.parametric import FittedParametric


@dataclass(frozen=True, slots=True)
class Differences:
    """Of log final losses from that of the first run.

    Attributes:
        mean: (n,) below zero where a run ends lower; 0 for the first.
        sd: (n,) what the parameters leave open and laws disagree on. What laws get wrong together is not in it.
    """

    mean: FloatArray
    sd: FloatArray


def differences(law: FittedLaw, runs: Sequence[FloatArray]) -> Differences:
    """Return by how much runs end lower or higher than the first of them.

    Args:
        law: A law with parameters, or an ensemble of such.
        runs: (steps,) learning rates of each.

    Raises:
        TypeError: The law's parameters have no covariance that could be asked.
    """
    if isinstance(law, FittedParametric):
        return _of_one(law, runs)
    if not isinstance(law, FittedEnsemble):
        raise TypeError(f"{type(law).__name__} is no law whose parameters have a covariance")
    members = [_of_one(member.thinned(law.stride), runs) for member in law.members]
    means = np.array([each.mean for each in members])
    # The ensemble's own correction of late decays, which no member has.
    finals = np.log([float(law.predict(run).mean[0]) for run in runs])
    within = np.mean([each.sd**2 for each in members], axis=0)
    between = np.var(means, axis=0, ddof=1) if len(members) > 1 else np.zeros(len(runs))
    return Differences(finals - finals[0], np.sqrt(within + between))


def _of_one(law: FittedParametric, runs: Sequence[FloatArray]) -> Differences:
    logs, gradients = [], []
    for run in runs:
        loss, gradient = law.evaluate(*asked(run, None))
        logs.append(float(np.log(loss[0])))
        gradients.append(gradient[0] / loss[0])
    away = np.array(gradients) - gradients[0]
    variance = np.zeros(len(runs))
    if law.covariance:
        variance = np.sum((away @ np.array(law.covariance)) * away, axis=1)
    return Differences(np.array(logs) - logs[0], np.sqrt(np.maximum(variance, 0.0)))
