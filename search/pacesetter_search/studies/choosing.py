"""Which cells an experiment may run."""

import math

from pacesetter.protocol import ExperimentSpec, Value

from pacesetter_search.studies.cells import Cell, Names, values_of
from pacesetter_search.studies.space import Space, crossed

MOST_CELLS = 256
"""Cells that are weighed against each other: each takes milliseconds for every trial that is planned."""


def cells_of(spec: ExperimentSpec, names: Names) -> list[Cell]:
    """Return the cells that an experiment may run, in order.

    Raises:
        ValueError: The space has something else than the learning rate and what tells cells apart, a value of that
            which is no number above 0 or out of bounds, a schedule shorter than a step, or too many cells.
    """
    cell_names = set(names.of_cells().values())
    others = sorted(spec.space.keys() - cell_names - {names.lr})
    if others:
        raise ValueError(
            f"{', '.join(others)} in the space is neither the learning rate nor what tells cells apart "
            f"({', '.join(sorted(cell_names))}); fix it, or choose the strategy gp"
        )
    told = [name for name in Space.of(spec.space).names if name in cell_names]
    columns = [values_of(spec.space[name]) for name in told]
    count = math.prod(map(len, columns))
    if count > MOST_CELLS:
        raise ValueError(
            f"{', '.join(told)} make {count} cells, and no more than {MOST_CELLS} are weighed against each other; give "
            "them fewer values"
        )
    rows = crossed(told, columns)
    return sorted({Cell.of({**spec.fixed, **row}, names) for row in rows})


def exact(cell: Cell, each: str, called: str, spec: ExperimentSpec) -> Value:
    """Return the value of the space that a cell has: whole where the space's is whole."""
    wanted = getattr(cell, each)
    return next(value for value in values_of(spec.space[called]) if value == wanted)
