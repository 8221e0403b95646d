"""The ways to go on that laws are asked of."""

from dataclasses import replace

import numpy as np
import pytest
from pacesetter.limits import Limits
from pacesetter.protocol import Budget
from pacesetter.schedules import Linear, Schedule, Warmup
from pacesetter.schedules.horizon import extend
from pacesetter_search.contract import JobFacts
from pacesetter_search.strategies.horizon.memory import Stretch
from pacesetter_search.strategies.law.memory import Memory
from pacesetter_search.strategies.law.parameters import LawParameters
from pacesetter_search.strategies.law.ways import FACTORS, ways

from tests.search.support.simulator import job_facts

OLD, NEW = 1200, 1800
FREE = LawParameters(choose_shape="always")


def linear(length: int) -> Schedule:
    return Schedule(length=length, warmup=Warmup(length=120), body=Linear())


def facts(total: int = OLD) -> JobFacts:
    return job_facts(total, base=linear(total), limits=Limits(max_budget=NEW))


def extended(at: int) -> tuple[JobFacts, Memory]:
    """Return a job whose linear decay was extended when it stood at ``at``, and its state."""
    line = extend(linear(OLD), NEW, at)
    job = replace(facts(NEW), budget=Budget(total=NEW))
    return job, Memory(total=NEW, line=[Stretch(start=at, policy=line)])


def test_a_new_shape_begins_at_the_present_rate_or_below() -> None:
    job = facts()
    found = ways(job, Memory(total=OLD), FREE, 600)
    level = job.base.at(600)
    for way in found[1:]:
        assert way.policy.at(600) == pytest.approx(way.multiplier * level)
        assert way.policy.over(np.arange(600.0, OLD)).max() <= level * (1.0 + 1e-9)
    assert {way.multiplier for way in found} == set(FACTORS)


@pytest.mark.parametrize("at", [600, 900, 1150])
def test_after_an_extension_a_new_shape_begins_where_the_line_has_warmed_up_again(at: int) -> None:
    job, memory = extended(at)
    found = ways(job, memory, FREE, at)
    line = found[0].policy
    crest = at + max(1, round(0.01 * (NEW - at)))
    assert line.at(crest) > 1.2 * line.at(at)
    shapes = [way for way in found[1:] if way.policy.body.family == "joined"]
    held = [way for way in shapes if way.shape.startswith("hold") and way.multiplier == 1.0]
    assert len(held) >= 4
    rising = np.arange(float(at), float(crest))
    for way in held:
        assert way.policy.over(rising) == pytest.approx(line.over(rising))
        assert way.policy.at(crest + 1) == line.at(crest)
        assert way.policy.at(NEW) == pytest.approx(0.0, abs=1e-12)
    highest = max(way.policy.over(np.arange(float(at), NEW)).max() for way in found)
    assert highest <= job.base.at(at) * (1.0 + 1e-9)  # the line over the whole new length
    assert {way.multiplier for way in shapes} == set(FACTORS)


def test_in_the_warm_up_a_new_shape_begins_after_it() -> None:
    job, memory = facts(NEW), Memory(total=NEW)
    found = ways(job, memory, FREE, 40)
    cosine = next(way for way in found if (way.shape, way.multiplier) == ("cosine", 1.0))
    assert cosine.policy.at(80) == job.base.at(80)
    assert cosine.policy.at(120) == job.base.highest == 1.0
    assert cosine.policy.at(960) == pytest.approx(0.5)


def test_a_schedule_that_is_somebodys_own_keeps_its_shape() -> None:
    job, memory = extended(900)
    found = ways(job, memory, LawParameters(choose_shape="never"), 900)
    assert {way.shape for way in found} == {"kept", "base"}
