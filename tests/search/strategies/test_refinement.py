"""``refinement``: two short runs on the same batches, and the refined schedule only where it ended better."""

import math
import re
from typing import Any

import pytest
from pacesetter.protocol import (
    INITIAL,
    Capabilities,
    Measurements,
    ParameterGroup,
    Segment,
    SegmentEnded,
)
from pacesetter.schedules import Constant, Cosine, Linear, Refined, Schedule, Warmup, refine
from pacesetter.schedules.horizon import branch_decay
from pacesetter_search.contract import JobFacts, Overridden, Registered
from pacesetter_search.strategies.refinement import Refinement
from pacesetter_search.strategies.refinement.comparison import LEAST, Comparison, compare
from pacesetter_search.strategies.refinement.memory import MOST_ROWS, ShortRun, Window
from pacesetter_search.strategies.refinement.plans import short_copy
from pydantic import ValidationError

from tests.search.support.landscape import NoisyQuadratic
from tests.search.support.simulator import SimulatedJob, job_facts

TOTAL = 1600
SHORT = 100
CAPABLE: dict[str, Any] = {
    "rollback": "memory",
    "rewind_batches": "unlimited",
    "validate": True,
    "statistics": ("grad_norm",),
}


def facts(optimizer: str = "SGD", **changes: Any) -> JobFacts:
    capable = {**CAPABLE, **changes.pop("capable", {})}
    described: dict[str, Any] = {
        "base": Schedule(length=TOTAL, body=Constant()),
        "groups": (ParameterGroup(name="all", base_lr=0.5, optimizer=optimizer),),
        "capabilities": Capabilities.model_validate(capable),
        "overhead_cap": 0.15,
        "limits": {},
        **changes,
    }
    return job_facts(TOTAL, **described)


def norm(job: SimulatedJob) -> float:
    """Return the norm of the gradient at the weights of the landscape."""
    landscape = job.landscape
    assert isinstance(landscape, NoisyQuadratic)
    return float(sum((landscape.curvature * landscape.weights) ** 2) ** 0.5)


def noisy() -> NoisyQuadratic:
    return NoisyQuadratic(noise=0.3, floor=0.0)


def run(parameters: dict[str, Any] | None = None, **simulated: Any) -> SimulatedJob:
    described = simulated.pop("facts", facts())
    simulated = {"columns": {"grad_norm": norm}, "landscape": noisy(), **simulated}
    strategy = Refinement.from_document(parameters or {})
    return SimulatedJob(strategy, described, **simulated).run()


def codes(job: SimulatedJob) -> list[str]:
    return [entry.code for entry in job.controller.log]


def said(job: SimulatedJob, code: str) -> str:
    return next(entry.text for entry in job.controller.log if entry.code == code)


def last(job: SimulatedJob) -> Segment:
    return job.controller.segments[-1]


def test_where_the_base_does_not_decay_the_refined_schedule_wins_and_is_followed() -> None:
    job = run()
    base, refined, main = job.controller.segments
    assert codes(job) == ["short_run", "refined", "short_run", "takes_refined", "main"]
    assert [(one.kind, one.source, one.start, one.length) for one in (base, refined)] == [
        ("probe", INITIAL, 0, SHORT)
    ] * 2
    assert base.policy.body == Constant()
    assert (base.data, refined.data) == ("rewind", "rewind")
    assert refined.policy.body == main.policy.body
    assert (main.kind, main.start, main.end, main.policy.length) == ("main", 0, TOTAL, TOTAL)
    alone = SimulatedJob(Refinement.from_document({}), facts(overhead_cap=0.0), noisy()).run()
    assert job.landscape.validate() < 0.5 * alone.landscape.validate()


def test_the_shape_is_that_of_the_norms_of_the_first_short_run() -> None:
    job = run()
    seen = [
        (event.body.columns["grad_norm"])
        for event in job.controller.events
        if event.body.type == "measurements" and event.body.segment == 1
    ]
    norms = [value for column in seen for value in column if value is not None]
    assert len(norms) == SHORT
    wanted = refine(norms, optimizer="sgd", points=101)
    body = last(job).policy.body
    assert isinstance(body, Refined)
    assert body.values == pytest.approx(wanted.values)
    assert body.norm == "l2_squared"


def test_norms_that_do_not_change_tie_with_a_linear_decay_and_the_base_stays() -> None:
    linear = Schedule(length=TOTAL, body=Linear())
    job = run(facts=facts(base=linear), columns={"grad_norm": lambda _: 1.0})
    assert "keeps_base" in codes(job)
    assert last(job).policy == linear
    assert "0.2 % can be seen" in said(job, "keeps_base")


