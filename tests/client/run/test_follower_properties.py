"""Whatever arrives, in whatever order, and whatever fails: what always holds."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.protocol import Segment
from pacesetter.run import effects as fx
from pacesetter.run.follower import Follower, base_segment
from pacesetter.schedules import Constant, Schedule

from tests.support.service import segment

TOTAL = 60

PLANS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["main", "probe", "probe", "branch", "stop"]),
        "when": st.sampled_from(["end", "now"]),
        "source": st.sampled_from(["current", "current", "a", "b"]),
        "save_as": st.sampled_from([None, None, "a", "b"]),
        "save_end_as": st.sampled_from([None, "b"]),
        "save_every": st.sampled_from([None, None, 3]),
        "offset": st.integers(-5, 10),
        "length": st.integers(1, 30),
        "after": st.integers(0, 2),
    }
)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.integers(1, 4)),
        st.tuples(st.just("offer"), PLANS),
        st.tuples(st.just("stopped"), st.just(None)),
        st.tuples(st.just("fail"), st.booleans()),
    ),
    max_size=60,
)


@dataclass
class World:
    """Carries the effects out on numbers alone, and complains where they make no sense."""

    machine: Follower
    failing: bool = False
    offered: dict[int, Segment] = field(default_factory=dict)
    answers: Counter[int] = field(default_factory=Counter)
    left_at: int | None = None
    kept: set[str] = field(default_factory=set)
    log: list[fx.Effect] = field(default_factory=list)

    def perform(self, effects: fx.Effects) -> None:
        reply: str | None = None
        while True:
            try:
                effect = effects.send(reply)
            except StopIteration:
                return
            self.log.append(effect)
            reply = self.do(effect)

    def do(self, effect: fx.Effect) -> str | None:
        match effect:
            case fx.Save(name=name):
                if self.failing:
                    return "no room"
                self.kept.add(name)
            case fx.Leave():
                assert self.left_at is None
                if self.failing:
                    return "no room"
                self.left_at = self.machine.position
            case fx.Return(final=final):
                assert self.left_at is not None
                self.left_at = None if final else self.left_at
            case fx.Load(name=name, main=main):
                assert name in self.kept
                self.left_at = None if main else self.left_at
            case fx.Release(names=names):
                self.kept -= set(names)
            case fx.Begin(segment=begun, again=False):
                self.answers[begun.seq] += 1
            case fx.Acknowledge(seq=seq):
                self.count(effect, seq)
            case fx.Finish(stop=stop):
                assert self.left_at is None
                if stop is not None:
                    self.answers[stop] += 1
        return None

    def count(self, effect: fx.Acknowledge, seq: int) -> None:
        # A segment that began and never made a step is acknowledged in place of its first step.
        if effect.status == "superseded" and self.answers[seq] == 1:
            return
        self.answers[seq] += 1

    def offer(self, plan: dict[str, Any]) -> None:
        machine = self.machine
        seq = max(self.offered, default=0) + 1
        fields = {key: value for key, value in plan.items() if key not in ("offset", "after")}
        start = max(0, machine.main_position + plan["offset"])
        length = 0 if plan["kind"] == "stop" else plan["length"]
        after = max(0, machine.running.seq - plan["after"])
        made = segment(seq, after, **{**fields, "start": start, "length": length})
        self.offered[seq] = made
        for answer in machine.offer(made):
            self.answers[answer.seq] += 1
        self.perform(machine.turn())

    def check(self) -> None:
        machine = self.machine
        assert (self.left_at is None) == machine.on_main_line
        if self.left_at is not None:
            assert machine.main_position == self.left_at
        assert machine.finished or machine.position < machine.boundary
        for seq in self.offered:
            waiting = machine.pending is not None and machine.pending.seq == seq
            assert self.answers[seq] == (0 if waiting else 1), (seq, self.log)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(ACTIONS)
def test_the_main_line_always_comes_back_and_every_segment_gets_one_answer(
    actions: list[tuple[str, Any]],
) -> None:
    base = base_segment(Schedule(length=TOTAL, body=Constant()), TOTAL)
    world = World(Follower(base))
    machine = world.machine
    for action, value in actions:
        if machine.finished:
            break
        if action == "step":
            machine.advance(value, value)
            world.perform(machine.turn())
        elif action == "stopped":
            world.perform(machine.turn("NON_FINITE"))
        elif action == "fail":
            world.failing = value
        else:
            world.offer(value)
        world.check()
    world.perform(machine.finish())
    assert machine.finished
    assert machine.on_main_line
    assert world.left_at is None
    assert set(world.answers) <= set(world.offered)
    assert all(count == 1 for count in world.answers.values())
    assert len(world.answers) == len(world.offered)
