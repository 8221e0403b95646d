"""Whatever happens to a guarded job, it is answered within bounds, and the same on every replay."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pacesetter.protocol import (
    CURRENT,
    INITIAL,
    ROLLING,
    Acknowledgement,
    FellBack,
    Measurements,
    Notice,
    SegmentEnded,
    SegmentPlan,
)
from pacesetter_search.contract import Body, Context, Event, Registered, Strategy
from pacesetter_search.guard import Guarded, GuardParameters
from pacesetter_search.strategies import get_strategy

from tests.search.strategies.test_properties import acknowledged, bodies, ended, place, positions
from tests.search.support.simulator import job_facts

TOTAL = 400
CAP = 0.3
MOST = 6
CODES = ("NON_FINITE", "LOSS_SPIKE", "PROGRESS_LOST", "GRADIENT_SPIKE", "ABOVE_FIRST")

stopped = st.builds(
    SegmentEnded,
    **place,
    kind=st.sampled_from(["main", "probe"]),
    outcome=st.just("stopped"),
    code=st.sampled_from(CODES),
    steps=st.integers(0, 100),
    main_position=positions,
)
kept = st.builds(
    Notice,
    **place,
    level=st.just("info"),
    code=st.just("SNAPSHOT_KEPT"),
    detail=st.just(""),
    numbers=st.fixed_dictionaries(
        {"name": st.sampled_from(["rolling-1-20", "rolling-2-40", ""]), "position": positions}
    ),
)
told = st.builds(
    Notice,
    **place,
    level=st.just("warning"),
    code=st.just("STOPPED"),
    detail=st.just(""),
    numbers=st.dictionaries(st.sampled_from(["loss", "level"]), st.floats() | st.text(max_size=3)),
)
anything: st.SearchStrategy[Body] = st.one_of(
    bodies, stopped, stopped, kept, told, acknowledged, ended
)


def document(value: object) -> str:
    return json.dumps(value, allow_nan=False)


def feed(strategy: Strategy, draw: st.DataObject) -> list[SegmentPlan]:
    """Return the segments of a job whose events are mostly about its newest segments."""
    facts = job_facts(TOTAL, overhead_cap=CAP, limits={"max_multiplier": 3.0})
    state = strategy.initial(facts)
    sent: list[SegmentPlan] = []
    body: Body = Registered()
    for number in range(1, 30):
        context = Context(facts, len(sent) + 1)
        answer = strategy.advance(state, Event(number, body), context)
        again = strategy.advance(json.loads(document(state)), Event(number, body), context)
        assert document(again.state) == document(answer.state)
        assert again.segments == answer.segments
        assert not answer.segments or strategy.decides_on(body)
        assert len(answer.segments) <= 2
        document([entry.numbers for entry in answer.log])
        state = json.loads(document(answer.state))
        sent += answer.segments
        body = draw.draw(anything)
        about = Measurements | SegmentEnded | Acknowledgement | FellBack
        if isinstance(body, about) and draw.draw(st.booleans()):
            newest = draw.draw(st.integers(max(0, len(sent) - 2), len(sent)))
            body = body.model_copy(update={"segment": newest})
    return sent


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(data=st.data())
def test_any_events_are_answered_within_bounds(data: st.DataObject) -> None:
    check(get_strategy("fixed").from_document({}), data)


# Few draws: a decision of this strategy may fit a surrogate, and its own properties are tested elsewhere.
@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(data=st.data())
def test_any_events_are_answered_within_bounds_above_a_search(data: st.DataObject) -> None:
    check(get_strategy("autolrs").from_document({"candidates": 3}), data)


def check(inner: Strategy, data: st.DataObject) -> None:
    sent = feed(Guarded(inner, GuardParameters(interventions=MOST)), data)
    for one in sent:
        assert 0 <= one.start < one.end <= TOTAL
        assert one.source in (CURRENT, INITIAL) or one.source.startswith(ROLLING)
        assert 0 <= one.policy.at(one.start) <= 3.0
    assert sum(one.origin == "guard" for one in sent) <= MOST
    assert sum(one.length for one in sent if one.kind == "probe") <= CAP * TOTAL
