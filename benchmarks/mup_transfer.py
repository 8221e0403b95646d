"""Whether the best learning rate of a narrow byte language model is that of a wide one, with muP and without.

Decoders of widths 32 to 256 are trained at every octave around their best rate, all on the same batches. Rows beside
the main ones change one thing each, at two widths: weight decay scaled and not, clipping, bfloat16, 4x the tokens.
"""

import math
import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from typing import Literal

import torch
from pacesetter.mup import Parametrization, coordinate_check
from torch import Tensor, nn

from benchmarks.reporting import Report, arguments
from demo.text import Corpus, Windows, load_corpus
from tests.support.byte_decoder import BASE_DEPTH, ByteDecoder, next_byte_loss

BASE, CONTEXT = 32, 64
HELD_OUT_WINDOWS = 384
FIRST_GUESS, PLAIN_SHIFT = -5, -1.2
"""Octaves. Where sweeps begin: about the best rate at the base width, and its shift a doubling without muP."""
DEEP_SEEDS = 6
"""Of depths, whose best rates two seeds put up to .8 octaves apart."""
EDGE = 6
"""Octaves from the guess beyond which a sweep does not go."""


@dataclass(frozen=True)
class Case:
    """How models are trained."""

    form: Literal["mup", "standard"] = "mup"
    steps: int = 300
    batch: int = 16
    weight_decay: float = 0.0
    decay: Literal["scaled", "unscaled"] = "scaled"
    clip: float = math.inf
    bfloat16: bool = False
    depth: int = BASE_DEPTH
    completep: bool = True
    """Whether muP knows of the depth."""
    seeds: int | None = None
    """None: two where models are small, else one."""


@dataclass(frozen=True)
class Swept:
    """Held-out loss by log2 of the peak rate, and the parabola through the best and its neighbours."""

    losses: Mapping[int, float]

    @property
    def best(self) -> int:
        """The best rate that was tried, log2."""
        return min(self.losses, key=lambda rate: self.losses[rate])

    @property
    def optimum(self) -> tuple[float, float]:
        """Log2 of the rate and the loss at the bottom of the parabola; NaN where the best is at an edge."""
        below, here, above = (self.losses.get(self.best + by, math.nan) for by in (-1, 0, 1))
        slope, curvature = (above - below) / 2.0, above - 2.0 * here + below
        return self.best - slope / curvature, here - slope**2 / (2.0 * curvature)


def main(argv: Sequence[str] | None = None) -> None:
    """Sweep, and print the table."""
    given = arguments(__doc__).parse_args(argv)
    case = Case(steps=80, batch=8) if given.quick else Case()
    widths = (32, 64) if given.quick else (32, 64, 128, 256)
    report = Report("mup_transfer", seeds=[0, 1])
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), one_thread) as pool:
        checks = [pool.submit(checked, form, widths) for form in ("mup", "standard")]
        jobs = [
            (replace(case, form=form), w) for w in reversed(widths) for form in ("mup", "standard")
        ]
        sides = {} if given.quick else side_cases(case)
        jobs += [(side, width) for side in sides.values() for width in (128, 32)]
        depths = {} if given.quick else deep_cases(case)
        shallow = replace(case, seeds=DEEP_SEEDS)
        jobs += [(deep, BASE) for deep in (shallow, *depths.values()) if depths]
        swept = dict(zip(jobs, pool.map(sweep_job, jobs, chunksize=1), strict=True))
        carried = [(replace(case, form=form), widths[-1]) for form in ("mup", "standard")]
        rates = [swept[one, widths[0]].optimum[0] for one, _ in carried]
        costs = list(pool.map(loss_of, carried, rates))
        for form, found in zip(("mup", "standard"), checks, strict=True):
            check_row(report, form, found.result())
    report.row(
        "standard and muP at the base width: bit-equal",
        str(equal_at_base(case)),
        "",
        "True",
        equal_at_base(case),
    )
    for one, loss in zip(carried, costs, strict=True):
        main_rows(report, one[0], {w: swept[one[0], w] for w in widths}, loss)
    for name, side in sides.items():
        side_rows(report, name, swept[side, 32], swept[side, 128])
    for name, deep in depths.items():
        rate, loss = swept[deep, BASE].optimum
        drift = abs(rate - swept[shallow, BASE].optimum[0])
        report.row(f"{name}: best rate (loss {loss:.4f})", rate, "log2")
        report.row(
            f"{name}: apart from depth {BASE_DEPTH}",
            drift,
            "octaves",
            *bar(deep.completep, drift, 0.25),
        )
    report.print()
    report.save(given.json)


