"""Strategy ``law`` on the demo's model at a good rate: is it worse than the base schedule, and what of more budget?

The demo's transformer on the text of Python's standard library, the rate that the demo calls tuned, the client's
default base schedule, a real controller. Two runs of the family have ended before, a cosine and a held one, so that
their law is told; beside it ``law`` without a family. Then the budget grows by half at a quarter, at half and at three
quarters of it. Losses are on a split that decided nothing; seeds are paired.

python -m benchmarks.law_strategy --quick      one seed, a third of the steps
"""

import os
import time
from collections.abc import Sequence

import httpx
import numpy as np
import pacesetter
from pacesetter.schedules import WSD, Cosine, Schedule, Warmup
from pacesetter.schedules.families import AnyFamily

from benchmarks.branching import controller, standard_error
from benchmarks.extension import BAR, SHARES, steered
from benchmarks.quality.engine import train
from benchmarks.quality.tasks.base import Task
from benchmarks.quality.tasks.language import LanguageRecipe
from benchmarks.reporting import Report, arguments
from demo.training import BATCH, CONTEXT, TUNED_LR

STEPS = 1200
"""The demo's."""
FAMILY = "bytes"
FAMILY_SEED = 299
FAMILY_BODIES: tuple[AnyFamily, ...] = (Cosine(), WSD(cooldown=0.2))
LAW_SECONDS = 120.0
NEARLY = 1.002
"""Of a rate: what ends so far apart is the same. Two trainings of one seed part ways however near they begin."""

DEMO = Task(
    name="demo",
    kind="language",
    steps=STEPS,
    optimizer="AdamW",
    default_lr=1e-3,
    lr_grid_center=TUNED_LR,
    lm_like=True,
    recipe=LanguageRecipe("transformer", "adamw", batch=BATCH, context=CONTEXT, width=64, depth=2),
)
TARGET = pacesetter.Target(family=FAMILY, regime="pretrain", batch_tokens=BATCH * CONTEXT)


def main(argv: Sequence[str] | None = None) -> None:
    """Train everything, and print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, help="of the budget before it grows")
    given = parser.parse_args(argv)
    steps = given.steps or (STEPS // 3 if given.quick else STEPS)
    seeds = list(range(300, 301 if given.quick else 303))
    report = Report("law_strategy", seeds=seeds)
    with controller():
        teach(steps)
        base = [train(DEMO, default(steps), TUNED_LR, steps, seed).B for seed in seeds]
        for words, target in (("its family's law told", TARGET), ("no family", None)):
            found = [law(steps, seed, target) for seed in seeds]
            add(report, f"{words}: loss above the base schedule's", found, base, 0.0)
        add_extensions(report, steps, seeds)
    report.print()
    report.save(given.json)


def add_extensions(report: Report, steps: int, seeds: Sequence[int]) -> None:
    """Add what jobs end with that are extended by half, over two that had it all: under law, and the base schedule."""
    longer = 3 * steps // 2
    base = [train(DEMO, default(longer), TUNED_LR, longer, seed).B for seed in seeds]
    planned = [law(longer, seed, TARGET) for seed in seeds]
    add(report, f"planned for {longer}: loss above the base schedule's", planned, base, None)
    same = [train(DEMO, default(longer), NEARLY * TUNED_LR, longer, seed).B for seed in seeds]
    add(
        report,
        f"the base schedule for {longer} at {NEARLY:g} of its rate, above itself",
        same,
        base,
        None,
    )
    for share in SHARES:
        at = round(share * steps)
        found = [law(steps, seed, TARGET, at=at, total=longer) for seed in seeds]
        words = f"extended from {steps} to {longer} at {share:.0%}: loss above"
        add(report, f"{words} law planned for {longer}", found, planned, BAR)
        add(report, f"{words} the base schedule for {longer}", found, base, BAR)


def default(steps: int) -> Schedule:
    """Return the schedule of a job that names none."""
    return Schedule.default_base(steps)


def law(
    steps: int,
    seed: int,
    target: pacesetter.Target | None,
    *,
    at: int | None = None,
    total: int | None = None,
) -> float:
    """Return the loss of a job that laws plan."""
    return steered(
        DEMO, default(steps), TUNED_LR, seed, strategy="law", target=target, at=at, total=total
    )


def add(
    report: Report, words: str, found: Sequence[float], other: Sequence[float], bar: float | None
) -> None:
    """Add a row of losses over paired ones."""
    above = [np.log(one / two) for one, two in zip(found, other, strict=True)]
    mean, worst = 100.0 * float(np.mean(above)), 100.0 * float(max(above))
    figure = f"{words} (se {100 * standard_error(above):.2f}, worst {worst:+.2f})"
    if bar is None:
        report.row(figure, mean, "%")
    else:
        report.row(figure, mean, "%", f"<= {100 * bar:g}", mean <= 100.0 * bar + 1e-4)


def teach(steps: int) -> None:
    """Run two jobs of the family to their end, and wait for the law of their curves.

    Raises:
        RuntimeError: It is not fitted in time: what would be measured is not what the rows say.
    """
    for body in FAMILY_BODIES:
        schedule = Schedule(length=steps, warmup=Warmup(length=steps // 10), body=body)
        steered(DEMO, schedule, TUNED_LR, FAMILY_SEED, target=TARGET)
    deadline = time.monotonic() + LAW_SECONDS
    with httpx.Client(base_url=os.environ["PACESETTER_URL"]) as api:
        while time.monotonic() < deadline:
            laws = api.get("/v1/laws", params={"family": FAMILY}).raise_for_status().json()["laws"]
            if any(law["fitted"] and len(law["evidence"]) == len(FAMILY_BODIES) for law in laws):
                return
            time.sleep(0.5)
    raise RuntimeError(f"no law of the family within {LAW_SECONDS:g} s: {laws}")


if __name__ == "__main__":
    main()
