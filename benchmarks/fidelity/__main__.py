"""Whether studies find the best peak of a byte language model that they never trained, and at which cost.

python -m benchmarks.fidelity --quick               a minute
python -m benchmarks.fidelity --cache trials.jsonl  stopped and started again it goes on where it was

First width 256 at 1200 steps, four times those of `mup_transfer`: from narrow models, from short runs, and from both,
each at 15 % of the FLOPs of one run; then a batch and a budget that were held back.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.fidelity import batches, widths
from benchmarks.fidelity.trials import CONTEXT, Trials
from benchmarks.reporting import Report, arguments

QUICK_WIDTHS = widths.Sizes(
    width=128, steps=160, batch=4, widths=(32, 64, 128), narrow=(32, 48), share=0.5
)
QUICK_BATCHES = batches.Sizes(tokens=64 * 8 * CONTEXT, batches=(2, 4, 8), held_back=16, seeds=(0,))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, and print the table."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--cache", type=Path, metavar="FILE", help="results of trials, added to; others reuse them"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="COUNT",
        help="mixed studies, each on a seed of its own",
    )
    given = parser.parse_args(argv)
    sizes = QUICK_WIDTHS if given.quick else widths.Sizes()
    sizes = replace(sizes, seeds=tuple(range(given.seeds)))
    report = Report("fidelity", seeds=sizes.seeds)
    with Trials(given.cache) as trials:
        widths.measure(sizes, trials, report)
        cells = QUICK_BATCHES if given.quick else batches.Sizes()
        batches.measure(cells, trials, report)
    report.print()
    report.save(given.json)


if __name__ == "__main__":
    main()
