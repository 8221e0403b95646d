"""What every benchmark has in common: its command line, its rows, its table and its JSON file."""

import argparse
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``met`` is None where there is no bar."""

    figure: str
    value: float | str | None
    unit: str
    bar: str | None = None
    met: bool | None = None


class Report:
    """Collects the rows of one benchmark, with the machine, commit, versions and seeds they belong to."""

    def __init__(
        self, name: str, *, seeds: Sequence[int] = (), packages: Sequence[str] = ("numpy", "torch")
    ) -> None:
        self.name = name
        self.seeds = list(seeds)
        self.packages = packages
        self.rows: list[Row] = []
        self._began = time.time()

    def row(
        self,
        figure: str,
        value: float | str | None,
        unit: str,
        bar: str | None = None,
        met: bool | None = None,
    ) -> None:
        """Add a figure. A missed bar is ``met=False``, never an error; a non-finite value becomes null."""
        if isinstance(value, float) and not math.isfinite(value):
            value = None
        self.rows.append(Row(figure, value, unit, bar, met))

    def print(self) -> None:
        """Print the rows as a table."""
        cells = [("figure", "value", "unit", "bar", "met"), *(_cells(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(5)]
        print(f"\n{self.name}")
        for line in cells:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))

    def document(self) -> dict[str, Any]:
        """Return everything as one JSON document."""
        return {
            "benchmark": self.name,
            "rows": [asdict(row) for row in self.rows],
            "machine": machine(),
            "commit": commit(),
            "versions": versions(self.packages),
            "seeds": self.seeds,
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._began)),
            "seconds": round(time.time() - self._began, 1),
        }

    def save(self, path: str | Path | None) -> None:
        """Write the document to ``path``; nothing where there is no path."""
        if path is not None:
            Path(path).write_text(json.dumps(self.document(), indent=2, allow_nan=False) + "\n")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a minute or less, rougher figures")
    parser.add_argument("--json", metavar="FILE", help="write the rows and where they come from")
    return parser


def machine() -> dict[str, str | int | None]:
    """Return what the figures were measured on."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def commit() -> str | None:
    """Return the commit of this work tree, with ``+`` if it has changes; None outside a repository."""
    here = Path(__file__).parent
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or None


def versions(packages: Sequence[str]) -> dict[str, str | None]:
    """Return the installed version of each package; None where it is not installed."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    value = f"{row.value:.4g}" if isinstance(row.value, float) else str(row.value)
    met = "" if row.met is None else ("yes" if row.met else "NO")
    return row.figure, value, row.unit, row.bar or "", met
