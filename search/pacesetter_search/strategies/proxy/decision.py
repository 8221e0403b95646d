"""What ``proxy`` does when the proxies speak: keep the main line, move it, or start it again."""

from collections.abc import Iterator
from typing import cast

import numpy as np
from pacesetter.errors import ScheduleError
from pacesetter.protocol import INITIAL, Reason, SegmentPlan
from pacesetter.protocol.segments import When
from pacesetter.schedules import Constant, Schedule, Warmup
from pacesetter.schedules.horizon import join
from pydantic import JsonValue, ValidationError

from pacesetter_search.contract import Studied
from pacesetter_search.strategies.following import main_segment
from pacesetter_search.strategies.proxy.memory import Heard, ProxyMemory
from pacesetter_search.strategies.proxy.parameters import ProxyParameters
from pacesetter_search.strategies.zero_tuning import plans, shapes
from pacesetter_search.strategies.zero_tuning.decision import Decision, summary
from pacesetter_search.strategies.zero_tuning.knowledge import ORIGIN, Knowledge, gather
from pacesetter_search.strategies.zero_tuning.obstacles import obstacles
from pacesetter_search.strategies.zero_tuning.prior import Component

LEAST_OCTAVES = 0.25
"""Below it a move is not worth its disturbance: nobody refines a sweep by quarter octaves."""

LEAST_GAIN = 0.002
"""Of the log loss that a move has to be expected to save: what two equal runs of one loss end apart, or so."""

MOST_MOVES = 8
"""Moves after which the main line stays as it is."""

UNSURE = 1.0
"""Octaves of sd above which rates whose best one is at their end are waited out: a first sweep of which a part has
ended, as a rule."""

SUREST = 0.05
"""Octaves of sd below which no answer is believed: half a step of the grid of rates."""

RAMP = 0.02
"""Share of the budget over which a rate is raised in the middle of the main line, if its warm-up was shorter."""

LONGEST_RAMP = 0.25
"""Of the budget: what is slower still would take the rest of it."""


