"""``fedhyper``: the server's rate of federated rounds, as a job whose rounds are its steps.

The server attaches with an optimizer of its own: the gradient is a round's aggregated update, one ``run.step`` a round.
FedHyper-G [Wang2024, arXiv 2310.03156] is then the additive hypergradient rule with step size 1 around a rate of 1:
``alpha <- clip(alpha + Delta . Delta_before, 1/3, 3)``. The two local forms run on the clients and are plain functions
(:mod:`pacesetter.federated`). It has no step size, so what it does depends on the scale of the updates.
"""

from typing import ClassVar

from pacesetter.feedback import Hypergradient
from pacesetter.protocol import Measurements, Reason, SegmentPlan
from pacesetter.schedules import Tier
from pydantic import Field

from pacesetter_search.contract import (
    Advance,
    Context,
    Event,
    JobFacts,
    LogEntry,
    Parameters,
    State,
    Strategy,
)
from pacesetter_search.strategies.fixed import Fixed


class FedHyperParameters(Parameters):
    """What a user may set."""

    step_size: float = Field(default=1.0, gt=0.0)
    """Of the rate; 1 as published. Less where updates are large."""
    bound: float = Field(default=3.0, gt=1.0, le=100.0)
    """The rate stays within 1/bound and bound of the base schedule; 3 as published."""


class FedHyper(Strategy):
    """Moves the server's rate of federated rounds by the agreement of successive updates (FedHyper-G)."""

    name: ClassVar[str] = "fedhyper"
    tier: ClassVar[Tier] = "experimental"
    needs: ClassVar[str] = "a client that runs the rule 'hypergradient', max_multiplier of 3"
    default_cap: ClassVar[float] = 0.0
    parameters_type: ClassVar[type[Parameters]] = FedHyperParameters

    def obstacles(self, job: JobFacts) -> list[str]:
        """Return why this strategy cannot steer ``job``, one sentence each."""
        found = []
        if "hypergradient" not in job.capabilities.feedback:
            found.append(
                "its client cannot run the feedback rule 'hypergradient'; update the training code's pacesetter"
            )
        bound, highest = self._parameters.bound, job.limits.max_multiplier
        if highest is None or highest < bound * job.base.peak:
            found.append(
                f"its rate may rise to {bound:g} times the base, and the limits allow {highest or 1:g}; set "
                f"max_multiplier={bound * job.base.peak:g}, or a smaller bound"
            )
        largest = job.limits.max_change_per_step
        if largest is not None and largest < bound * bound:
            found.append(
                f"its rate may go from one bound to the other in a round, and max_change_per_step is {largest:g}; set "
                f"{bound * bound:g} or more"
            )
        return found

    def initial(self, job: JobFacts) -> State:
        """Return the state before any event."""
        return Fixed(Parameters()).initial(job)

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        """Send the base schedule under the rule, and again where the job has come off it."""
        if isinstance(event.body, Measurements):
            return Advance(state)
        found = Fixed(Parameters()).advance(state, event, context)
        return Advance(
            found.state,
            tuple(self._regulated(plan) for plan in found.segments),
            tuple(
                LogEntry("fedhyper", f"{each.text}, under FedHyper-G", each.numbers)
                for each in found.log
            ),
        )

    def _regulated(self, plan: SegmentPlan) -> SegmentPlan:
        bound = self._parameters.bound
        rule = Hypergradient(
            form="additive",
            beta=self._parameters.step_size,
            lowest=1.0 / bound,
            highest=bound,
            max_change_per_step=bound * bound,
            rise=1e6,
        )
        text = (
            f"{plan.reason.text}, multiplied by FedHyper-G within {1.0 / bound:.3g} and {bound:g}"
        )
        reason = Reason(text=text, numbers=rule.model_dump())
        return plan.model_copy(update={"feedback": rule, "reason": reason, "origin": self.name})

    @property
    def _parameters(self) -> FedHyperParameters:
        parameters = self.parameters
        assert isinstance(parameters, FedHyperParameters)
        return parameters
