"""The best peak at a batch and a budget that were held back, from three batches at three shorter budgets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pacesetter.protocol import Choice, ExperimentSpec, Value
from pacesetter_search.studies import Finished, Place, TransferStudy, transfer_study

from benchmarks.fidelity.judge import Judgement, Target
from benchmarks.fidelity.studies import experiment, run
from benchmarks.fidelity.trials import CONTEXT, Trials, flops_of
from benchmarks.reporting import Report

ERROR_BAR = 0.5
"""Octaves."""
TIMES = 4
"""Tokens of the held-back cell over those of the longest budget."""
PARTS = (4, 2, 1)
"""Of the longest budget: the three that are run."""


@dataclass(frozen=True)
class Sizes:
    """The cells of the study, and the one that is held back.

    Attributes:
        width: Of everything.
        tokens: Of the longest budget; a multiple of 4 steps of every batch.
        batches: Of the study.
        held_back: The batch of the cell that it is to predict.
        centre: log2 of the rate that the sweep of that cell is laid around.
        wide: Width of a model whose run the cost is also compared with.
        seeds: Of weights and batches. All trials of the study have the first; losses of the sweep are means over all.
    """

    width: int = 32
    tokens: int = 320 * 16 * CONTEXT
    batches: tuple[int, ...] = (8, 16, 32)
    held_back: int = 64
    # Width 32's -5.05 after 307,200 tokens in batches of 16 [docs/mup.md], moved by published slopes, and rounded.
    centre: float = -4.0
    wide: int = 256
    seeds: tuple[int, ...] = (0, 1, 2)

    def steps(self, tokens: int, batch: int) -> int:
        """Return the optimizer steps of a budget."""
        return tokens // (batch * CONTEXT)

    @property
    def target(self) -> dict[str, Value]:
        """Return the held-back cell, without learning rate and seed."""
        steps = self.steps(TIMES * self.tokens, self.held_back)
        return {"width": self.width, "batch": self.held_back, "steps": steps}


def of_batch(sizes: Sizes, batch: int) -> ExperimentSpec:
    """Return the study of one batch: rungs over the three budgets."""
    steps = tuple(sizes.steps(sizes.tokens // part, batch) for part in PARTS)
    return experiment(
        f"batch {batch}",
        "rungs",
        {},
        {"steps": Choice(values=steps)},
        {"width": sizes.width, "batch": batch, "seed": sizes.seeds[0]},
    )


def whole(sizes: Sizes) -> ExperimentSpec:
    """Return the experiment that all trials are of, whatever their batch."""
    steps = {sizes.steps(sizes.tokens // part, batch) for part in PARTS for batch in sizes.batches}
    space = {"steps": Choice(values=tuple(sorted(steps))), "batch": Choice(values=sizes.batches)}
    fixed: Mapping[str, Value] = {"width": sizes.width, "seed": sizes.seeds[0]}
    return experiment("batches and budgets", "random", {}, space, fixed)


def study_of(sizes: Sizes, trials: Trials) -> tuple[TransferStudy, int]:
    """Run the three studies; return what they say together of the held-back cell, and how many trials they took."""
    ended: list[Finished] = []
    for batch in sizes.batches:
        ended += run(of_batch(sizes, batch), trials)
    ended = [replace(one, number=number) for number, one in enumerate(ended, 1)]
    there = Place(batch=sizes.held_back, steps=float(sizes.target["steps"]))
    return transfer_study(whole(sizes), ended, there), len(ended)


def measure(sizes: Sizes, trials: Trials, report: Report) -> None:
    """Run the study, sweep the held-back cell, and add the rows."""
    target = Target(trials, sizes.target, sizes.centre, sizes.seeds)
    study, count = study_of(sizes, trials)
    swept = target.judge()
    add_rows(report, sizes, study, count, swept, target.loss(study.peak.mean))


def add_rows(
    report: Report,
    sizes: Sizes,
    study: TransferStudy,
    count: int,
    swept: Judgement,
    loss: float,
) -> None:
    """Add what the cells say, what they predict, and how far off that is."""
    for one in study.cells:
        if one.found is not None:
            words = f"batch {one.cell.batch:g}, {one.tokens:g} tokens: best peak of {one.trials}"
            report.row(f"{words} trials, +-{one.found.sd:.2f}", one.found.mean, "log2")
    for name in ("tokens", "batch"):
        slope, sd = study.slopes[name]
        report.row(f"slope of the best peak in {name}, +-{sd:.2f}", slope, "octaves an octave")
    report.row(f"held back: predicted by {count} trials", study.peak.mean, "log2")
    report.row("held back: its sd", study.peak.sd, "octaves")
    swept.add_rows(report, "held back")
    error, inside = swept.off(study.peak.mean), swept.within(study.interval_90)
    report.row("held back: off by", error, "octaves", f"<= {ERROR_BAR:g}", error <= ERROR_BAR)
    report.row("held back: 90 % interval holds it", str(inside), "", "True", inside)
    report.row("held back: loss above the best of its sweep", swept.above_best(loss), "%")
    for width in (sizes.width, sizes.wide):
        run_flops = flops_of({**sizes.target, "width": width})
        report.row(
            f"cost over one run of the held-back cell at width {width}",
            100.0 * study.flops / run_flops,
            "%",
        )
