"""Writes RESULTS.md from the JSON of one or more runs, the first one first.

python -m benchmarks.quality.results "Drawn once=drawn.json" "Named tasks=named.json" > benchmarks/quality/RESULTS.md
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def page(parts: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Return the page of several runs, each under its title."""
    sections = [_section(title, document) for title, document in parts]
    return "\n\n".join(["# Quality of the search", *sections]) + "\n"


def _section(title: str, document: Mapping[str, Any]) -> str:
    machine, versions = document["machine"], document["versions"]
    where = (
        f"{document['began'][:10]}, commit {document['commit']}, {machine['cores']} cores, Python "
        f"{machine['python']}, torch {versions['torch']}; budget {document['scale']:g} T, at most "
        f"{1.0 + document['cap']:.2f} of it used."
    )
    bars = ["| bar | measured | wanted | met |", "| --- | ---: | --- | --- |"]
    bars += [_bar(row) for row in document["rows"]]
    measured = ["\n".join(bars)] if document["rows"] else []
    return "\n\n".join([f"## {title}", where, *measured, document["tables"].rstrip()])


def _bar(row: Mapping[str, Any]) -> str:
    value = row["value"]
    shown = f"{value:.3g}" if isinstance(value, float) else str(value)
    met = {None: "", True: "yes", False: "**no**"}[row["met"]]
    return f"| {row['figure']} | {shown} {row['unit']} | {row['bar'] or ''} | {met} |"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the page of the runs that the command line names."""
    parser = argparse.ArgumentParser(prog="benchmarks.quality.results", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="TITLE=FILE")
    pairs = [run.rpartition("=") for run in parser.parse_args(argv).runs]
    print(page([(title, json.loads(Path(file).read_text())) for title, _, file in pairs]), end="")


if __name__ == "__main__":
    main()
