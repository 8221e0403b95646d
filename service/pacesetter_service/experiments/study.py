"""What the trials of an experiment say of the best peak elsewhere: its transfer study."""

from dataclasses import dataclass, replace

from pacesetter.protocol import Name
from pacesetter_search.studies import Names, Place, TransferStudy, transfer_study
from pacesetter_search.studies.coordinates import Coordinates, check_warnings
from pydantic import ValidationError

from pacesetter_service.errors import Refused
from pacesetter_service.experiments.questions import Question
from pacesetter_service.experiments.views import CoordinatesView

HINT = (
    "give width, depth, steps and batch of the target in the proxy's own units, as far as the space has them; it "
    "needs a range of learning rates in octaves"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A study, with the check of coordinates that its experiment asked for, if it did."""

    study: TransferStudy
    coordinates: CoordinatesView | None


def answer(question: Question, check: CoordinatesView | None, target: Place | None) -> Answer:
    """Return what :func:`study_of` does, with the check and what that says of it.

    Raises:
        Refused: The trials say nothing of the target (``NO_STUDY``).
    """
    study = study_of(question, target)
    found = None
    if check is not None:
        passed = None if check.status in ("pending", "missing") else check.status == "passed"
        problem = check.problem or "it is still to be made"
        found = Coordinates(check.widths, passed, check.slopes, problem)
    warnings = (*study.warnings, *check_warnings(study, found))
    return Answer(replace(study, warnings=warnings), check)


def study_of(question: Question, target: Place | None) -> TransferStudy:
    """Return what the ended trials of an experiment say of a target.

    Args:
        question: The experiment with its trials.
        target: None: the widest, deepest and longest of what the trials have.

    Raises:
        Refused: They say nothing of it (``NO_STUDY``).
    """
    try:
        return transfer_study(question.spec, question.finished, target, names_of(question))
    except ValueError as error:
        raise Refused(f"there is no study: {error}", code="NO_STUDY", hint=HINT) from error


def names_of(question: Question) -> Names:
    """Return what the proxy calls what trials differ in, as the strategy was told."""
    given: dict[Name, Name] = question.parameters.get("names", {})
    try:
        return Names.model_validate(given)
    except ValidationError:
        return Names()  # a parameter of that name that means something else
