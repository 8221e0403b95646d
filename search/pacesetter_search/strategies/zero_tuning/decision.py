"""What ``zero_tuning`` does next, given its memory: the range test, a rung, or the main line."""

from collections.abc import Iterator

from pacesetter.protocol import Reason, SegmentPlan
from pacesetter.protocol.segments import When
from pydantic import JsonValue

from pacesetter_search.contract import Context, JobFacts, LogEntry
from pacesetter_search.strategies.zero_tuning import plans, range_test, shapes, watching
from pacesetter_search.strategies.zero_tuning.knowledge import Bounds, Knowledge, bounds, gather
from pacesetter_search.strategies.zero_tuning.memory import Memory, Queued, Sent, Window
from pacesetter_search.strategies.zero_tuning.parameters import ZeroTuningParameters
from pacesetter_search.strategies.zero_tuning.posterior import Posterior
from pacesetter_search.strategies.zero_tuning.purchase import Offer, best_offer
from pacesetter_search.strategies.zero_tuning.value import Valuation

PROBING_REPLANS = 3
MOST_REPLANS = 8
"""Plans in a row that came to nothing after which nothing is probed, and after which the job is left alone."""

MOST_FAILURES = 6
"""Refusals, and rungs that left no loss, after which nothing is probed any more."""