def side_cases(case: Case) -> dict[str, Case]:
    """Return the cases that differ from the main one in one thing."""
    return {
        "weight decay .1, scaled": replace(case, weight_decay=0.1),
        "weight decay .1, unscaled": replace(case, weight_decay=0.1, decay="unscaled"),
        "clipped at norm 1": replace(case, clip=1.0),
        "bfloat16 autocast": replace(case, bfloat16=True),
        "4x tokens": replace(case, steps=4 * case.steps),
    }


def deep_cases(case: Case) -> dict[str, Case]:
    """Return the cases of a deeper model at the base width."""
    deep = replace(case, depth=4 * BASE_DEPTH, seeds=DEEP_SEEDS)
    return {
        f"depth {4 * BASE_DEPTH}, {name}": replace(deep, completep=known)
        for name, known in (("CompleteP", True), ("muP alone", False))
    }


def check_row(report: Report, form: str, drift: float) -> None:
    """Add the row of a coordinate check."""
    if form == "mup":
        report.row("muP: largest slope from step 2 (logits: 3)", drift, "", "<= .15", drift <= 0.15)
    else:
        report.row("standard: largest slope from step 2", drift, "", ">= .3", drift >= 0.3)


def main_rows(report: Report, case: Case, swept: Mapping[int, Swept], carried: float) -> None:
    """Add the rows of one parametrization: optimum and loss by width, their spread, what carrying costs."""
    name = {"mup": "muP", "standard": "standard"}[case.form]
    optima = {width: each.optimum for width, each in swept.items()}
    for width, (rate, loss) in optima.items():
        report.row(f"{name}, width {width}: best rate (loss {loss:.4f})", rate, "log2")
    spread = max(rate for rate, _ in optima.values()) - min(rate for rate, _ in optima.values())
    narrow, wide = min(optima), max(optima)
    cost = 100.0 * (carried / optima[wide][1] - 1.0)
    better = all(one[1] > two[1] for one, two in pairwise(optima.values()))
    met = case.form == "mup"
    report.row(f"{name}: spread of the best rate", spread, "octaves", *bar(met, spread, 0.25))
    figure = f"{name}: width {narrow}'s best rate at width {wide}, loss above the best"
    report.row(figure, cost, "%", *bar(met, cost, 0.5))
    report.row(
        f"{name}: wider is better, each at its best",
        str(better),
        "",
        *(("True", better) if met else ()),
    )


def side_rows(report: Report, name: str, narrow: Swept, wide: Swept) -> None:
    """Add the rows of a case beside the main one."""
    for width, each in ((32, narrow), (128, wide)):
        rate, loss = each.optimum
        report.row(f"muP, {name}, width {width}: best rate (loss {loss:.4f})", rate, "log2")
    apart = abs(wide.optimum[0] - narrow.optimum[0])
    report.row(f"muP, {name}: apart", apart, "octaves", *bar(True, apart, 0.25))


def bar(barred: bool, value: float, most: float) -> tuple[str, bool] | tuple[()]:
    """Return the bar of a row and whether it was met."""
    return (f"<= {most:g}", value <= most) if barred else ()


def one_thread() -> None:
    """Prepare a process of the pool."""
    torch.set_num_threads(1)


def sweep_job(job: tuple[Case, int]) -> Swept:
    """Sweep one case at one width, and say what was found."""
    case, width = job
    shift = PLAIN_SHIFT * math.log2(width / BASE) if case.form == "standard" else 0.0
    found = sweep(lambda rate: loss_of(job, rate), shift)
    print(
        case,
        width,
        {rate: round(loss, 4) for rate, loss in sorted(found.losses.items())},
        flush=True,
    )
    return found


def sweep(loss_at: Callable[[int], float], shift: float = 0.0) -> Swept:
    """Try octaves around the guess until the best one has a neighbour on either side."""
    guess = round(FIRST_GUESS + shift)
    losses = {rate: loss_at(rate) for rate in (guess - 1, guess, guess + 1)}
    while True:
        best = Swept(losses).best
        missing = [rate for rate in (best - 1, best + 1) if rate not in losses]
        if not missing or abs(missing[0] - guess) > EDGE:
            return Swept(losses)
        losses[missing[0]] = loss_at(missing[0])


