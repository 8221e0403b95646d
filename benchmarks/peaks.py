"""Best peaks and final losses against what others measured: errors, intervals, and what missing costs.

python -m benchmarks.peaks           a few seconds; final losses of the public runs where they are at hand
python -m benchmarks.peaks --quick   the same with fewer draws of the bootstrap
"""

import csv
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pacesetter.protocol import Parametrization
from pacesetter_search.recommendation import Recommendation, Target, recommend
from pacesetter_search.transfer import LAWS, Optimum, PeakModel, hinge_peak
from pacesetter_search.transfer.peak import Z50, Z90
from pacesetter_search.transfer.sweeps import cost_of_an_octave

from benchmarks.public_curves import FOLDER
from benchmarks.reporting import Report, arguments
from tests.search.transfer.optima import (
    INDEPENDENT,
    INDEPENDENT_LOSSES,
    RECIPES,
    STEP_LAW,
    WIDTH_MUP,
    WIDTH_STANDARD,
    WIDTHS,
)

LARGEST_FITTED = 3e8
"""Parameters up to which the model is fitted, to predict what is larger."""

DRAWS, QUICK_DRAWS = 4000, 500
SEED = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """A prediction beside what was measured.

    Attributes:
        error: Octaves, or a share of the loss.
        in_50: Whether the 50 % interval holds it.
        in_90: Whether the 90 % interval does.
        width: Of the 90 % interval, in octaves or as a share.
        cluster: What it shares with others: a size, a code.
    """

    error: float
    in_50: bool
    in_90: bool
    width: float
    cluster: object


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    given = arguments(__doc__).parse_args(argv)
    report = Report("peaks", seeds=[SEED], packages=("numpy", "scipy"))
    draws = QUICK_DRAWS if given.quick else DRAWS
    _hinge(report)
    _widths(report)
    _recipes(report)
    _coverage(report, "no data, 23 optima", _without_data(), draws)
    _coverage(report, "fitted to 8 cells up to 268M, on the other 9", _extrapolated(), draws, 0.4)
    _coverage(report, "each of 5 sizes from the other 4, 17 cells", _sizes_left_out(), draws)
    _coverage(report, "17 cells taken for those of another code, on its 6", _another_code(), draws)
    _answers(report)
    _losses(report, draws)
    report.print()
    report.save(given.json)


def _hinge(report: Report) -> None:
    """The law alone: within .75 octaves everywhere, within .6 in 90 %."""
    errors = [
        abs(math.log2(hinge_peak(one.parameters, one.tokens, one.batch) / one.lr))
        for one in (*STEP_LAW, *INDEPENDENT)
    ]
    worst, share = max(errors), sum(error <= 0.6 for error in errors) / len(errors)
    report.row("hinge law, 23 optima: largest error", worst, "octaves", "<= 0.75", worst <= 0.75)
    report.row("the same: within .6 octaves", 100.0 * share, "%", ">= 90", share >= 0.9)


def _widths(report: Report) -> None:
    """Another code's width table, from its first row."""
    tables: dict[Parametrization, tuple[float, ...]] = {
        "standard": WIDTH_STANDARD,
        "mup": WIDTH_MUP,
    }
    for parametrization, rates in tables.items():
        places = [
            Optimum(2.0**27, 2.0**33, 2.0**19, lr, sd=0.05, width=width / WIDTHS[0])
            for width, lr in zip(WIDTHS, rates, strict=True)
        ]
        model = PeakModel(places[:1], parametrization=parametrization)
        errors = [abs(model.predict(one).mean - math.log2(one.lr)) for one in places]
        worst = max(errors)
        figure = f"width table, {parametrization}: largest error"
        report.row(figure, worst, "octaves", "<= 1", worst <= 1.0 + 1e-3)


