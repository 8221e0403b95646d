"""The job that an outlook is for, and the law that it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass

from pacesetter.curves import Points
from pacesetter.schedules import Schedule

from pacesetter_search.laws import AnyFittedLaw, LawNotFitted
from pacesetter_search.laws.identification import DECAY_NOT_TOLD
from pacesetter_search.laws.stored import FittedTo, NamedCurve, fit_stored
from pacesetter_search.prediction import BEYOND

SHARES = (0.05, 0.1, 0.2, 0.4)
"""Of the budget: decays that are looked at where none is asked for."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A job on its main line, in steps.

    Attributes:
        name: That answers call its curve by.
        points: What it measured so far.
        plan: The schedule in force.
        base_lr: Of what its multipliers are.
        at: Where it stands.
        total: Where its budget ends.
    """

    name: str
    points: Points
    plan: Schedule
    base_lr: float
    at: int
    total: int

    @property
    def scale(self) -> float:
        """Learning rate of a value of the plan that is 1."""
        return 1.0 if self.plan.unit == "absolute" else self.base_lr


@dataclass(frozen=True, slots=True)
class Basis:
    """A law that an outlook may rest on.

    Attributes:
        law: In steps of the job.
        evidence: The curves that it was fitted to.
        id: Of a stored law; None: it was fitted to the job's own curve.
        octaves: Of parameters, between its runs and the job.
    """

    law: AnyFittedLaw
    evidence: tuple[FittedTo, ...]
    id: str | None = None
    octaves: float = 0.0

    @property
    def tells_decay(self) -> bool:
        """Whether its curves tell what a fall of the rate brings."""
        return DECAY_NOT_TOLD not in self.law.warnings


def fit_own(standing: Standing) -> Basis:
    """Return a law fitted to a job's own curve.

    Raises:
        LawNotFitted: It carries no fit; the message says why.
        ValueError: It has no finite loss left.
    """
    return Basis(*fit_stored([NamedCurve(standing.name, standing.points)]))


def default_lengths(at: int, total: int) -> tuple[int, ...]:
    """Return the decays that are looked at where none is asked for: shares of the budget that are left of it."""
    fitting = {max(1, round(share * total)) for share in SHARES}
    return tuple(sorted(each for each in fitting if each <= total - at)) or (total - at,)


def choose_basis(own: Basis | str, family: Sequence[Basis], total: int) -> Basis:
    """Return the law to rest on: the job's own where it tells decay, else its family's, nearest in size first.

    Args:
        own: Fitted to the job's own curve, or why none could be.
        family: Stored laws of its family.
        total: Position at which its budget ends; none is asked for more than 16 times its longest run.

    Raises:
        LawNotFitted: There is none.
    """
    candidates = [*([] if isinstance(own, str) else [own]), *family]
    reaching = [one for one in candidates if total <= BEYOND * (one.law.longest or total)]
    if reaching:
        return next((one for one in reaching if one.tells_decay), reaching[0])
    why = own
    if not isinstance(own, str):
        why = (
            f"its budget of {total:,} steps is more than {BEYOND} times the {own.law.longest:,} of its curve so far; "
            "ask again later"
        )
    raise LawNotFitted(f"{why} (and no stored law of its family reaches so far)")
