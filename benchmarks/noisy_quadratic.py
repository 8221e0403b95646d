"""The noisy quadratic with a known optimum: what an objective is worth when nothing is noise.

Curvatures i^-1.5 for 200 directions, gradient noise of variance .02 times the curvature, T = 23,000 steps of plain SGD,
every loss exact. First the oracles: each shape at its best peak. Then ``autolrs`` under both objectives, through the
real follower and the real limits, all steps counted.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pacesetter.protocol import ParameterGroup
from pacesetter.schedules import WSD, Constant, Cosine, Linear, Schedule
from pacesetter_search.strategies import get_strategy

from benchmarks.reporting import Report, arguments
from tests.search.support.expected_quadratic import ExpectedQuadratic
from tests.search.support.simulator import SimulatedJob, job_facts

FloatArray = npt.NDArray[np.float64]

STEPS = 23_000
SHAPES = {
    "cosine": (Cosine(), 2.37e-4),
    "linear": (Linear(), 2.95e-4),
    "WSD .2": (WSD(cooldown=0.2), 4.53e-4),
    "constant": (Constant(), 2.65e-3),
}
"""With the losses of the notes."""

GOOD = 2.0**-0.5
"""Best peak of the cosine and of the linear decay, to a quarter of an octave."""


def final_losses(schedule: Schedule, peaks: Sequence[float]) -> FloatArray:
    """Return the loss after ``STEPS`` steps of the schedule at each peak, infinite where it diverges."""
    problem = ExpectedQuadratic()
    curvature, scales = problem.curvature, np.asarray(peaks)[:, None]
    moments = np.ones((len(peaks), curvature.size))
    shape = schedule.over(np.arange(STEPS, dtype=np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        for value in shape:
            lr = scales * value
            moments = (1.0 - lr * curvature) ** 2 * moments + lr * lr * problem.noise * curvature
        losses = 0.5 * moments @ curvature
    return np.where(np.isfinite(losses), losses, np.inf)


def oracles(report: Report) -> float:
    """Report every shape at its best peak; return the cosine's loss."""
    peaks = 2.0 ** np.arange(-4.0, 1.01, 0.25)
    best = {}
    for name, (body, noted) in SHAPES.items():
        losses = final_losses(Schedule(length=STEPS, body=body), list(peaks))
        best[name] = float(np.min(losses))
        met = abs(best[name] / noted - 1.0) <= 0.02
        place = f"peak {peaks[int(np.argmin(losses))]:.3f}"
        report.row(f"oracle {name}, {place}", best[name], "loss", f"{noted:.3g} +- 2 %", met)
    return best["cosine"]


def steered(lr: float, base: Schedule, cap: float, parameters: dict[str, Any]) -> SimulatedJob:
    """Return a finished job under ``autolrs``."""
    facts = job_facts(
        STEPS,
        base=base,
        groups=(ParameterGroup(name="all", base_lr=lr),),
        limits={"max_multiplier": 4.0},
        overhead_cap=cap,
    )
    strategy = get_strategy("autolrs").from_document(parameters)
    return SimulatedJob(strategy, facts, ExpectedQuadratic()).run()


def stage(report: Report, cosine: float, *, quick: bool) -> None:
    """Report the published objective, which decays too early and has no final ramp."""
    names = {"lcb": "stage as published (LCB)", "log_nei": "stage, default acquisition"}
    for acquisition, name in list(names.items())[: 1 if quick else 2]:
        parameters = {
            "min_multiplier": 0.01,
            "max_multiplier": 2.0,
            "acquisition": acquisition,
        }
        job = steered(GOOD, Schedule(length=STEPS), 1.0, parameters)
        ratio = job.landscape.validate() / cosine
        report.row(f"{name} over the oracle cosine", ratio, "x", ">= 5", ratio >= 5.0)
        report.row(f"{name}: all steps", 1.0 + job.probe_units / STEPS, "T")


def horizon(report: Report, cosine: float, starts: Iterable[tuple[str, float]]) -> None:
    """Report the loss at the end of the budget as objective, from the client's default base schedule."""
    for name, lr in starts:
        unsteered = float(final_losses(Schedule.default_base(STEPS), [lr])[0]) / cosine
        job = steered(lr, Schedule.default_base(STEPS), 0.15, {"objective": "horizon"})
        ratio, total = job.landscape.validate() / cosine, 1.0 + job.probe_units / STEPS
        bar = name == "good start"
        report.row(f"{name}: base schedule over the oracle cosine", unsteered, "x")
        report.row(
            f"{name}: horizon over the oracle cosine",
            ratio,
            "x",
            "<= 1.3" if bar else None,
            ratio <= 1.3 if bar else None,
        )
        report.row(f"{name}: all steps", total, "T", "<= 1.15", total <= 1.15)
        assert len(job.main_losses) == STEPS


def main() -> None:
    """Run the benchmark."""
    options = arguments(__doc__).parse_args()
    report = Report("noisy quadratic", seeds=[0], packages=("numpy", "scipy", "botorch"))
    cosine = oracles(report)
    starts = [("good start", GOOD)]
    if not options.quick:
        starts += [
            ("half", GOOD / 2.0),
            ("a quarter", GOOD / 4.0),
            ("twice", GOOD * 2.0),
        ]
    stage(report, cosine, quick=options.quick)
    horizon(report, cosine, starts)
    report.print()
    report.save(options.json)


if __name__ == "__main__":
    main()
