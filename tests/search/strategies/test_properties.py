"""Whatever happens to a job, a strategy answers, keeps to its bounds and stays JSON."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pacesetter.judgement import check_segment
from pacesetter.protocol import (
    Acknowledgement,
    FellBack,
    Finished,
    Measurements,
    Notice,
    SegmentEnded,
    SegmentPlan,
    SessionBegan,
)
from pacesetter_search.contract import (
    Body,
    BudgetChanged,
    Context,
    Event,
    JobFacts,
    Overridden,
    Registered,
    Rewound,
    Strategy,
    Studied,
)
from pacesetter_search.strategies import get_strategy

from tests.search.support.landscape import NoisyQuadratic
from tests.search.support.simulator import SimulatedJob, job_facts

TOTAL = 400
CAP = 0.3
LIMITS = {"max_multiplier": 3.0, "min_multiplier": 0.0}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "fixed": ("fixed", {}),
    "hypergradient": ("hypergradient", {"lowest": 0.5}),
    "zero_tuning": ("zero_tuning", {}),
    "stage": ("autolrs", {"candidates": 4}),
    "horizon": (
        "autolrs",
        {
            "objective": "horizon",
            "keep_share": 1.0,
            "lr_uncertainty": 4.0,
            "choose_shape": "always",
            "probe_share": 0.02,
        },
    ),
    "fedhyper": ("fedhyper", {}),
    "law": ("law", {"choose_shape": "always", "win_probability": 0.51}),
    "proxy": ("proxy", {"trust_proxies": 1.0, "trust": 0.1}),
    "refinement": ("refinement", {"share": 0.15, "optimizer": "sgd"}),
    "snr": ("snr", {"micro_batch": 8.0}),
    "wsd_branch": ("wsd_branch", {"budgets": [150, 250]}),
    "wsd_s": ("wsd_branch", {"budgets": [150, 250], "mode": "wsd_s"}),
    # A rate that is fully trusted is probed by nothing, so the main line comes at once, and what follows it.
    "handed_over": (
        "zero_tuning",
        {"then": "horizon", "trust": 1.0, "trust_octaves": 0.01, "overfitting_guard": False},
    ),
}
SLOW = ["zero_tuning", "handed_over", "proxy"]
QUICK = [kind for kind in KINDS if kind not in SLOW]
losses = st.none() | st.floats() | st.floats(0.1, 5.0)
segments = st.integers(0, 12)
positions = st.integers(0, TOTAL + 50)
place = {"number": st.just(1), "segment": segments, "position": positions}


@st.composite
def measurements(draw: st.DrawFn) -> Measurements:
    values = draw(st.lists(losses, min_size=1, max_size=30))
    first = draw(positions)
    places: list[float | None] = [float(first + i) for i in range(len(values))]
    columns = {"position": places, "step": places, "loss": values}
    if draw(st.booleans()):
        for name in ("multiplier", "grad_norm", "micro_square", "batch_square", "micro_batches"):
            columns[name] = draw(st.lists(losses, min_size=len(values), max_size=len(values)))
    return Measurements(number=1, segment=draw(segments), position=first, columns=columns)


ended = st.builds(
    SegmentEnded,
    **place,
    kind=st.sampled_from(["main", "probe", "branch"]),
    outcome=st.sampled_from(["completed", "stopped", "interrupted"]),
    steps=st.integers(0, 100),
    main_position=positions,
    validation_loss=losses,
)
acknowledged = st.builds(
    Acknowledgement,
    **place,
    status=st.sampled_from(["applied", "refused", "stale", "superseded", "unpaired", "expired"]),
    code=st.none() | st.sampled_from(["ABOVE_LIMIT", "NO_REWIND", "NO_ROLLBACK", "POSITION_PAST"]),
)
bodies: st.SearchStrategy[Body] = st.one_of(
    measurements(),
    ended,
    ended,
    acknowledged,
    st.builds(SessionBegan, **place),
    st.builds(FellBack, **place, follows=segments, waited_seconds=st.just(30.0)),
    st.builds(Notice, **place, level=st.just("info"), code=st.just("X"), detail=st.just("")),
    st.builds(Rewound, position=positions),
    st.builds(Overridden, active=st.booleans(), seq=segments, position=positions),
    st.builds(
        BudgetChanged,
        total=st.just(TOTAL),  # what the facts say by then
        before=st.integers(1, 2 * TOTAL),
        position=positions,
    ),
    st.builds(
        Studied,
        experiment=st.just("exp"),
        trials=st.integers(0, 50),
        over=st.booleans(),
        position=positions,
        log2_lr=st.none() | st.floats(-30.0, 10.0) | st.floats(-6.0, 0.0),
        sd=st.floats(0.0, 5.0),
        bounded=st.booleans(),
    ),
    st.builds(Registered),
    st.builds(Finished, **place),
)


def document(value: object) -> str:
    return json.dumps(value, allow_nan=False)


def steering(kind: str) -> Strategy:
    """Return a strategy by the word of its test, with parameters under which it probes in so short a job."""
    name, parameters = KINDS[kind]
    return get_strategy(name).from_document(parameters)


def assert_permitted(plan: SegmentPlan, facts: JobFacts) -> None:
    """Ask the judge that the client asks."""
    assert 0 <= plan.start <= plan.end <= TOTAL
    refusal = check_segment(
        plan,
        facts.limits,
        current_multiplier=None,
        budget_total=TOTAL,
        clock=facts.budget.clock,
        base_schedule=facts.base,
        capabilities=facts.capabilities,
        groups=facts.groups,
    )
    assert refusal is None, refusal


def feed(kind: str, events: list[Body]) -> tuple[list[SegmentPlan], list[str], int]:
    """Return the segments, the states as JSON and the planned probe units of a job that saw ``events``."""
    strategy, facts = steering(kind), job_facts(TOTAL, overhead_cap=CAP, limits=LIMITS)
    state = strategy.initial(facts)
    sent: list[SegmentPlan] = []
    states: list[str] = []
    for number, body in enumerate([Registered(), *events], 1):
        context = Context(facts, len(sent) + 1)
        answer = strategy.advance(state, Event(number, body), context)
        assert not answer.segments or strategy.decides_on(body)
        states.append(document(answer.state))
        state = json.loads(states[-1])
        assert state == answer.state, "a state has JSON's own types"
        document([entry.numbers for entry in answer.log])
        sent += answer.segments
    return sent, states, sum(one.length for one in sent if one.kind == "probe")


def some(examples: int) -> settings:
    """Return the settings of a property that is looked at ``examples`` times, the same ones on every run."""
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=True,
    )


def assert_any_events_are_answered_within_bounds(kind: str, events: list[Body]) -> None:
    facts = job_facts(TOTAL, overhead_cap=CAP, limits=LIMITS)
    sent, states, probes = feed(kind, events)
    assert probes <= CAP * TOTAL
    for one in sent:
        assert_permitted(one, facts)
    again = feed(kind, events)
    assert (again[0], again[1]) == (sent, states)


@pytest.mark.parametrize("kind", QUICK)
@some(40)
@given(events=st.lists(bodies, max_size=25))
def test_any_events_are_answered_within_bounds(kind: str, events: list[Body]) -> None:
    assert_any_events_are_answered_within_bounds(kind, events)


@pytest.mark.parametrize("kind", SLOW)
@some(4)
@given(events=st.lists(bodies, max_size=25))
def test_any_events_are_answered_within_bounds_by_the_slow(kind: str, events: list[Body]) -> None:
    assert_any_events_are_answered_within_bounds(kind, events)


def assert_events_about_live_segments_are_answered(kind: str, data: st.DataObject) -> None:
    """Random numbers rarely meet a live segment; here every event is about the newest ones."""
    strategy, facts = steering(kind), job_facts(TOTAL, overhead_cap=CAP, limits=LIMITS)
    state, sent = strategy.initial(facts), 0
    body: Body = Registered()
    probes = 0
    for number in range(1, 30):
        answer = strategy.advance(state, Event(number, body), Context(facts, sent + 1))
        state = json.loads(document(answer.state))
        sent += len(answer.segments)
        assert len(answer.segments) <= 2
        probes += sum(one.length for one in answer.segments if one.kind == "probe")
        for one in answer.segments:
            assert_permitted(one, facts)
        about = data.draw(st.integers(max(0, sent - 1), sent))
        body = data.draw(bodies)
        if isinstance(body, Measurements | SegmentEnded | Acknowledgement | FellBack):
            body = body.model_copy(update={"segment": about})
        if isinstance(body, Finished):
            body = Rewound(position=body.position)
    assert probes <= CAP * TOTAL


@pytest.mark.parametrize("kind", [kind for kind in QUICK if kind != "fixed"])
@some(30)
@given(data=st.data())
def test_events_about_live_segments_are_answered_within_bounds(
    kind: str, data: st.DataObject
) -> None:
    assert_events_about_live_segments_are_answered(kind, data)


@pytest.mark.parametrize("kind", SLOW)
@some(4)
@given(data=st.data())
def test_events_about_live_segments_are_answered_within_bounds_by_the_slow(
    kind: str, data: st.DataObject
) -> None:
    assert_events_about_live_segments_are_answered(kind, data)


@dataclass
class WildLosses(NoisyQuadratic):
    """Losses that have nothing to do with the rate: any trend, noise of any size, now and then not finite."""

    level: float = 1.0
    trend: float = 0.0
    roughness: float = 0.1
    broken: float = 0.0

    def step(self, lr: float) -> float:
        """Return a loss that depends on the place in the data only."""
        generator = np.random.default_rng([self.seed, self.data])
        self.data += not self.holding
        if generator.uniform() < self.broken:
            return float(generator.choice([np.nan, np.inf, -np.inf, 1e200]))
        return self._loss() + self.roughness * float(generator.standard_normal())

    def validate(self) -> float:
        """Return the trend."""
        return self._loss()

    def _loss(self) -> float:
        return self.level + self.trend * self.data / TOTAL


@pytest.mark.parametrize("kind", ["hypergradient", "refinement", "snr", "stage", "horizon", "law"])
@some(6)
@given(
    level=st.floats(-10.0, 1e6),
    trend=st.floats(-1e3, 1e3),
    roughness=st.just(0.0) | st.floats(1e-6, 1e3),
    broken=st.sampled_from([0.0, 0.0, 0.01, 0.3]),
    seed=st.integers(0, 100),
)
@example(level=2.0, trend=-1.5, roughness=1e-3, broken=0.0, seed=1)  # probes, fits laws
@example(level=2.0, trend=-1.5, roughness=1e-3, broken=0.02, seed=2)
@example(level=2.0, trend=-5.0, roughness=1e-3, broken=0.0, seed=3)  # below zero at the end
def test_whole_jobs_with_any_losses_keep_to_everything(
    kind: str, level: float, trend: float, roughness: float, broken: float, seed: int
) -> None:
    assert_whole_jobs_keep_to_everything(kind, level, trend, roughness, broken, seed)


def assert_whole_jobs_keep_to_everything(
    kind: str, level: float, trend: float, roughness: float, broken: float, seed: int
) -> None:
    facts = job_facts(TOTAL, overhead_cap=CAP, limits=LIMITS, seed=seed)
    losses = WildLosses(level=level, trend=trend, roughness=roughness, broken=broken, seed=seed)
    job = SimulatedJob(steering(kind), facts, losses).run()
    assert len(job.main_losses) == TOTAL
    assert job.probe_units <= CAP * TOTAL
    assert "refused" not in {entry.code for entry in job.controller.log}
    again = SimulatedJob(steering(kind), facts, losses).controller
    for event in job.controller.events:
        again.tell(event.body)
    assert again.segments == job.controller.segments


@pytest.mark.parametrize("broken", [0.0, 0.02])
def test_whole_jobs_that_are_handed_over_keep_to_everything(broken: float) -> None:
    assert_whole_jobs_keep_to_everything("handed_over", 2.0, -1.5, 1e-3, broken, 1)
