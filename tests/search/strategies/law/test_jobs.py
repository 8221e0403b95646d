"""Whole simulated jobs whose rest is planned by laws."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from pacesetter.errors import PacesetterError
from pacesetter.protocol import ParameterGroup, Workload
from pacesetter.schedules import WSD, Cosine, Schedule, Warmup
from pacesetter_search.contract import JobFacts
from pacesetter_search.laws.stored import NamedCurve, fit_stored
from pacesetter_search.memory.kinds import Kind
from pacesetter_search.memory.laws import LAWS, FamilyLaw
from pacesetter_search.strategies import get_strategy

from tests.search.support.lawful import Lawful
from tests.search.support.simulator import SimulatedJob, job_facts

STEPS, LR = 2000, 1e-3
BASE = Schedule.default_base(STEPS)
OWN = Schedule(length=STEPS, body=Cosine())
HOLDS = Schedule(length=STEPS, warmup=Warmup(length=200), body=WSD(cooldown=0.2))
WORKLOAD = Workload(family="bytes", parameters=1e6, batch_tokens=512.0)


@cache
def of_the_family(landscape: type[Lawful] = Lawful) -> FamilyLaw:
    """Return what a cosine and a held run of the family taught."""
    runs = {"cosine": OWN, "held": HOLDS}
    law, _ = fit_stored([NamedCurve(name, landscape().points(run)) for name, run in runs.items()])
    kind = Kind.of(WORKLOAD, "pretrain", "adamw")
    return FamilyLaw(
        id="law_1", workload=WORKLOAD, kind=kind, peak_lr=LR, curves=2, longest=STEPS, law=law
    )


def facts(base: Schedule = BASE) -> JobFacts:
    groups = (ParameterGroup(name="all", base_lr=LR),)
    return job_facts(STEPS, base=base, groups=groups, overhead_cap=0.0, limits={})


def run(
    base: Schedule = BASE, *family: FamilyLaw, parameters: dict[str, Any] | None = None
) -> SimulatedJob:
    strategy = get_strategy("law").from_document(parameters or {})
    priors: dict[str, Any] = {LAWS: [each.model_dump(mode="json") for each in family]}
    job = SimulatedJob(strategy, facts(base), landscape=Lawful(), priors=priors).run()
    assert len(job.main_losses) == STEPS
    assert job.probe_units == 0
    # Every law promises a lower loss for a higher rate: none is believed in that.
    assert max(job.main_multipliers) <= 1.0
    after = np.array(job.main_multipliers[400:])
    assert np.all(np.diff(after) <= 1e-12)
    assert after[-1] == pytest.approx(0.0, abs=0.01)
    return job


def codes(job: SimulatedJob) -> list[str]:
    return [entry.code for entry in job.controller.log]


def test_what_the_familys_runs_taught_plans_the_rest() -> None:
    job = run(BASE, of_the_family())
    assert codes(job)[:2] == ["remembered", "changed"]
    best, base = Lawful().after(HOLDS), Lawful().after(BASE)
    # From .3 of the budget on: half of what holding from the start would have saved, at the least.
    assert job.landscape.validate() < base - 0.5 * (base - best)


def test_a_curve_that_does_not_tell_decay_from_progress_changes_nothing() -> None:
    job = run()
    assert set(codes(job)) == {"keep_your_schedule"}
    assert job.landscape.validate() == pytest.approx(Lawful().after(BASE), rel=1e-12)
    numbers = job.controller.log[0].numbers
    hope, certainty = numbers["most_promising_gain"], numbers["most_promising_win_probability"]
    assert isinstance(hope, float)
    assert isinstance(certainty, float)
    assert hope > 0.02
    assert certainty < 0.9


def test_a_family_in_which_decay_brings_nothing_keeps_the_schedule() -> None:
    job = run(Schedule(length=STEPS, body=WSD(cooldown=0.2)), of_the_family())
    assert "changed" not in codes(job)


def test_a_schedule_of_ones_own_keeps_its_shape() -> None:
    job = run(OWN, of_the_family())
    assert "changed" not in codes(job)
    assert job.landscape.validate() == pytest.approx(Lawful().after(OWN), rel=1e-12)


def test_every_decision_states_what_was_asked_and_what_it_said() -> None:
    job = run(BASE, of_the_family())
    changed = next(entry for entry in job.controller.log if entry.code == "changed")
    assert changed.numbers["laws"] == ["own", "law_1"]
    assert {"way", "expected_gain", "win_probability", "predicted_loss", "predicted_sd"} <= set(
        changed.numbers
    )
    sent = next(one for one in job.controller.segments if "saves" in one.reason.text)
    assert sent.origin == "law"
    assert sent.reason.numbers["win_probability"] == changed.numbers["win_probability"]


def test_it_decides_at_the_declared_positions_only() -> None:
    job = run(BASE, of_the_family(), parameters={"decide_at": [0.5]})
    assert [one.start for one in job.controller.segments] == [0, 1000]


def test_a_law_of_the_family_that_cannot_be_read_is_said_and_left_out() -> None:
    strategy = get_strategy("law").from_document({})
    priors: dict[str, Any] = {LAWS: [{"id": "law_1"}]}
    job = SimulatedJob(strategy, facts(), landscape=Lawful(), priors=priors).run()
    assert codes(job)[0] == "not_remembered"
    assert len(job.main_losses) == STEPS


@pytest.mark.parametrize("wrong", [[0.5, 0.3], [0.3, 0.3], []])
def test_positions_that_do_not_rise_are_refused(wrong: list[float]) -> None:
    with pytest.raises((PacesetterError, ValueError), match="decide_at"):
        get_strategy("law").from_document({"decide_at": wrong})
