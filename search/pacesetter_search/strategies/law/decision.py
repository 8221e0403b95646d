"""What ``law`` does next: at declared positions it plans the rest anew, or keeps to what runs."""

from typing import ClassVar

from pacesetter.protocol.segments import When
from pydantic import JsonValue

from pacesetter_search.contract import BudgetChanged, Context
from pacesetter_search.strategies.horizon.candidates import KEPT, Candidate
from pacesetter_search.strategies.horizon.decision import Decision
from pacesetter_search.strategies.horizon.outlook import Outlook
from pacesetter_search.strategies.horizon.parameters import HorizonParameters
from pacesetter_search.strategies.law.memory import Memory
from pacesetter_search.strategies.law.outlook import outlook
from pacesetter_search.strategies.law.parameters import LawParameters
from pacesetter_search.strategies.law.ways import BASE, ORIGIN, ways


class LawDecision(Decision):
    """One decision: as the horizon objective's, without probes."""

    origin: ClassVar[str] = ORIGIN

    def __init__(self, memory: Memory, context: Context, parameters: LawParameters) -> None:
        super().__init__(memory, context, HorizonParameters())
        self.known = memory
        self.wanted = parameters

    def consider(self, position: int) -> None:
        """Plan the rest anew at a declared position."""
        if self.silent():
            return
        self.pass_marks(position)
        if position < self.job.budget.total:
            self.plan_anew(position, "now")

    def another_budget(self, change: BudgetChanged) -> None:
        """Plan the rest to the new end at once, whatever was planned."""
        if self.silent() or change.position >= change.total:
            return
        self.memory.void()
        text = f"the budget is {change.total} instead of {change.before}: the rest is planned anew"
        self.note("another_budget", text, total=change.total, before=change.before)
        self.plan_anew(change.position, "now")

    def replan(self, position: int, lateness: int | None = None) -> None:
        """What was sent is void: follow the line as it is, up to the next decision."""
        del lateness
        super().replan(position)

    def plan_anew(self, position: int, when: When) -> None:
        """Send the way to go on that the laws see win, or the line as it is."""
        if self.memory.blind:
            self.keep(position, when)
            return
        found = ways(self.job, self.known, self.wanted, position)
        view = outlook(self.job, self.known, found, position, self.seed)
        if view is None:
            self.note("no_law", "no law can be fitted to the curve so far; the schedule goes on")
            self.keep(position, when)
            return
        index = view.best(self.wanted.win_probability)
        numbers = _numbers(view, index)
        if view.candidates[index].stays:
            text = "no other way to go on wins with enough certainty: keep your schedule"
            self.note("keep_your_schedule", text, **numbers)
            self.keep(position, when, numbers)
            return
        self.memory.changes += 1
        text = (
            f"{_words(view.candidates[index])} saves {view.gains[index]:.2%} at the end of the budget with "
            f"{view.wins[index]:.0%} certainty"
        )
        self.note("changed", text, **numbers)
        self.main(position, view.candidates[index].policy, when, text, numbers)

    def _probe(self, position: int, *, when: When) -> bool:
        """Return False: nothing is probed."""
        del position, when
        return False


def _numbers(view: Outlook, index: int) -> dict[str, JsonValue]:
    hope = view.most_promising()
    return {
        "way": _words(view.candidates[index]),
        "expected_gain": float(view.gains[index]),
        "win_probability": float(view.wins[index]),
        "most_promising": _words(view.candidates[hope]),
        "most_promising_gain": float(view.gains[hope]),
        "most_promising_win_probability": float(view.wins[hope]),
        **view.numbers,
    }


def _words(way: Candidate) -> str:
    shape = {KEPT: "the schedule", BASE: "the base schedule"}.get(way.shape, way.shape)
    return shape if way.multiplier == 1.0 else f"{shape} at {way.multiplier:g} of the rate"
