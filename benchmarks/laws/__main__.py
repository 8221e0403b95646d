"""Laws on public curves: errors on all and on unseen points, across peaks and sizes, choice of a schedule, coverage.

python -m benchmarks.laws            one to three minutes; needs the public curves, and says so where they are absent
python -m benchmarks.laws --quick    the published split, and sizes and tokens
"""

import sys
from collections.abc import Sequence

from benchmarks.laws.choice import choice, choice_costs
from benchmarks.laws.coverage import coverage
from benchmarks.laws.ladder import sizes_and_tokens
from benchmarks.laws.published import published_split
from benchmarks.laws.runs import across_peaks, runs_of_124m, with_a_cooldown
from benchmarks.public_curves import FOLDER
from benchmarks.reporting import Report, arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    given = arguments(__doc__).parse_args(argv)
    if not FOLDER.is_dir():
        sys.exit(f"the public loss curves are not at {FOLDER}; they are no part of the repository")
    report = Report("laws", seeds=[0], packages=("numpy", "scipy"))
    published_split(report)
    sizes_and_tokens(report)
    if not given.quick:
        runs_of_124m(report)
        with_a_cooldown(report)
        across_peaks(report)
        choice(report)
        choice_costs(report)
        coverage(report)
    report.print()
    report.save(given.json)


if __name__ == "__main__":
    main()