class ProxyDecision(Decision):
    """One decision: that of ``zero_tuning``, with what the proxies said."""

    @property
    def known(self) -> ProxyMemory:
        """The memory, as what it is here."""
        return cast(ProxyMemory, self.memory)

    @property
    def wanted(self) -> ProxyParameters:
        """The parameters, as what they are here."""
        return cast(ProxyParameters, self.parameters)

    def knowledge(self) -> Knowledge:
        """Return what is known of the job by now, what the proxies said among it."""
        heard = self.known.heard
        if heard is None:
            return super().knowledge()
        # The proxies run schedules of the base's shape; the posterior is about the rungs'.
        at_rungs = heard.log2_lr - shapes.octaves_from_rungs(self.job.base)
        told = Component(self.wanted.trust_proxies, at_rungs, heard.sd)
        return gather(self.job, self.memory, self.parameters, told)

    def hear(self, body: Studied) -> None:
        """Take in what the proxies say, and move the main line where that pays."""
        memory = self.known
        numbers = _numbers(body)
        if not self._take(body):
            return
        if not body.bounded and not body.over and body.sd > UNSURE:
            text = "the best rate is at the end of those that were run so far, and more will come: it waits"
            self.note("waits", text, **numbers)
            return
        memory.unanswered = memory.restarting is not None
        share = memory.at / self.job.budget.total
        if memory.aside and share <= self.wanted.move_until:
            memory.chosen, memory.plan = None, 0  # handed back, it goes where they say by then
        if memory.quiet or memory.aside or memory.unanswered:
            self.note("heard", "the proxies were heard; the main line is not moved now", **numbers)
            return
        if memory.watch not in ("watching", "off") or memory.chosen is None:
            self.note("heard", "the proxies were heard; the main line is not theirs now", **numbers)
            return
        memory.main_at = memory.at
        self._reconsider(numbers)

    def restarted(self, position: int) -> None:
        """Note that the main line has begun again, and answer what the proxies said meanwhile."""
        memory = self.known
        memory.main_at = position
        if memory.unanswered:
            memory.unanswered = False
            self._reconsider({})

    def heard_before(self, said: JsonValue) -> None:
        """Take in what an experiment said before the job began: it then begins at that."""
        try:
            body = Studied.model_validate(said)
        except ValidationError as error:
            self.note("no_study", f"what the experiment said cannot be read: {error}")
            return
        if self._take(body):
            self.note("heard", "the experiment was heard before the job began", **_numbers(body))

    def _take(self, body: Studied) -> bool:
        """Keep what was said; return False where that is nothing yet, and say so."""
        if body.log2_lr is None:
            self.note("no_study", f"the proxies say nothing yet: {body.problem}", **_numbers(body))
            return False
        self.known.heard = Heard(log2_lr=body.log2_lr, sd=max(body.sd, SUREST), trials=body.trials)
        return True

    def _reconsider(self, numbers: dict[str, JsonValue]) -> None:
        """Move the main line to the rate of least expected regret, if it saves enough of what is left."""
        memory, share = self.known, self.memory.main_at / self.job.budget.total
        if share > self.wanted.move_until or memory.moves >= MOST_MOVES:
            text = "it is too late to move the main line"
            self.note("too_late", text, moves=memory.moves, share=share, **numbers)
            return
        knowledge = self.knowledge()
        best, regret = self.best(knowledge)
        present = cast(float, memory.chosen)
        saved = self._regret(knowledge, present) - regret
        numbers |= {
            "log2_lr_present": present,
            "log2_lr_best": best,
            "expected_gain": saved,
            **summary(knowledge.posterior, self.shift()),
        }
        if abs(best - present) < LEAST_OCTAVES or saved * (1.0 - share) < LEAST_GAIN:
            text = f"the main line keeps its peak of {2.0**present:.3g}: another would save {saved:.2g} of the log loss"
            self.note("keeps", text, **numbers)
            return
        memory.void()
        memory.chosen, memory.plan, memory.moves = best, 0, memory.moves + 1
        memory.goes_on = not (
            self._pays_to_start_over(knowledge, saved, share) and self._may_start_over()
        )
        text = (
            f"{memory.heard.trials if memory.heard else 0} trials put the peak at {2.0**best:.3g} instead of "
            f"{2.0**present:.3g}, which saves {saved:.2g} of the log loss"
        )
        self.note("moves", text, starts_over=not memory.goes_on, **numbers)
        self._settle("now", knowledge)

    def _regret(self, knowledge: Knowledge, log2_lr: float) -> float:
        """Return the expected excess of the final log loss at a peak of the main line."""
        return float(knowledge.posterior.regret(np.array([log2_lr - self.shift()]))[0])

    def _pays_to_start_over(self, knowledge: Knowledge, saved: float, share: float) -> bool:
        """Return whether training ``share`` again at the new rate saves more than its steps would.

        What a wrong rate costs is taken to be in proportion to how long it lasts: from here on a move saves the rest.
        """
        return self.wanted.start_over and saved * share > self.wanted.margin * knowledge.cost(share)

    def _may_start_over(self) -> bool:
        """Return whether the job would take a main line from its untrained model."""
        self.memory.goes_on = False
        ways = super()._ways("now", Reason(text="a new start"))
        return any(plan.source == INITIAL for plan in ways)

    def gave_up_restart(self) -> None:
        """Forget a new start that has not come: what is sent next goes to where the proxies say by now."""
        memory = self.known
        if memory.restarting is None:
            return
        memory.restarting, memory.goes_on, memory.unanswered = None, True, False
        memory.chosen, memory.plan = None, 0

    # -- the main line --

    def _may_probe(self) -> bool:
        """Whether the job looks for itself: before its main line has begun, where it can."""
        memory = self.known
        first = memory.main_at == 0 and memory.moves == 0 and memory.chosen is None
        return first and self._left() > 0 and not any(obstacles(self.job)) and super()._may_probe()

    def _left(self) -> int:
        allowed = self.wanted.probe_share * self.job.overhead_cap * self.job.budget.total
        return min(int(allowed) - self.memory.spent, super()._left())

    def _ways(self, when: When, reason: Reason) -> Iterator[SegmentPlan]:
        """Yield ways to run the main line, best first: where it goes on at a higher rate, it rises to it slowly."""
        memory, ways = self.known, list(super()._ways(when, reason))
        yield from (plan for plan in ways if plan.source == INITIAL)
        if memory.chosen is not None:
            policy = shapes.main(self.job, memory.chosen)
            for length in self._ramps():
                ramped = self._ramped(policy, length)
                if ramped is not None:
                    plan = main_segment(self.job, memory.main_at, ramped, reason, ORIGIN)
                    yield from plans.accepted(self.job, plan.model_copy(update={"when": when}))
        yield from (plan for plan in ways if plan.source != INITIAL)

    def _ramps(self) -> Iterator[int]:
        """Yield how long a rise may take, shortest first: a job is further than it has said, and may refuse one."""
        warmup = 0 if self.job.base.warmup is None else self.job.base.warmup.length
        length = max(warmup, round(RAMP * self.job.budget.total), 1)
        while length <= LONGEST_RAMP * self.job.budget.total:
            yield length
            length *= 2

    def _ramped(self, policy: Schedule, length: int) -> Schedule | None:
        """Return a policy with a rise to it from what runs; None where it is no higher."""
        line, at, total = self.known.line, self.known.main_at, self.job.budget.total
        if line is None or at == 0:
            return None
        low, high = line.at(at), policy.at(at + length)
        if at + length >= total or not 0.0 < low < high:
            return None
        rise = Schedule(
            zero=at,
            length=total - at,
            peak=high,
            unit=policy.unit,
            warmup=Warmup(length=length, start=low / high),
            body=Constant(),
        )
        try:
            return join(rise, policy, at + length)
        except ScheduleError:
            return None

    def _choose(self, knowledge: Knowledge) -> Reason:
        """Choose the rate of the main line where it has none yet; return why."""
        memory, heard = self.known, self.known.heard
        best, _ = self.best(knowledge)
        if memory.chosen is None:
            memory.chosen = best
        lr, regret = 2.0**memory.chosen, self._regret(knowledge, memory.chosen)
        source = "what is known beforehand" if heard is None else f"{heard.trials} trials beside it"
        if memory.measured:
            source += f" and {len(memory.measured)} rungs of its own"
        text = f"the main line runs at peak learning rate {lr:.3g}, by {source} (expected regret {regret:.2g})"
        numbers: dict[str, JsonValue] = {
            "lr": lr,
            "log2_lr": memory.chosen,
            "expected_regret": regret,
            "trials": 0 if heard is None else heard.trials,
            "rungs": len(memory.measured),
            "spent": memory.spent + memory.lost,
            "moves": memory.moves,
            **summary(knowledge.posterior, self.shift()),
        }
        return Reason(text=text, numbers=numbers)

    def send(self, plan: SegmentPlan, kind: str, log2_lr: float) -> None:
        """Answer with ``plan``, and remember it."""
        memory = self.known
        if isinstance(plan.policy, Schedule):
            memory.line = plan.policy
        if plan.source == INITIAL and memory.main_at > 0:
            memory.restarting = self.next_seq
        super().send(plan, kind, log2_lr)


def _numbers(body: Studied) -> dict[str, JsonValue]:
    return {
        "experiment": body.experiment,
        "trials": body.trials,
        "over": body.over,
        "study_log2_lr": body.log2_lr,
        "study_sd": body.sd,
        "share_of_a_run": body.share,
        "dominant": body.dominant,
        "warnings": list(body.warnings),
    }
