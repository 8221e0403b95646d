"""What the end of a probe says: the range test's turn, or a rung's loss."""

import math

from pacesetter.protocol import Measurements, SegmentEnded

from pacesetter_search.losses import is_loss
from pacesetter_search.strategies.zero_tuning import range_test
from pacesetter_search.strategies.zero_tuning.decision import Decision
from pacesetter_search.strategies.zero_tuning.knowledge import prior_of
from pacesetter_search.strategies.zero_tuning.memory import Memory, Sent, Turn, Window
from pacesetter_search.strategies.zero_tuning.scores import Measured

EARLY = -14.0
"""``log2`` of a rate at which nothing diverges: a range test that ends below was stopped by noise."""


def fold(memory: Memory, body: Measurements) -> None:
    """Fold rows into the running probe's window; the main line's are not needed."""
    probe, window = memory.probe, memory.window
    losses = body.columns.get("loss")
    if probe is None or window is None or losses is None or probe.seq != body.segment:
        return
    for position, loss in zip(body.columns["position"], losses, strict=True):
        if loss is not None and position is not None and math.isfinite(position):
            window.add(position, loss)


def read_range_test(
    body: SegmentEnded, sent: Sent, window: Window, memory: Memory, decision: Decision
) -> None:
    """Learn where the loss turned, or that noise stopped the test and it has to be run again."""
    job = decision.job
    absolute, base_lr = job.base.unit == "absolute", job.groups[0].base_lr
    policy = range_test.policy(sent.length, sent.log2_lr, base_lr, absolute=absolute)
    scale = 1.0 if absolute else base_lr
    rates = [math.log2(policy.at(position) * scale) for position in window.positions]
    stopped_early = body.outcome == "stopped" and bool(rates) and rates[-1] < EARLY
    if stopped_early and memory.trusting and not window.broken:
        memory.trusting = False
        decision.note("range_test", f"noise stopped it at 2^{rates[-1]:.1f}: once more")
        return
    memory.tested = True
    verdict = range_test.judge(rates, window.losses, prior_of(job, decision.parameters))
    memory.start, memory.spread = verdict.start, verdict.spread
    found = verdict.evidence
    if found is None:
        decision.note("range_test", "it says nothing: the loss turned at once, or was not measured")
        return
    memory.replans = 0
    memory.turn = Turn(log2_lr=found.log2_lr, sd=found.sd, turned=found.turned)
    word = "turned" if found.turned else "had not turned"
    text = f"on one batch the loss {word} at learning rate {2.0**found.log2_lr:.3g}"
    decision.note("turned", text, log2_lr=found.log2_lr, sd=found.sd, start=verdict.start)


def read_rung(
    body: SegmentEnded, sent: Sent, window: Window, memory: Memory, decision: Decision
) -> None:
    """Learn the loss that a rung ended with."""
    numbers = {"log2_lr": sent.log2_lr, "length": sent.length}
    rate = f"learning rate {2.0**sent.log2_lr:.3g}"
    loss = body.validation_loss
    lost = loss is not None and not is_loss(loss)
    if body.outcome == "stopped" or window.broken or lost:
        memory.measured.append(Measured(length=sent.length, log2_lr=sent.log2_lr, loss=None))
        memory.queued = []  # what was to come knew nothing of this
        decision.note("diverged", f"{rate} diverged ({body.code})", **numbers)
        return
    if loss is None:
        loss = window.tail
    if loss is None:
        memory.unread += 1
        decision.note("unmeasured", f"{rate} left no loss", **numbers)
        return
    memory.replans = 0
    memory.measured.append(Measured(length=sent.length, log2_lr=sent.log2_lr, loss=loss))
    if memory.start is not None and loss >= memory.start:
        memory.queued = []
    decision.note("measured", f"{rate} ended at a loss of {loss:.4g}", loss=loss, **numbers)


def account(body: SegmentEnded, sent: Sent, memory: Memory) -> None:
    """Count what a probe overshot: a step in tokens ends where it ends."""
    ran = body.position - (body.main_position if sent.source == "current" else 0)
    over = max(0, ran - sent.length)
    memory.spent += over
    memory.overshoot = max(memory.overshoot, over)
