"""Cells of a study: trials that differ in their learning rate alone."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

from pacesetter.protocol import Choice, ExperimentSpec, Parameter, Value
from pydantic import Field

from pacesetter_search.contract import Parameters
from pacesetter_search.studies.contract import Finished
from pacesetter_search.studies.space import levels

SMALLEST, LARGEST = 1e-15, 1e15
"""Of what tells cells apart: further out its powers are no floats any more."""


class Names(Parameters):
    """What the proxy calls what the strategy has to know of it."""

    lr: str = "lr"
    """The peak learning rate."""
    steps: str = "steps"
    """Optimizer steps of the whole schedule: the horizon."""
    width: str = "width"
    depth: str = "depth"
    batch: str = "batch"
    """Samples or tokens of a step."""

    def of_cells(self) -> dict[str, str]:
        """Return what parameters of a cell are called, by what they are."""
        return {each.name: getattr(self, each.name) for each in fields(Cell)}


@dataclass(frozen=True, order=True, slots=True)
class Cell:
    """Where trials differ in their learning rate alone; 1 for what the experiment does not name.

    Attributes:
        width: In the proxy's own unit, as all others.
        depth: Of the model.
        steps: The horizon.
        batch: Of a step.
    """

    width: float = 1.0
    depth: float = 1.0
    steps: float = 1.0
    batch: float = 1.0

    @classmethod
    def of(cls, parameters: Mapping[str, Value], names: Names) -> "Cell":
        """Return the cell of a trial's parameters.

        Raises:
            ValueError: One of them is no number above 0 or out of bounds, or the schedule is shorter than a step.
        """
        named = names.of_cells()
        return cls(
            **{
                each: number(parameters[name], name)
                for each, name in named.items()
                if name in parameters
            }
        ).checked(names)

    def checked(self, names: Names) -> "Cell":
        """Return it.

        Raises:
            ValueError: A value is out of bounds, or the schedule is shorter than a step.
        """
        for each, name in names.of_cells().items():
            value = getattr(self, each)
            if not SMALLEST <= value <= LARGEST:
                raise ValueError(
                    f"{name} is {value:g}; where trials are told apart by it, it lies between {SMALLEST:g} and "
                    f"{LARGEST:g}: give it in another unit"
                )
        if self.steps < 1.0:
            raise ValueError(
                f"{names.steps} is {self.steps:g}, and a schedule has one step or more; give it in optimizer steps, or "
                "in another unit of which the shortest schedule has one"
            )
        return self

    def words(self, names: Names, of: Iterable[str]) -> str:
        """Return it in words, as far as it is named in ``of``."""
        named, among = names.of_cells(), set(of)
        said = [f"{name} {getattr(self, each):g}" for each, name in named.items() if name in among]
        return ", ".join(said) or "the model as it is"


class Place(Parameters):
    """A target in the proxy's own parameters; None: as the experiment fixes it."""

    width: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    depth: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    steps: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    batch: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)

    def cell(self, spec: ExperimentSpec, names: Names) -> Cell:
        """Return its cell, with what the experiment fixes where it says nothing.

        Raises:
            ValueError: It does not say what trials differ in, says what no trial has, or is out of bounds.
        """
        told = {name: value for name, value in self.model_dump().items() if value is not None}
        called = names.of_cells()
        missing = [
            called[each] for each in called if called[each] in spec.space and each not in told
        ]
        if missing:
            raise ValueError(
                f"the target does not say {', '.join(missing)}, which the space has; give where you will train"
            )
        unknown = [called[each] for each in told if called[each] not in {*spec.space, *spec.fixed}]
        if unknown:
            raise ValueError(
                f"the target says {', '.join(unknown)}, which no trial has; give trials theirs in `fixed`, or name it "
                "as the proxy does in `names`"
            )
        own = Cell.of(spec.fixed, names)
        return replace(own, **told).checked(names)


def number(value: Value, name: str) -> float:
    """Return a value that has to be a number above 0.

    Raises:
        ValueError: It is not.
    """
    if isinstance(value, bool | str) or not 0.0 < value < math.inf:
        raise ValueError(f"{name} is {value!r}; where trials are told apart by it, it is above 0")
    return float(value)


def by_cell(finished: Iterable[Finished], names: Names) -> dict[Cell, list[Finished]]:
    """Return trials with a result by their cell, cells in order, trials by number."""
    found: dict[Cell, list[Finished]] = {}
    for one in sorted(finished, key=lambda each: each.number):
        if one.status == "done":
            found.setdefault(Cell.of(one.parameters, names), []).append(one)
    return dict(sorted(found.items()))


def values_of(parameter: Parameter) -> tuple[Value, ...]:
    """Return what is tried of a parameter that tells cells apart: all of a choice, a range by octaves."""
    if isinstance(parameter, Choice):
        return parameter.values
    octaves = math.log2(parameter.high / parameter.low) if parameter.low > 0.0 else 1.0
    return levels(parameter, 1 + max(1, round(octaves)))
