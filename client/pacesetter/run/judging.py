"""Judges segments by what the training code allows and what this job can do, whoever sent them."""

from pacesetter.judgement import check_segment
from pacesetter.protocol import CURRENT, JobSpec, Segment
from pacesetter.run.follower import Follower
from pacesetter.run.rates import LearningRates


class Judge:
    """Says why a segment is refused.

    Attributes:
        spec: The job as it was registered; known before the first segment is.
        units_per_step: What the last step consumed of the job's clock.
    """

    def __init__(self, follower: Follower, rates: LearningRates) -> None:
        self.spec: JobSpec | None = None
        self.units_per_step = 1.0
        self._follower = follower
        self._rates = rates

    def refusal(
        self, segment: Segment, left_multipliers: list[float] | None
    ) -> tuple[str, str] | None:
        """Return code and detail of why the limits or abilities forbid a segment.

        Args:
            segment: The whole of it is judged, where it arrives.
            left_multipliers: Of each group on the main line, as it was left.
        """
        spec, follower = self.spec, self._follower
        assert spec is not None
        before = self._multipliers_before(segment) if follower.on_main_line else left_multipliers
        refusal = check_segment(
            segment,
            spec.limits,
            current_multiplier=before,
            budget_total=follower.total,
            registered_total=spec.budget.total,
            clock=spec.budget.clock,
            base_schedule=spec.base,
            capabilities=spec.capabilities,
            groups=spec.groups,
            position=follower.main_position if segment.source == CURRENT else None,
            units_per_step=self.units_per_step,
        )
        return None if refusal is None else (refusal.code, refusal.detail)

    def _multipliers_before(self, segment: Segment) -> list[float]:
        """Return the multipliers of the main line's last step before ``segment``: often one that is yet to come."""
        if segment.source == CURRENT and segment.start > self._follower.position:
            return self._rates.multipliers_at(segment.start - self.units_per_step)
        return self._rates.multipliers()
