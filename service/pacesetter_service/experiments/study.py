"""What the trials of an experiment say of the best peak elsewhere: its transfer study."""

from pacesetter.protocol import Name
from pacesetter_search.studies import Names, Place, TransferStudy, transfer_study
from pydantic import ValidationError

from pacesetter_service.errors import Refused
from pacesetter_service.experiments.questions import Question

HINT = (
    "give width, depth, steps and batch of the target in the proxy's own units, as far as the space has them; it "
    "needs a range of learning rates in octaves"
)


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