def loss_of(job: tuple[Case, int], rate: float) -> float:
    """Return the loss of a case and width at a peak rate (log2): the mean of its seeds."""
    case, width = job
    seeds = case.seeds or (2 if width <= 64 else 1)
    return mean(trained(case, width, 2.0**rate, seed) for seed in range(seeds))


def mean(values: Iterable[float]) -> float:
    """Return the mean."""
    found = list(values)
    return math.fsum(found) / len(found)


@cache
def corpus() -> Corpus:
    """Return the text, read once a process."""
    return load_corpus()


def trained(case: Case, width: int, lr: float, seed: int) -> float:
    """Train one model, and return its held-out loss; infinity if it diverged."""
    torch.manual_seed(seed)
    model = ByteDecoder(width, case.depth, CONTEXT)
    optimizer = prepared(case, model, width, lr)
    groups = [(group, group["lr"]) for group in optimizer.param_groups]
    windows = Windows(corpus().train, case.batch, CONTEXT, seed=seed)
    for step in range(case.steps):
        for group, base in groups:
            group["lr"] = base * warm_then_linear(step, case.steps)
        loss = forward(case, model, windows.batch_at(step))
        if not math.isfinite(loss.item()):
            return math.inf
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        if case.clip < math.inf:
            nn.utils.clip_grad_norm_(model.parameters(), case.clip)
        optimizer.step()
    return held_out(case, model)


def prepared(case: Case, model: nn.Module, width: int, lr: float) -> torch.optim.Optimizer:
    """Parametrize a model in place, and return its optimizer."""
    if case.form == "mup":
        form = Parametrization.by_shapes(
            partial(ByteDecoder, depth=case.depth),
            width,
            base_width=BASE,
            depth_ratio=case.depth / BASE_DEPTH if case.completep else 1.0,
            branches=("blocks.*.project", "blocks.*.down"),
        )
        form.apply_(model)
        groups = form.groups(model, lr, weight_decay=case.weight_decay, eps=1e-12, decay=case.decay)
    else:
        groups = [{"params": list(model.parameters()), "lr": lr}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-12, weight_decay=case.weight_decay)


def warm_then_linear(step: int, steps: int) -> float:
    """Return the multiplier of a step: up over a tenth, then down to zero."""
    warm = max(1, steps // 10)
    return min((step + 1) / warm, (steps - step) / (steps - warm))


def forward(case: Case, model: nn.Module, windows: Tensor) -> Tensor:
    """Return the loss of a batch, in bfloat16 where the case says so."""
    with torch.autocast("cpu", torch.bfloat16, enabled=case.bfloat16):
        return next_byte_loss(model, windows)


@torch.no_grad()
def held_out(case: Case, model: nn.Module) -> float:
    """Return the loss on text that nothing was trained on."""
    windows = Windows(corpus().validation_b, HELD_OUT_WINDOWS // 4, CONTEXT, seed=0)
    return mean(forward(case, model, windows.batch_at(each)).item() for each in range(4))


def checked(form: Literal["mup", "standard"], widths: Sequence[int]) -> float:
    """Return the slope that is furthest from what is allowed: largest for standard, largest in size for muP."""
    windows = Windows(corpus().train, 16, CONTEXT, seed=0)
    check = coordinate_check(
        ByteDecoder,
        widths if len(widths) > 2 else (32, 64, 128),
        loss=next_byte_loss,
        batches=[windows.batch_at(step) for step in range(5)],
        lr=2.0**-5,
        form=form,
    )
    print(check, flush=True)
    if form == "standard":
        return check.drift
    return max(
        float(abs(slopes[2 if name in check.vanishing else 1 :]).max())
        for name, slopes in check.slopes().items()
    )


def equal_at_base(case: Case) -> bool:
    """Return whether ten steps of both parametrizations give the same weights at the base width, bit for bit."""
    weights = []
    for form in ("mup", "standard"):
        torch.manual_seed(0)
        model = ByteDecoder(BASE, context=CONTEXT)
        optimizer = prepared(replace(case, form=form), model, BASE, 2.0**-5)
        windows = Windows(corpus().train, case.batch, CONTEXT, seed=0)
        for step in range(10):
            optimizer.zero_grad()
            forward(case, model, windows.batch_at(step)).backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
        weights.append(nn.utils.parameters_to_vector(model.parameters()).detach())
    return torch.equal(*weights)


if __name__ == "__main__":
    main()
