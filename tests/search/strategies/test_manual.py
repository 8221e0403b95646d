from typing import Any

import pytest
from pacesetter.protocol import FellBack, SessionBegan
from pacesetter_search.contract import Overridden, Registered
from pacesetter_search.strategies.manual import Manual

from tests.search.support.simulator import Controller, SimulatedJob, job_facts


def test_without_a_person_it_follows_the_base_schedule() -> None:
    job = SimulatedJob(Manual.from_document({}), job_facts(300)).run()
    (segment,) = job.controller.segments
    assert (segment.kind, segment.origin) == ("main", "manual")
    assert segment.reason.text == "the base schedule, until a person says otherwise"
    base = job.facts.base
    assert job.main_multipliers == pytest.approx([base.at(p) for p in range(300)])


@pytest.mark.parametrize("authority", ["observe", "advise", "approve"])
def test_where_it_may_not_steer_it_proposes_nothing_until_a_person_hands_back(
    authority: Any,
) -> None:
    service = Controller(Manual.from_document({}), job_facts(300, authority=authority))
    assert service.tell(Registered()) == []
    assert service.tell(SessionBegan(number=1, segment=0, position=0)) == []
    assert service.tell(Overridden(active=True, seq=1, position=40)) == []
    fell = FellBack(number=2, segment=1, position=60, follows=1, waited_seconds=1)
    assert service.tell(fell) == []
    (segment,) = service.tell(Overridden(active=False, seq=1, position=80))
    assert (segment.start, segment.end, segment.policy) == (80, 300, service.facts.base)


def test_while_a_person_decides_it_is_silent() -> None:
    service = Controller(Manual.from_document({}), job_facts(300))
    assert len(service.tell(Registered())) == 1
    assert service.tell(Overridden(active=True, seq=2, position=40)) == []
    fell = FellBack(number=2, segment=2, position=60, follows=1, waited_seconds=1)
    assert service.tell(fell) == []