def _recipes(report: Report) -> None:
    """What people ran: conventions below the optimum, so the bands are loose."""
    over = [
        math.log2(hinge_peak(one.parameters, one.tokens, one.batch) / one.lr) for one in RECIPES
    ]
    words = f"{len(over)} recipes: law over recipe"
    report.row(f"{words}, median", statistics.median(over), "octaves")
    for name, value, bar, met in (
        ("least", min(over), ">= -1.5", min(over) >= -1.5),
        ("most", max(over), "<= 4.2", max(over) <= 4.2),
    ):
        report.row(f"{words}, {name}", value, "octaves", bar, met)
    deepseek = LAWS["deepseek"].peak
    assert deepseek is not None
    pairs = ((6.9e9, 4.2e-4), (67e9, 3.2e-4))
    off = max(abs(math.log2(deepseek(size, 2e12, 0.0) / lr)) for size, lr in pairs)
    report.row("DeepSeek's law on its own two models", off, "octaves", "<= 0.1", off <= 0.1)


def _without_data() -> list[Judged]:
    model = PeakModel()
    ours = [_judged(model, one, one.parameters) for one in STEP_LAW]
    return [*ours, *(_judged(model, one, "another code") for one in INDEPENDENT)]


def _extrapolated() -> list[Judged]:
    known = [one for one in STEP_LAW if one.parameters < LARGEST_FITTED]
    ahead = [one for one in STEP_LAW if one.parameters > LARGEST_FITTED]
    model = PeakModel(known)
    return [_judged(model, one, one.parameters) for one in ahead]


def _sizes_left_out() -> list[Judged]:
    found = []
    for size in sorted({one.parameters for one in STEP_LAW}):
        model = PeakModel([one for one in STEP_LAW if one.parameters != size])
        found += [_judged(model, one, size) for one in STEP_LAW if one.parameters == size]
    return found


def _another_code() -> list[Judged]:
    """What comes of passing somebody else's optima as one's own: the model takes them for the same family."""
    model = PeakModel(STEP_LAW)
    return [_judged(model, one, place) for place, one in enumerate(INDEPENDENT)]


def _judged(model: PeakModel, one: Optimum, cluster: object) -> Judged:
    found, truth = model.predict(one), math.log2(one.lr)
    off = abs(found.mean - truth)
    return Judged(off, off <= Z50 * found.sd, off <= Z90 * found.sd, 2.0 * Z90 * found.sd, cluster)


def _coverage(
    report: Report, words: str, judged: Sequence[Judged], draws: int, bar: float | None = None
) -> None:
    """Report errors, and how many the intervals hold: with whole clusters drawn again, as their members are alike."""
    error = statistics.mean(one.error for one in judged)
    met = None if bar is None else error <= bar
    limit = None if bar is None else f"<= {bar:g}"
    report.row(f"{words}: mean error", error, "octaves", limit, met)
    report.row("  90 % interval holds", *_share([one.in_90 for one in judged], judged, draws))
    report.row("  50 % interval holds", *_share([one.in_50 for one in judged], judged, draws))
    report.row(
        "  90 % interval, mean width", statistics.mean(one.width for one in judged), "octaves"
    )


def _share(held: Sequence[bool], judged: Sequence[Judged], draws: int) -> tuple[float, str]:
    """Return the share in per cent, and a unit with its 90 % interval and the number of clusters."""
    groups: dict[object, list[bool]] = defaultdict(list)
    for inside, one in zip(held, judged, strict=True):
        groups[one.cluster].append(inside)
    clusters = list(groups.values())
    generator = np.random.default_rng(SEED)
    shares = []
    for _ in range(draws):
        drawn = [clusters[place] for place in generator.integers(len(clusters), size=len(clusters))]
        everything = [inside for cluster in drawn for inside in cluster]
        shares.append(sum(everything) / len(everything))
    low, high = np.quantile(shares, [0.05, 0.95])
    return 100.0 * sum(held) / len(held), (
        f"% of {len(held)} ({100 * low:.0f} to {100 * high:.0f}, {len(clusters)} clusters)"
    )


