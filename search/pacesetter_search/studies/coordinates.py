"""What a coordinate check says of carrying a best rate over widths."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pacesetter.protocol.coordinates import BOUND

from pacesetter_search.studies.result import TransferStudy


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Whether activations keep their size over widths.

    Attributes:
        widths: What was compared; what is to be compared where nothing was.
        passed: None: nobody knows.
        slopes: By module, log2 of size over log2 width.
        problem: Why nobody knows.
    """

    widths: tuple[int, ...]
    passed: bool | None
    slopes: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""


def check_warnings(study: TransferStudy, found: Coordinates | None) -> Iterator[str]:
    """Yield what has to be minded where a study carries a best rate over widths, in sentences.

    Args:
        study: Its answer.
        found: Its check; None where it asked for none.
    """
    ran = [one.cell.width for one in study.cells if one.found is not None]
    wider = bool(ran) and study.target.width > max(ran)
    if found is None:
        if wider:
            yield (
                "nobody has checked that rates carry over widths here: give the experiment `coordinates`, widths to "
                "compare up to the target's"
            )
        return
    if found.passed is None:
        yield f"the check of coordinates says nothing: {found.problem}"
        return
    low, high = found.widths[0], found.widths[-1]
    if not found.passed:
        yield (
            f"activations do not keep their size over widths {low} to {high}{_worst(found)}, so rates do not carry "
            "over them in this parametrization: believe no answer from other widths than the target's"
        )
    elif wider and study.target.width > high:
        yield (
            f"coordinates were checked up to width {high}, and the target's is {study.target.width:g}: give the "
            "experiment wider `coordinates`"
        )


def _worst(found: Coordinates) -> str:
    """Return in words which module is furthest out; none is where sizes were no numbers, which no slope can say."""
    module = max(found.slopes, key=lambda name: abs(found.slopes[name]), default="")
    if not module or abs(found.slopes[module]) <= BOUND:
        return " (some vanish or are no numbers)"
    return f" (those of {module} go with width^{found.slopes[module]:.3g})"
