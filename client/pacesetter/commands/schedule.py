"""``pacesetter schedule``: list the families, show a schedule as numbers, draw it."""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pacesetter.errors import ConfigurationError, ScheduleError
from pacesetter.schedules import FAMILIES, Extent, Schedule, parse_schedule
from pacesetter.schedules.plotting import plot

ROWS = 21
"""Rows of a table unless another number is asked for: every twentieth."""
WIDTH, HEIGHT = 64, 12
"""Size of a drawing in characters."""

Writer = Callable[[str], object]


def add_parser(commands: Any) -> None:
    """Add ``schedule`` with its verbs to the subcommands of an ``ArgumentParser``."""
    verbs = commands.add_parser(
        "schedule", help="list schedule families, show or draw a schedule"
    ).add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="all families: name, tier, shape")
    for verb, text in (("show", "print it as numbers"), ("plot", "draw it")):
        parser = verbs.add_parser(verb, help=text)
        _add_schedule(parser)
        if verb == "show":
            parser.add_argument(
                "--rows", type=int, default=ROWS, help=f"positions (default: {ROWS})"
            )
            parser.add_argument("--format", choices=("table", "csv", "json"), default="table")
        else:
            parser.add_argument(
                "--output",
                type=Path,
                metavar="FILE",
                help="a PNG, SVG or PDF; else text to the terminal",
            )


def run(options: argparse.Namespace, write: Writer) -> int:
    """Carry out one verb; return the exit code.

    Raises:
        ConfigurationError: There is no such schedule, or nothing to draw with.
    """
    if options.verb == "list":
        _list(write)
        return 0
    schedule = schedule_of(options)
    if options.verb == "show":
        _show(schedule, options, write)
    elif options.output is None:
        _draw(schedule, write)
    else:
        plot(schedule).figure.savefig(options.output)  # type: ignore[union-attr]
        write(f"{options.output}: {schedule.describe()}\n")
    return 0


def schedule_of(options: argparse.Namespace) -> Schedule:
    """Return the schedule that the command line names: a JSON file, or a family with its parameters.

    Raises:
        ConfigurationError: It names none; the message says what is known.
    """
    try:
        return parse_schedule(_document(options))
    except ScheduleError as error:
        raise ConfigurationError(str(error)) from None


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "schedule", help="a JSON file, '-' for standard input, or a family such as wsd"
    )
    parser.add_argument(
        "parameters", nargs="*", metavar="name=value", help="of the family, such as cooldown=.2"
    )
    parser.add_argument("--steps", type=int, help="length of the whole schedule (default: 1000)")
    parser.add_argument("--warmup", type=int, help="steps of linear warm-up, counted in it")
    parser.add_argument("--peak", type=float, help="multiplier at the peak (default: 1)")
    parser.add_argument(
        "--floor", type=float, help="share of the peak that it ends at (default: 0)"
    )
    parser.add_argument("--lr", type=float, help="base learning rate: adds a column")


def _document(options: argparse.Namespace) -> str | dict[str, Any]:
    path = Path(options.schedule)
    if options.schedule == "-" or path.suffix == ".json" or path.is_file():
        given = {"steps": "--steps", "warmup": "--warmup", "peak": "--peak", "floor": "--floor"}
        extra = [flag for name, flag in given.items() if getattr(options, name) is not None]
        if extra or options.parameters:
            raise ConfigurationError(
                f"{', '.join([*extra, *options.parameters])}: a schedule from a file is whole; change the file, or "
                "name a family instead"
            )
        return _text(options.schedule, path)
    return _family(options)


def _text(name: str, path: Path) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None


def _family(options: argparse.Namespace) -> dict[str, Any]:
    name = options.schedule
    if name not in FAMILIES:
        raise ConfigurationError(
            f"{name!r} is no file and no family; families are {', '.join(FAMILIES)}"
        )
    body = {"family": name, **dict(map(_parameter, options.parameters))}
    length = 1000 if options.steps is None else options.steps
    document: dict[str, Any] = {"length": length, "body": body}
    if options.warmup:
        document["warmup"] = {"length": options.warmup}
    for each in ("peak", "floor"):
        if getattr(options, each) is not None:
            document[each] = getattr(options, each)
    return _in_its_unit(name, document, absolute=options.peak is None)