def _answers(report: Report) -> None:
    """Whole recommendations: what the recommended rate costs by the bowl, beside what was expected to be lost."""
    for words, pairs in (
        ("no data", [(one, _answer(one, ())) for one in STEP_LAW]),
        ("the other 4 sizes", [(one, _answer(one, _others(one))) for one in STEP_LAW]),
    ):
        lost, expected = [], []
        for one, found in pairs:
            assert found.lr is not None
            assert found.relative_loss_of_missing is not None
            cost = cost_of_an_octave(one.tokens / one.parameters)
            lost.append(100.0 * cost * math.log2(found.lr / one.lr) ** 2)
            expected.append(100.0 * found.relative_loss_of_missing)
        report.row(f"recommended at 17 cells, {words}: loss missed", statistics.mean(lost), "%")
        report.row("  the same as the answers expect it", statistics.mean(expected), "%")
        report.row("  at most", max(lost), "%")


def _others(one: Optimum) -> list[Optimum]:
    return [each for each in STEP_LAW if each.parameters != one.parameters]


def _answer(one: Optimum, known: Iterable[Optimum]) -> Recommendation:
    evidence = [
        {
            "parameters": each.parameters,
            "tokens": each.tokens,
            "batch_tokens": each.batch,
            "lr": each.lr,
            "sd_octaves": each.sd,
        }
        for each in known
    ]
    place = {"parameters": one.parameters, "tokens": one.tokens, "batch_tokens": one.batch}
    return recommend(Target.model_validate({**place, "evidence": evidence}))


def _losses(report: Report, draws: int) -> None:
    """The expected loss with no data: other data and another tokenizer, so the interval is wide and has to be."""
    runs: list[tuple[float, float, float, object]] = [
        (one.parameters, one.tokens, loss, "another code")
        for one, loss in zip(INDEPENDENT, INDEPENDENT_LOSSES, strict=True)
    ]
    if FOLDER.exists():
        runs += [*_ladder(), *_runs_124m()]
    else:
        print(f"the public runs are not at {FOLDER}: six final losses only", file=sys.stderr)
    judged = []
    for parameters, tokens, loss, cluster in runs:
        found = recommend(Target(parameters=parameters, tokens=tokens)).loss
        assert found is not None
        (low, high), (near, far) = found.interval_90, found.interval_50
        off = abs(math.log(found.mean / loss))
        inside = near < loss < far, low < loss < high
        judged.append(Judged(off, *inside, math.log(high / low), cluster))
    words = f"expected loss, no data, {len(judged)} runs"
    report.row(f"{words}: mean error", 100.0 * statistics.mean(one.error for one in judged), "%")
    report.row("  90 % interval holds", *_share([one.in_90 for one in judged], judged, draws))
    report.row("  50 % interval holds", *_share([one.in_50 for one in judged], judged, draws))


def _ladder() -> list[tuple[float, float, float, object]]:
    """Return size, tokens and last C4 loss of the OLMo ladder's runs."""
    found: list[tuple[float, float, float, object]] = []
    for path in sorted((FOLDER / "olmo_ladder").glob("*.csv")):
        size = path.stem.partition("M-")[0]
        if size.isdecimal():
            with path.open() as file:
                last = list(csv.DictReader(file))[-1]
            found.append(
                (1e6 * float(size), float(last["tokens"]), float(last["c4_loss"]), "ladder")
            )
    return found


def _runs_124m() -> list[tuple[float, float, float, object]]:
    """Return the best run of each length at 124M; a step takes 51,200 tokens."""
    best: dict[int, float] = {}
    with (FOLDER / "lr_scheduling_124m" / "final_table_124m.csv").open() as file:
        for row in csv.DictReader(file):
            steps, loss = int(row["iters"]), float(row["final_val_loss"])
            best[steps] = min(loss, best.get(steps, math.inf))
    return [(124e6, 51_200.0 * steps, loss, "124M") for steps, loss in sorted(best.items())]


if __name__ == "__main__":
    main()
