"""The first step of a segment: verified, and acknowledged with what the optimizer showed."""

from collections.abc import Iterator

from pacesetter.protocol import Segment
from pacesetter.run.rates import Group, LearningRates
from pacesetter.run.reporting import Alert, GroupStep, Reporter
from pacesetter.run.verification import Verifier


class FirstStep:
    """Acknowledges a segment once it has made a step.

    Attributes:
        awaited: The segment whose first step comes next.
        applied: Segments acknowledged as applied.
    """

    def __init__(self, rates: LearningRates, reporter: Reporter) -> None:
        self.awaited: Segment | None = None
        self.applied = 0
        self._rates = rates
        self._reporter = reporter
        self._verifiers = [Verifier(each.optimizer, each.index) for each in rates.groups]
        self._lr_before: list[float] = []

    def segment_ends(self) -> None:
        """Keep what the optimizers show before another segment drives them."""
        self._lr_before = [group.read_back for group in self._rates.groups]

    def arm(self) -> None:
        """Prepare the verification of the step that comes."""
        for verifier in self._verifiers:
            verifier.arm()

    def acknowledge(self, position: int) -> Iterator[Alert]:
        """Acknowledge the segment whose first step this was, at ``position``; yield what a person should know."""
        segment, self.awaited = self.awaited, None
        if segment is None:
            return
        groups = tuple(
            GroupStep(group.name, before, group.announced, group.read_back, verifier.collect())
            for group, before, verifier in zip(
                self._rates.groups, self._lr_before, self._verifiers, strict=True
            )
        )
        self.applied += 1
        self._reporter.applied(segment, position, groups)
        for group in self._rates.groups:
            if not group.applied:
                yield _not_shown(group)


def _not_shown(group: Group) -> Alert:
    detail = (
        f"group {group.name!r} shows {group.read_back:.9g} after {group.announced:.9g} was written; a learning rate "
        "held in a 16-bit Tensor cannot show it: use a float32 or float64 one"
    )
    numbers: dict[str, float | str] = {
        "group": group.name,
        "announced": group.announced,
        "shown": group.read_back,
    }
    return "LR_NOT_APPLIED", detail, numbers
