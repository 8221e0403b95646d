"""A guarded job in memory whose budget a person changes while it runs, as the service does it."""

from dataclasses import dataclass, field, replace

from pacesetter.protocol import PERSON, Budget, Reason, SegmentPlan
from pacesetter.schedules.horizon import for_budget
from pacesetter_search.contract import BudgetChanged, Overridden

from tests.search.support.guarded import GuardedJob


@dataclass
class ProlongedJob(GuardedJob):
    """Changes its budget on the main line.

    Attributes:
        changes: Pairs of a main-line position and the budget that is set there, by position.
        hand_back_after: Steps after which a job that counts as overridden is handed back to its strategy.
    """

    changes: list[tuple[int, int]] = field(default_factory=list)
    hand_back_after: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.handed_back_at: int | None = None
        self.carried: list[tuple[int, int]] = []
        """Number of the first segment after each change, and the budget then."""

    def run(self) -> "ProlongedJob":
        """Run the job to its end."""
        super().run()
        return self

    def _step(self) -> str | None:
        if self.follower.on_main_line:
            if self.changes and self.follower.position >= self.changes[0][0]:
                self._change(self.changes.pop(0)[1])
            elif self.handed_back_at is not None and self.steps >= self.handed_back_at:
                self.handed_back_at = None
                self._tell_overridden(active=False)
            if self._took_up_something():
                return None
        return super()._step()

    def _took_up_something(self) -> bool:
        while self._receive():
            self._perform(self.follower.turn())
        return self.follower.finished or not self.follower.on_main_line

    def _change(self, total: int) -> None:
        position, before = self.follower.position, self.facts.budget.total
        if total <= position or total == before:
            return
        base = for_budget(self.facts.base, total, position, before=before)
        budget = Budget(clock=self.facts.budget.clock, total=total)
        self.facts = replace(self.facts, budget=budget, base=base)
        self.controller.facts, self.controller.budget = self.facts, total
        self.carried.append((len(self.controller.segments) + 1, total))
        if self.strategy.handles_budget:
            self._tell(BudgetChanged(total=total, before=before, position=position))
            return
        own = self._own(total, before)
        self.inbox = [(self.steps, self.controller.send(own, 0))]
        self._tell_overridden(active=True)
        self.handed_back_at = self.steps + self.hand_back_after

    def _own(self, total: int, before: int) -> SegmentPlan:
        main, position = self.follower.main, self.follower.position
        return SegmentPlan(
            kind="main",
            when="now",
            start=position,
            length=total - position,
            policy=for_budget(main.policy, total, position, before=before),
            feedback=main.feedback,
            reason=Reason(text="another budget"),
            origin=PERSON,
        )

    def _tell_overridden(self, *, active: bool) -> None:
        seq = len(self.controller.segments)
        self._tell(Overridden(active=active, seq=seq, position=self.follower.position))