def test_a_job_by_adam_is_refined_by_the_l1_norm() -> None:
    described = facts("AdamW", capable={"statistics": ("grad_norm_l1",)})
    job = run(facts=described, columns={"grad_norm_l1": norm})
    body = last(job).policy.body
    assert isinstance(body, Refined)
    assert body.norm == "l1"


def test_norms_of_an_earlier_run_are_compared_as_well() -> None:
    norms = [1.0 + 0.0001 * step for step in range(300)]
    described = facts(capable={"statistics": ()})
    job = run({"norms": norms}, facts=described, columns={})
    assert codes(job)[:3] == ["short_run", "refined", "short_run"]
    body = last(job).policy.body
    assert isinstance(body, Refined)
    assert body.values == pytest.approx(refine(norms, optimizer="sgd", points=301).values)


def test_trusted_norms_cost_nothing_and_need_no_rollback() -> None:
    described = facts(capable={"rollback": "none", "rewind_batches": 0, "statistics": ()})
    strategy = Refinement.from_document({"norms": [1.0] * 50, "trust": True})
    assert list(strategy.obstacles(described)) == []
    job = SimulatedJob(strategy, described, noisy()).run()
    assert [one.kind for one in job.controller.segments] == ["main"]
    assert last(job).policy.at(TOTAL // 2) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [math.nan, None, 0.0])
def test_without_usable_norms_the_base_stays_after_one_short_run(value: float | None) -> None:
    job = run(columns={"grad_norm": lambda _: value})
    assert [one.kind for one in job.controller.segments] == ["probe", "main"]
    assert "no_norms" in codes(job)
    assert last(job).policy.body == Constant()


def test_a_few_broken_norms_are_left_out() -> None:
    broken = {3, 4, 50}
    job = run(columns={"grad_norm": lambda job: math.inf if job.steps in broken else norm(job)})
    assert "97 norms" in said(job, "refined")
    assert "takes_refined" in codes(job)


def test_a_short_run_that_diverges_leaves_the_base() -> None:
    job = run(landscape=NoisyQuadratic(explode_above=0.1))
    assert "broke" in said(job, "keeps_base")
    assert last(job).policy.body == Constant()


@pytest.mark.parametrize("kind", ["probe", "main"])
def test_what_the_job_refuses_leaves_the_base(kind: str) -> None:
    def refuse(segment: Segment) -> str | None:
        refined = isinstance(segment.policy.body, Refined)
        return "ABOVE_LIMIT" if segment.kind == kind and refined else None

    job = run(refuse=refuse)
    assert "the test says so" in said(job, "refused")
    assert "refused" in [entry.text for entry in job.controller.log if "keeps" in entry.code][-1]
    assert last(job).policy.body == Constant()
    assert len(job.main_losses) == TOTAL


def test_limits_that_forbid_the_refined_schedule_are_met_by_the_base() -> None:
    job = run(facts=facts(limits={"max_change_per_step": 1.0001}))
    assert "keeps_base" in codes(job)
    assert "refused" not in codes(job)
    assert last(job).policy.body == Constant()


def test_a_least_multiplier_becomes_the_floor() -> None:
    job = run(facts=facts(limits={"min_multiplier": 0.1}))
    assert "takes_refined" in codes(job)
    assert last(job).policy.at(TOTAL) == pytest.approx(0.1)


def test_late_and_lost_answers_cost_the_job_nothing_but_the_decision() -> None:
    job = run(deaf=lambda ended: ended == 1)
    assert len(job.main_losses) == TOTAL
    assert job.probe_units <= 0.15 * TOTAL
    slow = run(delay=7)
    assert len(slow.main_losses) == TOTAL
    assert slow.probe_units <= 0.15 * TOTAL


def test_a_person_who_takes_over_ends_the_comparison() -> None:
    strategy = Refinement.from_document({})
    job = SimulatedJob(strategy, facts(), noisy(), columns={"grad_norm": norm})
    job.controller.tell(Overridden(active=True, seq=9, position=0))
    (main,) = job.controller.tell(Overridden(active=False, seq=9, position=30))
    assert (main.start, main.policy.body) == (30, Constant())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"optimizer": "Muon"}, "for the optimizer Muon; set optimizer='sgd'"),
        ({"capable": {"statistics": ()}}, r"statistics=\('grad_norm',\)"),
        ({"capable": {"rewind_batches": 0}}, "the same batches"),
        ({"capable": {"rollback": "none"}}, "cannot roll back"),
        ({"capable": {"families": ("linear",)}}, "cannot evaluate refined"),
        ({"authority": "advise"}, "authority 'advise'"),
        ({"overhead_cap": 0.01}, "8 steps each, and 40 are the least"),
        ({"limits": {"max_probe_length": 20}}, "20 steps each"),
        (
            {"base": branch_decay(Schedule(length=TOTAL), 1000, 600)},
            "cannot be run in short",
        ),
    ],
)
def test_what_it_cannot_steer_it_says(changes: dict[str, Any], why: str) -> None:
    found = list(Refinement.from_document({}).obstacles(facts(**changes)))
    assert any(re.search(why, each) for each in found), found


