"""What happens at the end of each piece of the main line: the next piece, or the way back from overfitting."""

from typing import TYPE_CHECKING

from pacesetter.protocol import (
    CURRENT,
    Acknowledgement,
    Measure,
    Measurements,
    Reason,
    SegmentEnded,
    SegmentPlan,
)
from pacesetter.protocol.segments import When
from pacesetter.schedules import Schedule
from pydantic import JsonValue

from pacesetter_search.losses import is_loss
from pacesetter_search.strategies.zero_tuning import overfitting, pieces
from pacesetter_search.strategies.zero_tuning.memory import Memory, Sent, Tally
from pacesetter_search.strategies.zero_tuning.overfitting import Point, Verdict

if TYPE_CHECKING:
    from pacesetter_search.strategies.zero_tuning.decision import Decision

_UNWATCHABLE = frozenset({"NO_VALIDATION", "NO_ROLLBACK", "RESERVED_NAME"})
"""Refusals of a piece that the whole main line would not meet."""

AHEAD = 2
"""Pieces that the job knows: the one that runs and the next."""

KEPT_DROPPED = 4
"""Names whose release is said again, as the segment that said it may not have run."""


def watches(decision: "Decision") -> bool:
    """Whether the main line is sent in pieces."""
    job, memory = decision.job, decision.memory
    wanted = decision.parameters.overfitting_guard and memory.watch == "watching"
    return wanted and pieces.can_go_back(job) and pieces.repeats(job)


def tally(memory: Memory, body: Measurements) -> None:
    """Add up the training losses of the piece that runs."""
    sent, losses = memory.find(body.segment), body.columns.get("loss")
    if sent is None or sent.saves is None or losses is None:
        return
    if memory.tally is None or memory.tally.seq != sent.seq:
        memory.tally = Tally(seq=sent.seq)
    for loss in losses:
        if loss is not None and is_loss(loss):
            memory.tally.sum += loss
            memory.tally.count += 1


def send_pieces(decision: "Decision", whole: SegmentPlan) -> None:
    """Send the first pieces of ``whole``.

    The job knows the next piece before the one that runs is over, so that there is no step without stop clauses. Where
    an answer comes late all the same, the job goes on under the piece it has, whose policy is the whole schedule: the
    main line never waits, and its rates are the same wherever one piece gives way to the next.
    """
    memory = decision.memory
    memory.curve = [point for point in memory.curve if point.position <= whole.start]
    memory.whole = whole
    _top_up(whole.start, decision)


def late(body: Acknowledgement, sent: Sent, decision: "Decision") -> bool:
    """Go on behind a piece that came when its end had passed, with longer ones; return whether this was one."""
    memory = decision.memory
    cooldown = memory.watch == "cooling" and sent.source == memory.cooled
    watched = memory.watch == "watching" and sent.saves is not None
    if body.code != "POSITION_PAST" or memory.whole is None or not (watched or cooldown):
        return False
    memory.shortest = max(memory.shortest, body.position - memory.main_at)
    memory.live, memory.main_at = [], body.position
    update = {"source": CURRENT, "data": "continue", "start": body.position, "when": "now"}
    length = decision.job.budget.total - body.position
    if cooldown:
        memory.watch, memory.whole = "watching", memory.uncooled or memory.whole
        if _act(body.position, decision):
            return True
    if length > 0:
        decision.note(
            "late", f"segment {sent.seq} came too late ({body.code})", shortest=memory.shortest
        )
        send_pieces(decision, memory.whole.model_copy(update={**update, "length": length}))
    return True


def begun(sent: Sent, memory: Memory) -> None:
    """Note that a main segment has begun."""
    if sent.saves is not None:
        # What was trained is not thrown away for a piece that came to nothing.
        memory.may_start_over = False
    if memory.watch == "cooling" and sent.source == memory.cooled:
        memory.watch = "cooled"


def refused(body: Acknowledgement, sent: Sent, decision: "Decision") -> bool:
    """Answer the refusal of a segment that only a watched main line has; return whether this was one."""
    memory = decision.memory
    if sent.source == memory.cooled:
        if memory.watch == "cooling":
            memory.watch = "off"
            decision.replan(body.position)
        return True
    if sent.saves is None or body.code not in _UNWATCHABLE:
        return False
    memory.watch = "off"
    decision.replan(body.position)
    return True


def resumes(decision: "Decision", when: When) -> bool:
    """Go on with the cooldown, or what follows it, if that is where the main line stands; return whether it is.

    A cooldown that was sent and has not begun is forgotten: the next piece's end decides anew.
    """
    memory, whole = decision.memory, decision.memory.whole
    if memory.watch == "cooling":
        memory.watch = "watching"
    if memory.watch not in ("cooled", "over") or whole is None:
        return False
    start, memory.watch = memory.main_at, "over"
    update = {"when": when, "source": CURRENT, "start": start}
    plan = whole.model_copy(update={**update, "length": decision.job.budget.total - start})
    decision.send(plan.model_copy(update={"measure": Measure()}), "main", memory.chosen or 0.0)
    return True


def ended(body: SegmentEnded, sent: Sent, decision: "Decision") -> None:
    """Go on behind a piece, or behind the cooldown."""
    memory = decision.memory
    cooldown = sent.source == memory.cooled and memory.watch in ("cooling", "cooled")
    if sent.saves is None and not cooldown:
        return
    if body.outcome != "completed":
        # Stopped at its very end, where the guard under the strategy has nothing to go on with.
        if body.outcome == "stopped":
            decision.replan(body.main_position)
        return
    memory.replans = 0
    memory.live = [one for one in memory.live if one.seq > sent.seq]
    if cooldown:
        _cooled(body, decision)
        return
    loss = body.validation_loss
    if loss is not None and is_loss(loss):
        _learn(body.main_position, loss, sent, memory)
    if memory.watch != "watching" or _act(body.main_position, decision):
        return
    _top_up(body.main_position, decision)