class Decision:
    """One decision: reads and writes the memory, collects segments and log."""

    def __init__(self, memory: Memory, context: Context, parameters: ZeroTuningParameters) -> None:
        self.memory = memory
        self.context = context
        self.job: JobFacts = context.job
        self.parameters = parameters
        self.segments: list[SegmentPlan] = []
        self.log: list[LogEntry] = []

    def go_on(self, *, when: When = "end") -> None:
        """Send the next probe, or the main line once nothing is worth probing any more."""
        memory = self.memory
        if memory.quiet or memory.aside:
            return
        if memory.chosen is not None or not self._may_probe():
            self._settle(when)
            return
        if memory.queued and self._send_queued(when):
            return
        knowledge = self.knowledge()
        valuation = Valuation(knowledge.posterior, knowledge.start, self.context.generator())
        probe = self._rung if memory.tested else self._range_test
        if not probe(knowledge, valuation, when):
            self._settle(when, knowledge)

    def replan(self, position: int) -> None:
        """Plan anew from the main line at ``position``: what was sent is void."""
        memory = self.memory
        memory.void()
        memory.main_at = position
        memory.replans += 1
        if memory.quiet or memory.aside:
            return
        if memory.replans > MOST_REPLANS:
            memory.quiet = True
            self.note("gave_up", f"{MOST_REPLANS} plans came to nothing; the job goes on alone")
            return
        self.go_on(when="now")

    def note(self, code: str, text: str, **numbers: JsonValue) -> None:
        """Add a line to the audit trail."""
        self.log.append(LogEntry(code, text, numbers))

    # -- probes --

    def _may_probe(self) -> bool:
        memory = self.memory
        stands = memory.main_at == 0 or (memory.may_start_over and self.job.limits.allow_rollback)
        tries = (
            memory.replans <= PROBING_REPLANS and memory.refusals + memory.unread <= MOST_FAILURES
        )
        return memory.may_probe and stands and tries

    def _left(self) -> int:
        """Return the clock units that probes may still take, what starting over gives up put aside."""
        memory = self.memory
        allowed = int(self.job.overhead_cap * self.job.budget.total)
        return allowed - memory.spent - memory.lost - memory.main_at - memory.overshoot

    def _range_test(self, knowledge: Knowledge, valuation: Valuation, when: When) -> bool:
        """Send the range test; return False if neither it nor the rungs it leads to would be worth their cost."""
        job, memory = self.job, self.memory
        highest = self._probe_bounds().highest
        if not self._knows("table") or highest < range_test.LOWEST + range_test.NARROWEST:
            memory.tested = True
            return self._rung(knowledge, valuation, when)
        longest = job.limits.max_probe_length or job.budget.total
        length = range_test.length_of(job.budget.total, job.budget.clock, longest)
        gain, cost = self._prospect(knowledge, valuation, length / job.budget.total)
        numbers: dict[str, JsonValue] = {
            "expected_gain": gain,
            "cost": cost,
            "worth_of_knowing": valuation.perfect(),
            **summary(knowledge.posterior),
        }
        if length > self._left() or gain <= self.parameters.margin * cost:
            text = f"asking would gain {gain:.2g} of the log loss and cost {cost:.2g}"
            self.note("not_bought", text, **numbers)
            return False
        plan = plans.range_plan(job, memory, length, highest, when)
        self.note("range_test", plan.reason.text, **numbers)
        self.send(plan, "range", highest)
        return True

    def _prospect(
        self, knowledge: Knowledge, valuation: Valuation, share: float
    ) -> tuple[float, float]:
        """Return gain and cost of a range test of ``share`` with the best that can follow: nothing, or a plan."""
        left = self._left() / self.job.budget.total - share
        margin = self.parameters.margin
        offer = best_offer(knowledge, valuation, left, self._probe_bounds(), margin)
        alone = valuation.range_test(), knowledge.cost(share)
        if offer is None:
            return alone
        with_plan = offer.gain, knowledge.cost(share + offer.plan.share)
        return max(alone, with_plan, key=lambda each: each[0] - margin * each[1])

    def _rung(self, knowledge: Knowledge, valuation: Valuation, when: When) -> bool:
        """Send the next rung; return False if none is worth its cost, or allowed."""
        job, memory, margin = self.job, self.memory, self.parameters.margin
        if not self._knows("wsd"):
            return False
        share = self._left() / job.budget.total
        offer = best_offer(knowledge, valuation, share, self._probe_bounds(), margin)
        if offer is None:
            self.note("cap_reached", f"{memory.spent} spent, no rung fits the rest", left=share)
            return False
        numbers = {**offer.numbers(), **summary(knowledge.posterior), **_detectable(knowledge)}
        if offer.gain <= margin * offer.cost:
            self.note(
                "not_bought",
                f"the best plan would gain {offer.gain:.2g} and cost {offer.cost:.2g}",
                **numbers,
            )
            return False
        self._send_rung(offer, when, numbers)
        return True

    def _send_rung(self, offer: Offer, when: When, numbers: dict[str, JsonValue]) -> None:
        item = offer.first
        # The lower one first: if it learns nothing or diverges, the higher one need not run.
        log2_lr = min(item.rates)
        length = round(item.horizon * self.job.budget.total)
        others = [rate for rate in item.rates if rate != log2_lr]
        self.memory.queued = [Queued(length=length, log2_lr=rate) for rate in others]
        why = f"its plan gains {offer.gain:.2g} and costs {offer.cost:.2g} of the log loss"
        self._send_one(length, log2_lr, why, when, numbers)

    def _send_queued(self, when: When) -> bool:
        """Send the second rung of a pair, which was bought as one item; return False if it does not fit any more."""
        queued = self.memory.queued.pop(0)
        if queued.length > self._left():
            return False
        self._send_one(queued.length, queued.log2_lr, "the other one of its pair", when, {})
        return True

    def _send_one(
        self, length: int, log2_lr: float, why: str, when: When, numbers: dict[str, JsonValue]
    ) -> None:
        text = (
            f"rung {len(self.memory.measured) + 1}: {length} {self.job.budget.clock} at learning rate "
            f"{2.0**log2_lr:.3g}: {why}"
        )
        numbers = {"log2_lr": log2_lr, "length": length, **numbers}
        plan = plans.rung_plan(
            self.job, self.memory, length, log2_lr, when, Reason(text=text, numbers=numbers)
        )
        self.note("rung", text, **numbers)
        self.send(plan, "rung", log2_lr)

    def _probe_bounds(self) -> Bounds:
        limits, refused = bounds(self.job, "probe"), self.memory.highest
        if refused is None:
            return limits
        return Bounds(min(limits.lowest, refused), min(limits.highest, refused))

    def _knows(self, family: str) -> bool:
        families = self.job.capabilities.families
        return not families or family in families

    # -- the main line --

    def _settle(self, when: When, knowledge: Knowledge | None = None) -> None:
        """Send the main line to the end of the budget, at the rate of least expected regret."""
        job, memory = self.job, self.memory
        if memory.main_at >= job.budget.total:
            memory.quiet = True
            return
        if knowledge is None:
            knowledge = self.knowledge()
        reason = self._choose(knowledge)
        ways = list(self._ways(when, reason))
        plan = ways[min(memory.plan, len(ways) - 1)]
        if plan.start < memory.main_at:
            memory.lost += memory.main_at
        if watching.resumes(self, when):
            return
        self.note("main", plan.reason.text, **reason.numbers)
        if watching.watches(self) and plan.start < job.budget.total:
            watching.send_pieces(self, plan)
            return
        if self.parameters.then != "schedule":
            memory.sent_whole = plan
        self.send(plan, "main", memory.chosen or 0.0)

    def sd(self) -> float:
        """Return how far off the main line's rate may be: a standard deviation in octaves."""
        return self.knowledge().posterior.sd

    def knowledge(self) -> Knowledge:
        """Return what is known of the job by now."""
        return gather(self.job, self.memory, self.parameters)

    def shift(self) -> float:
        """Return how many octaves the best peak of the main line's shape lies above that of the rungs' shape."""
        return shapes.octaves_from_rungs(shapes.main_shape(self.job))

    def best(self, knowledge: Knowledge) -> tuple[float, float]:
        """Return the main line's rate of least expected regret within the limits, ``log2`` of it, with that regret."""
        shift, limits = self.shift(), bounds(self.job, "main")
        best, regret = knowledge.posterior.best(limits.lowest - shift, limits.highest - shift)
        return limits.clip(best + shift), regret

    def _ways(self, when: When, reason: Reason) -> Iterator[SegmentPlan]:
        """Yield ways to run the main line, best first."""
        yield from plans.main_plans(self.job, self.memory, self.memory.chosen, when, reason)

    def _choose(self, knowledge: Knowledge) -> Reason:
        """Choose the rate of the main line, once; return why."""
        job, memory = self.job, self.memory
        best, regret = self.best(knowledge)
        if memory.chosen is None:
            memory.chosen = best
        lr = 2.0**memory.chosen
        spent = memory.spent + memory.lost
        text = (
            f"the main line runs at peak learning rate {lr:.3g} (expected regret {regret:.2g} of the log loss), after "
            f"{len(memory.measured)} rungs and {spent} {job.budget.clock} of search"
        )
        numbers: dict[str, JsonValue] = {
            "lr": lr,
            "log2_lr": memory.chosen,
            "expected_regret": regret,
            "spent": spent,
            "rungs": len(memory.measured),
            **summary(knowledge.posterior, self.shift()),
            **_detectable(knowledge),
        }
        return Reason(text=text, numbers=numbers)

    @property
    def next_seq(self) -> int:
        """Number of the next segment that is sent."""
        return self.context.next_seq + len(self.segments)

    def send(self, plan: SegmentPlan, kind: str, log2_lr: float) -> None:
        """Answer with ``plan``, and remember it."""
        memory = self.memory
        seq = self.next_seq
        self.segments.append(plan)
        memory.live.append(
            Sent.model_validate(
                {
                    "seq": seq,
                    "kind": kind,
                    "length": plan.length,
                    "log2_lr": log2_lr,
                    "source": plan.source,
                    "end": plan.end,
                    "saves": plan.save_end_as,
                }
            )
        )
        if kind != "main":
            memory.spent += plan.length
            memory.window = Window(length=plan.length, keep_rows=kind == "range")


def summary(posterior: Posterior, shift: float = 0.0) -> dict[str, JsonValue]:
    """Return what is believed of ``log2`` of the best rate at the budget, ``shift`` octaves above the rungs' shape."""
    low, high = posterior.interval()
    return {
        "log2_lr_mean": posterior.mean + shift,
        "log2_lr_sd": posterior.sd,
        "log2_lr_low": low + shift,
        "log2_lr_high": high + shift,
    }


def _detectable(knowledge: Knowledge) -> dict[str, JsonValue]:
    """Return the least difference of two rungs' scores that is not noise, at two standard errors."""
    posterior = knowledge.posterior
    noise = float(posterior.joint.sum(axis=(0, 1)) @ posterior.cells.noise)
    return {"minimum_detectable_effect": 2.0 * 2.0**0.5 * noise, "slope": knowledge.slope}