@pytest.mark.parametrize(
    "parameters",
    [{"norms": [1.0] * 9}, {"norms": [-1.0] * 20}, {"norms": [math.nan] * 20}, {"share": 0.5}],
    ids=str,
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Refinement.from_document(parameters)


def test_a_short_copy_has_the_shape_of_the_long_schedule() -> None:
    base = Schedule(length=TOTAL, warmup=Warmup(length=160), body=Cosine())
    copy = short_copy(base, SHORT)
    assert copy is not None
    assert copy.warmup == Warmup(length=10)
    assert copy.at(55) == pytest.approx(base.at(880), abs=0.01)


def losses(*values: float) -> list[tuple[float, float]]:
    return [(float(place), value) for place, value in enumerate(values)]


def test_a_gain_has_to_stand_out_of_the_noise_of_the_pairs() -> None:
    first = ShortRun(losses=losses(*[2.0] * 16))
    better = ShortRun(losses=losses(*[1.9] * 16))
    found = compare(first, better)
    assert isinstance(found, Comparison)
    assert found.gain == pytest.approx(0.05)
    assert found.detectable == LEAST
    assert found.better
    # Eight blocks of two with means 1.9 +- .4: standard error .4 sqrt(8 / 7) / sqrt(8) = .151 of a loss of 2.
    rough = ShortRun(losses=losses(*[1.5, 1.5, 2.3, 2.3] * 4))
    found = compare(first, rough)
    assert isinstance(found, Comparison)
    assert found.detectable == pytest.approx(2.12 * 0.4 * math.sqrt(1 / 7) / 2.0)
    assert not found.better


def test_validation_decides_where_there_is_one() -> None:
    first = ShortRun(validation=1.0, losses=losses(*[2.0] * 16))
    second = ShortRun(validation=1.1, losses=losses(*[1.0] * 16))
    found = compare(first, second)
    assert isinstance(found, Comparison)
    assert found.gain == pytest.approx(-0.1)


def test_too_few_pairs_tell_nothing() -> None:
    assert compare(ShortRun(losses=losses(1.0)), ShortRun(losses=losses(1.0))) == (
        "only 1 losses of the two short runs can be paired"
    )


def test_a_window_stays_small_whatever_it_sees() -> None:
    window = Window()
    places: list[float | None] = [float(place) for place in range(5000)]
    columns = {"position": places, "step": places, "loss": [1.0] * 5000, "grad_norm": places}
    window.fold(Measurements(number=1, segment=1, position=0, columns=columns), "grad_norm", 5000)
    assert len(window.norms) <= MOST_ROWS
    assert window.norms[:3] == [0.0, 16.0, 32.0]
    assert len(window.losses) == MOST_ROWS


def ended(segment: int, **changes: Any) -> SegmentEnded:
    values = {
        "number": 1,
        "segment": segment,
        "position": SHORT,
        "kind": "probe",
        "outcome": "completed",
        "steps": SHORT,
        "main_position": 0,
        **changes,
    }
    return SegmentEnded.model_validate(values)


def test_a_short_run_on_other_batches_decides_nothing() -> None:
    job = SimulatedJob(Refinement.from_document({}), facts(), noisy())
    job.controller.tell(Registered())
    (main,) = job.controller.tell(ended(1, unpaired=True))
    assert (main.kind, main.policy.body) == ("main", Constant())
    assert "did not see the same batches" in said(job, "keeps_base")


def test_short_runs_that_are_interrupted_stay_within_the_cap() -> None:
    """A sixteenth each, and a cap of .15: there is room for two, and the first one was spent for nothing."""
    job = SimulatedJob(Refinement.from_document({}), facts(), noisy())
    job.controller.tell(Registered())
    (main,) = job.controller.tell(ended(1, outcome="interrupted", code="SILENCED"))
    assert (main.kind, main.policy.body) == ("main", Constant())
    assert "2 short runs of 100 do not fit into the 140 that are left" in said(job, "keeps_base")
