"""The best peak of a wide model at a long horizon, from narrow models, from short runs, and from both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pacesetter.protocol import Choice, ExperimentSpec, Value
from pacesetter_search.studies import Place, TransferStudy, transfer_study

from benchmarks.fidelity.judge import Judgement, Target
from benchmarks.fidelity.studies import experiment, run
from benchmarks.fidelity.trials import Trials, flops_of
from benchmarks.reporting import Report

MIXED = "mixed: fidelity over widths and horizons"
ERROR_BAR, LOSS_BAR = 0.35, 0.7
"""Octaves, and per cent above the best of the sweep: of the mixed study."""


@dataclass(frozen=True)
class Sizes:
    """The target, and what studies may run in its stead.

    Attributes:
        width: Of the target.
        steps: Of the target.
        batch: Of everything.
        widths: Of the mixed study, the target's among them.
        narrow: Of narrow models alone.
        share: Of the FLOPs of one run of the target: what each study may spend.
        centre: log2 of the rate that the sweep of the target is laid around.
        seeds: Of weights and batches, the same in all trials of a study. The sweep has the first, the mixed study each.
    """

    width: int = 256
    steps: int = 1200
    batch: int = 8
    widths: tuple[int, ...] = (32, 64, 128, 256)
    narrow: tuple[int, ...] = (32, 48, 64)
    share: float = 0.15
    # Width 256's -5.04 after 307,200 tokens in batches of 16 [docs/mup.md], moved by published slopes, and rounded.
    centre: float = -6.0
    seeds: tuple[int, ...] = (0,)

    @property
    def target(self) -> dict[str, Value]:
        """Return the target without its learning rate and seed."""
        return {"width": self.width, "steps": self.steps, "batch": self.batch}

    @property
    def flops(self) -> float:
        """Of one run of the target."""
        return flops_of(self.target)

    def at_seed(self, more: Mapping[str, Value], seed: int) -> dict[str, Value]:
        """Return fixed parameters of a study."""
        return {"batch": self.batch, "seed": seed, **more}


def mixed(sizes: Sizes, seed: int) -> ExperimentSpec:
    """Return the study that chooses between narrow, short, and both."""
    space = {"width": _choice(sizes.widths), "steps": _choice(_halved(sizes.steps, 5))}
    return _by_fidelity(MIXED, sizes, space, sizes.at_seed({}, seed))


def narrow(sizes: Sizes, seed: int) -> ExperimentSpec:
    """Return that of narrow models at the target's horizon."""
    fixed = sizes.at_seed({"steps": sizes.steps}, seed)
    return _by_fidelity(
        "narrow models, whole horizon", sizes, {"width": _choice(sizes.narrow)}, fixed
    )


def short(sizes: Sizes, seed: int) -> ExperimentSpec:
    """Return that of short runs of the target's width, chosen by what they tell."""
    space = {"steps": _choice(_halved(sizes.steps // 8, 4))}
    fixed = sizes.at_seed({"width": sizes.width}, seed)
    return _by_fidelity("whole width, short horizons", sizes, space, fixed)


def rungs(sizes: Sizes, seed: int) -> ExperimentSpec:
    """Return that of rungs of the target's width: seven rates at the shortest horizon, three at both longer ones."""
    # 7 h + 3 2h + 3 4h = 25 h.
    shortest = max(int(sizes.share * sizes.steps / 25), 1)
    return experiment(
        *("whole width, rungs", "rungs", {}),
        {"steps": _choice([shortest, 2 * shortest, 4 * shortest])},
        sizes.at_seed({"width": sizes.width}, seed),
        max_flops=sizes.share * sizes.flops,
    )


STUDIES: tuple[Callable[[Sizes, int], ExperimentSpec], ...] = (mixed, narrow, short, rungs)


@dataclass(frozen=True)
class Answer:
    """What a study recommends, and what comes of it.

    Attributes:
        study: Its answer.
        trials: How many it took.
        loss: Of a run of the target at its rate, with the seed of the sweep; infinite where that diverged.
    """

    study: TransferStudy
    trials: int
    loss: float


def measure(sizes: Sizes, trials: Trials, report: Report) -> None:
    """Sweep the target, run every study, and add their rows."""
    target = Target(trials, sizes.target, sizes.centre, sizes.seeds[:1])
    target.begin()
    answered = answers(sizes, target)
    swept = target.judge()
    swept.add_rows(report, "target")
    for name, found in answered.items():
        study_rows(report, name, found, swept, sizes)


def answers(sizes: Sizes, target: Target) -> dict[str, Answer]:
    """Run every study, the mixed one with every seed, and the target at what each recommends."""
    specs = {spec.name: spec for make in STUDIES for spec in [make(sizes, sizes.seeds[0])]}
    specs |= {f"{MIXED}, seed {seed}": mixed(sizes, seed) for seed in sizes.seeds[1:]}
    there = Place(width=sizes.width, steps=sizes.steps)
    found = {}
    for name, spec in specs.items():
        finished = run(spec, target.trials)
        found[name] = transfer_study(spec, finished, there), len(finished)
    target.begin(study.peak.mean for study, _ in found.values())
    return {
        name: Answer(study, count, target.loss(study.peak.mean))
        for name, (study, count) in found.items()
    }


def study_rows(report: Report, name: str, found: Answer, swept: Judgement, sizes: Sizes) -> None:
    """Add what a study found, and how far off it is; the mixed one has bars."""
    study, barred = found.study, name.startswith(MIXED)
    error, above = swept.off(study.peak.mean), swept.above_best(found.loss)
    report.row(f"{name}: best peak of {found.trials} trials", study.peak.mean, "log2")
    report.row(f"{name}: its sd", study.peak.sd, "octaves")
    report.row(f"{name}: share of one run of the target", 100.0 * study.flops / sizes.flops, "%")
    of_error = (f"<= {ERROR_BAR:g}", error <= ERROR_BAR) if barred else ()
    report.row(f"{name}: off by", error, "octaves", *of_error)
    of_loss = (f"<= {LOSS_BAR:g}", above <= LOSS_BAR) if barred else ()
    report.row(f"{name}: loss above the best of the sweep", above, "%", *of_loss)
    inside = swept.within(study.interval_90)
    report.row(f"{name}: 90 % interval holds the best peak", str(inside), "")


def _by_fidelity(
    name: str, sizes: Sizes, space: Mapping[str, Choice], fixed: Mapping[str, Value]
) -> ExperimentSpec:
    told = {
        "target": {"width": sizes.width, "steps": sizes.steps},
        "share": sizes.share,
        "target_flops": sizes.flops,
    }
    return experiment(name, "fidelity", told, space, fixed, sizes.share * sizes.flops)


def _choice(values: tuple[int, ...] | list[int]) -> Choice:
    return Choice(values=tuple(values))


def _halved(longest: int, count: int) -> list[int]:
    return [longest >> places for places in reversed(range(count))]
