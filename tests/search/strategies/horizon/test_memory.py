"""What the horizon objective remembers of its line when the budget changes."""

import pytest
from pacesetter.schedules import Cosine, Schedule
from pacesetter_search.strategies.horizon.memory import Memory, Stretch

OLD, NEW = Schedule(length=1000, body=Cosine()), Schedule(length=2000, body=Cosine())


@pytest.mark.parametrize("total", [0, 1000], ids=["of before budgets could change", "of today"])
def test_a_line_that_a_person_extended_leads_to_the_new_end(total: int) -> None:
    memory = Memory(total=total, marks=(300, 700), line=[Stretch(start=0, policy=OLD)])
    memory.fit(2000, 500, NEW)
    line = memory.policy(NEW)
    assert memory.total == 2000
    assert line.at(1500) > 0.1
    assert line.at(1990) < 0.01


def test_a_line_that_is_the_base_schedule_stays_the_base_schedule() -> None:
    memory = Memory(total=1000, marks=(300, 700))
    memory.fit(2000, 500, NEW)
    assert memory.line == []
    assert memory.policy(NEW) == NEW


def test_marks_behind_the_new_end_are_left_out() -> None:
    memory = Memory(total=1000, marks=(300, 700), line=[Stretch(start=0, policy=OLD)])
    memory.fit(600, 400, Schedule(length=600, body=Cosine()))
    assert memory.marks == (300,)
    assert memory.policy(OLD).at(600) == pytest.approx(0.0, abs=1e-9)