def distrust(memory: Memory) -> None:
    """Take no kept state for granted: the process that kept them is gone, or somebody else has trained since."""
    memory.curve = []
    memory.dropped = []


def _learn(position: int, loss: float, sent: Sent, memory: Memory) -> None:
    """Add a point to the curve, and give up the states that are no candidates."""
    tally = memory.tally
    training = None
    if tally is not None and tally.seq == sent.seq and tally.count > 0:
        training = tally.sum / tally.count
    memory.curve.append(
        Point(position=position, validation=loss, training=training, kept=sent.saves)
    )
    best = overfitting.best(memory.curve)
    for point in memory.curve:
        if point is not best and point.kept is not None:
            memory.dropped = [*memory.dropped, point.kept][-KEPT_DROPPED:]
            point.kept = None


def _top_up(position: int, decision: "Decision") -> None:
    """Send pieces until the job knows :data:`AHEAD` of them, where its main line stands at ``position``."""
    memory, total = decision.memory, decision.job.budget.total
    ahead = [one.end for one in memory.live if one.kind == "main"]
    planned = max(ahead, default=position)
    for _ in range(AHEAD - len(ahead)):
        if memory.whole is not None and planned < total:
            planned = _send_piece(decision, memory.whole, planned)


def _send_piece(decision: "Decision", whole: SegmentPlan, start: int) -> int:
    """Send the piece from ``start``; return where it ends."""
    name = f"main-{decision.next_seq}"
    total, memory = decision.job.budget.total, decision.memory
    end = pieces.end_after(start, total, memory.shortest)
    plan = pieces.piece(whole, start, end, total, name, tuple(memory.dropped))
    decision.send(plan, "main", memory.chosen or 0.0)
    return plan.end


def _act(position: int, decision: "Decision") -> bool:
    """Send the cooldown from the best state if the main line overfits; return whether it was sent."""
    job, memory = decision.job, decision.memory
    verdict = overfitting.judge(memory.curve, job.budget.total)
    best = overfitting.best(memory.curve)
    if memory.whole is None or verdict is None or best is None or best.kept is None:
        return False
    if not verdict.overfits:
        return False
    # It follows the piece that runs by now; where it arrives later, nothing is trained again.
    soon = position + max(memory.shortest, pieces.FEWEST_UNITS)
    start = max((one.end for one in memory.live), default=soon)
    text = (
        f"it overfits: the validation loss was {best.validation:.4g} at {best.position} and is "
        f"{memory.curve[-1].validation:.4g} at {position}, while the training loss fell; from {start} on the state of "
        f"{best.position} is cooled down"
    )
    reason = Reason(text=text, numbers=_numbers(memory, verdict, decision))
    policy = memory.whole.policy
    plan = pieces.cooldown(job, policy, best.kept, best.position, start, reason)
    if plan is None:
        return False
    decision.note("overfits", text, **reason.numbers)
    memory.watch, memory.cooled = "cooling", best.kept
    decision.send(plan, "main", memory.chosen or 0.0)
    memory.uncooled, memory.whole = memory.whole, plan
    return True


def _cooled(body: SegmentEnded, decision: "Decision") -> None:
    """Keep what the cooldown reached, or bring back the best state: that of the lower validation loss."""
    job, memory = decision.job, decision.memory
    memory.watch = "over"
    best, whole, loss = overfitting.best(memory.curve), memory.whole, body.validation_loss
    if whole is None or best is None or best.kept is None:
        return
    good = loss is not None and loss <= best.validation
    text = (
        f"the cooldown ended at a validation loss of {loss if loss is None else format(loss, '.4g')}, "
        f"after {best.validation:.4g} at {best.position}: "
        + ("it is kept" if good else f"the state of {best.position} is brought back")
    )
    numbers: dict[str, JsonValue] = {"best": best.validation, "best_position": best.position}
    reason = Reason(text=text, numbers=numbers)
    decision.note("cooled_down", text, **numbers)
    may_stop = decision.parameters.stop_early and job.limits.allow_shorter_main
    at = body.main_position
    if not good and at < job.budget.total:
        plan = pieces.restore(job, _rest(whole.policy), best.kept, at, reason)
        if may_stop:
            plan = plan.model_copy(update={"start": at, "length": 1})
        decision.send(plan, "main", memory.chosen or 0.0)
    if may_stop and at < job.budget.total:
        ending = Reason(text="what is left of the budget would overfit", numbers=numbers)
        decision.segments.append(pieces.stop(whole.policy, at + (not good), ending))


def _rest(policy: Schedule) -> Schedule:
    """Return the schedule that stays at the last value of ``policy``."""
    return Schedule(length=policy.length, peak=policy.at(policy.end), unit=policy.unit)


def _numbers(memory: Memory, verdict: Verdict, decision: "Decision") -> dict[str, JsonValue]:
    epoch = decision.job.capabilities.epoch_batches
    return {
        "positions": [point.position for point in memory.curve],
        "validation": [point.validation for point in memory.curve],
        "training": [point.training for point in memory.curve],
        "epochs": None if epoch is None else decision.job.budget.total / epoch,
        **verdict.numbers,
    }