def _in_its_unit(name: str, document: dict[str, Any], *, absolute: bool) -> dict[str, Any]:
    """Return the document of a law in learning rates at its published peak, unless another was given."""
    try:
        parse_schedule(document)
    except ScheduleError as error:
        published = absolute and "is a law in learning rates" in str(error)
        if not published:
            raise
        family = FAMILIES[name].model_validate(document["body"])
        warmup = int(document.get("warmup", {}).get("length", 0))
        peak = family.published_peak(Extent(document["length"], warmup))
        return {**document, "unit": "absolute", "peak": peak}
    return document


def _parameter(text: str) -> tuple[str, Any]:
    """Return name and value of ``name=value``; what is no JSON is a word."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise ConfigurationError(f"{text!r} is no parameter; write name=value, such as cooldown=.2")
    try:
        return name, float(value) if value.startswith(".") else json.loads(value)
    except ValueError:
        return name, value


def _list(write: Writer) -> None:
    width = max(map(len, FAMILIES))
    for name, family in FAMILIES.items():
        summary = (family.__doc__ or "").splitlines()[0]
        write(f"{name:<{width}}  {family.tier:<12}  {summary}\n")


def _show(schedule: Schedule, options: argparse.Namespace, write: Writer) -> None:
    if options.rows < 2:
        raise ConfigurationError(f"--rows {options.rows} is too few; give 2 or more")
    header = ["position", "lr" if schedule.unit == "absolute" else "multiplier"]
    with_lr = options.lr is not None and schedule.unit == "relative"
    rows: list[list[float]] = []
    for position in _positions(schedule, options.rows):
        value = schedule.at(position)
        rows.append([position, value, *([value * options.lr] if with_lr else [])])
    header += ["lr"] if with_lr else []
    if options.format == "json":
        write(
            json.dumps(
                {"schedule": schedule.model_dump(mode="json"), "columns": header, "rows": rows}
            )
            + "\n"
        )
    elif options.format == "csv":
        csv.writer(_Lines(write), lineterminator="\n").writerows([header, *rows])
    else:
        write(f"{schedule.describe()}\n")
        write("  ".join(f"{name:>12}" for name in header) + "\n")
        for place, *values in rows:
            write("  ".join([f"{place:>12,}", *(f"{value:>12.6g}" for value in values)]) + "\n")


def _positions(schedule: Schedule, rows: int) -> Sequence[int]:
    spread = np.linspace(schedule.zero, schedule.end, rows).round()
    return [int(each) for each in np.unique(spread)]


def _draw(schedule: Schedule, write: Writer) -> None:
    """Draw with characters: the highest of each column's positions."""
    positions = np.linspace(schedule.zero, schedule.end, 8 * WIDTH)
    columns = schedule.over(positions).reshape(WIDTH, 8).max(axis=1)
    top = max(float(columns.max()), 1e-300)
    filled = np.ceil(columns / top * HEIGHT).astype(int)
    write(f"{schedule.describe()}\n")
    for row in range(HEIGHT, 0, -1):
        label = f"{top * row / HEIGHT:>10.3g}" if row in (HEIGHT, HEIGHT // 2, 1) else " " * 10
        write(
            f"{label} |{''.join('#' if height >= row else ' ' for height in filled)}".rstrip()
            + "\n"
        )
    write(
        f"{'':10} +{'-' * WIDTH}\n{'':11}{schedule.zero:<{WIDTH // 2},}{schedule.end:>{WIDTH // 2 + 1},}\n"
    )


class _Lines:
    """A file to write lines to."""

    def __init__(self, write: Writer) -> None:
        self.write = write
