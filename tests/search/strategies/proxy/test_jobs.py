"""Whole jobs under ``proxy``: when the proxies speak, the main line goes where they say, as far as that pays."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from pacesetter.protocol import (
    INITIAL,
    Acknowledgement,
    Capabilities,
    Measurements,
    ParameterGroup,
    ProxySearch,
)
from pacesetter.schedules import Linear, Schedule, Warmup
from pacesetter_search.contract import STUDY, Body, JobFacts, Overridden, Registered, Studied
from pacesetter_search.strategies import default_strategy, get_strategy
from pacesetter_search.strategies.proxy.memory import ProxyMemory

from tests.search.support.landscape import NoisyQuadratic
from tests.search.support.simulator import SimulatedJob, job_facts

TOTAL = 800
QUIET: dict[str, Any] = {"probe_share": 0.0}
"""What the job does when it is told is easier to see where it has not looked for itself."""
BEST = 0.1
"""Of the landscape's rate; what the proxies say where they are right."""


def facts(given: float = 0.1, **changes: Any) -> JobFacts:
    base = Schedule(length=TOTAL, warmup=Warmup(length=TOTAL // 50), body=Linear())
    same: dict[str, Any] = {
        "base": base,
        "groups": (ParameterGroup(name="all", base_lr=given),),
        "proxies": ProxySearch(proxy="noop"),
        "overhead_cap": 0.15,
        "limits": {"max_multiplier": 1000.0},
    }
    return job_facts(TOTAL, **{**same, **changes})


def says(
    lr: float | None,
    position: int = 0,
    sd: float = 0.4,
    trials: int = 7,
    *,
    bounded: bool = True,
    over: bool = False,
) -> Studied:
    return Studied(
        experiment="exp_1",
        trials=trials,
        over=over,
        bounded=bounded,
        position=position,
        log2_lr=None if lr is None else math.log2(lr),
        sd=sd,
        problem="" if lr is not None else "no cell has a run that ended",
    )


def spoken(at: Mapping[int, Studied]) -> Callable[[SimulatedJob], Body | None]:
    """Return what proxies say when the main line first stands at a position."""
    left = dict(at)

    def hears(job: SimulatedJob) -> Body | None:
        said = left.pop(job.follower.position, None)
        return None if said is None else said.model_copy(update={"position": job.follower.position})

    return hears


def job(
    at: Mapping[int, Studied],
    parameters: Mapping[str, Any] | None = None,
    *,
    priors: Mapping[str, Any] | None = None,
    delay: int = 0,
    **changes: Any,
) -> SimulatedJob:
    strategy = get_strategy("proxy").from_document({**QUIET, **(parameters or {})})
    return SimulatedJob(
        strategy,
        facts(**changes),
        NoisyQuadratic(),
        hears=spoken(at),
        priors=dict(priors or {}),
        delay=delay,
    ).run()


def codes(run: SimulatedJob) -> list[str]:
    return [entry.code for entry in run.controller.log]


def rates(run: SimulatedJob, given: float) -> np.ndarray[Any, Any]:
    return given * np.array(run.main_multipliers)


def test_without_a_word_the_job_runs_its_whole_budget_at_what_is_known_beforehand() -> None:
    run = job({})
    assert len(run.main_losses) == TOTAL
    assert run.probe_units == 0
    assert codes(run) == ["main"]
    assert max(rates(run, 0.1)) == pytest.approx(0.1, rel=2.0)


def test_a_rate_far_below_is_raised_when_the_proxies_speak_and_rises_slowly() -> None:
    run = job({100: says(BEST)}, {"start_over": False}, given=BEST / 64)
    assert len(run.main_losses) == TOTAL
    assert codes(run) == ["main", "moves", "main"]
    found = rates(run, BEST / 64)
    assert found[:100].max() < BEST / 8
    assert 0.35 * BEST < found[150] < 1.5 * BEST
    # Over 2 % of the budget, from what ran.
    assert np.all(np.diff(found[100:116]) > 0.0)
    assert found[102] < 0.5 * found[116]


def test_a_rate_far_above_is_lowered_at_once() -> None:
    run = job({100: says(BEST)}, {"start_over": False, "trust": 1.0}, given=16 * BEST)
    assert codes(run) == ["main", "moves", "main"]
    found = rates(run, 16 * BEST)
    assert found[99] > 4 * BEST
    assert 0.35 * BEST < found[102] < 1.5 * BEST


def test_what_is_far_off_is_started_again_within_the_cap() -> None:
    run = job({100: says(BEST)}, {"trust": 1.0}, given=32 * BEST)
    assert "moves" in codes(run)
    assert len(run.main_losses) == TOTAL + 100
    again = rates(run, 32 * BEST)[100:]
    assert again.max() < 2.0 * BEST
    moved = next(entry for entry in run.controller.log if entry.code == "moves")
    assert moved.numbers["starts_over"] is True


def test_beyond_the_cap_the_line_goes_on_from_where_it_stands() -> None:
    run = job({200: says(BEST)}, {"trust": 1.0}, given=32 * BEST)
    assert len(run.main_losses) == TOTAL


def test_a_rate_that_is_right_is_kept() -> None:
    sure = {"trust": 1.0, "trust_octaves": 0.25}
    run = job({100: says(BEST), 200: says(BEST, trials=10)}, sure, given=BEST)
    assert codes(run) == ["main", "keeps", "keeps"]


def test_proxies_that_speak_late_move_nothing() -> None:
    run = job({500: says(BEST)}, given=BEST / 64)
    assert codes(run) == ["main", "too_late"]


def test_an_answer_that_is_not_sure_moves_less_than_one_that_is() -> None:
    unsure = job({100: says(BEST, sd=3.0)}, {"start_over": False}, given=BEST / 16)
    sure = job({100: says(BEST, sd=0.2)}, {"start_over": False}, given=BEST / 16)
    low, high = rates(unsure, BEST / 16).max(), rates(sure, BEST / 16).max()
    assert low < 0.75 * high


def test_rates_that_bound_nothing_are_waited_out_unless_no_more_will_come() -> None:
    waits = job({100: says(BEST, sd=1.2, bounded=False)}, given=BEST / 64)
    assert codes(waits) == ["main", "waits"]
    for word in (says(BEST, sd=1.2, bounded=False, over=True), says(BEST, bounded=False)):
        assert "moves" in codes(job({100: word}, given=BEST / 64))


def test_no_answer_yet_is_said_and_changes_nothing() -> None:
    run = job({100: says(None)})
    assert codes(run) == ["main", "no_study"]
    assert "no cell has a run that ended" in run.controller.log[1].text


def test_an_experiment_that_has_spoken_before_is_where_the_job_begins() -> None:
    run = job({}, priors={STUDY: says(BEST).model_dump(mode="json")}, given=BEST / 64)
    assert codes(run) == ["heard", "main"]
    assert 0.35 * BEST < rates(run, BEST / 64).max() < 1.5 * BEST


def test_a_word_that_cannot_be_read_is_said() -> None:
    run = job({}, priors={STUDY: {"log2_lr": "soon"}})
    assert codes(run) == ["no_study", "main"]


def test_it_ends_lower_than_the_rate_that_was_given() -> None:
    told = job({100: says(BEST)}, given=BEST / 64)
    untold = job({}, given=BEST / 64)
    assert told.landscape.validate() < 0.7 * untold.landscape.validate()


def test_a_job_that_cannot_roll_back_is_moved_and_not_started_again() -> None:
    run = job(
        {100: says(BEST)},
        {"trust": 1.0},
        given=32 * BEST,
        capabilities=Capabilities(),
    )
    assert len(run.main_losses) == TOTAL
    assert rates(run, 32 * BEST)[102] < 1.5 * BEST


def test_a_limit_on_the_change_per_step_makes_the_rise_slower() -> None:
    run = job(
        {100: says(BEST)},
        {"start_over": False, "overfitting_guard": False},
        given=BEST / 16,
        limits={"max_multiplier": 1000.0, "max_change_per_step": 2.0},
    )
    found = rates(run, BEST / 16)
    assert "refused" not in codes(run)
    assert np.all(found[101:400] <= 2.0001 * found[100:399])
    assert found[300] > 2.0 * found[99]


def test_a_second_word_while_the_job_starts_again_waits() -> None:
    run = job({90: says(BEST), 92: says(BEST / 2)}, {"trust": 1.0}, given=32 * BEST, delay=5)
    assert codes(run)[:4] == ["main", "moves", "main", "heard"]
    # Answered once it has begun again: half an octave lower, without another start.
    assert codes(run)[4:] == ["moves", "main"]
    assert len(run.main_losses) == TOTAL + 95


def test_a_job_with_proxies_listens_unless_it_names_another_strategy() -> None:
    assert default_strategy(facts()) == "proxy"
    assert default_strategy(facts(proxies=None)) == "fixed"


def test_a_job_without_proxies_is_refused_with_what_to_do() -> None:
    strategy = get_strategy("proxy").from_document({})
    (obstacle,) = strategy.obstacles(facts(proxies=None))
    assert "attach with proxy=" in obstacle
    assert tuple(strategy.obstacles(facts())) == ()


def test_a_person_who_steers_is_not_interrupted() -> None:
    strategy = get_strategy("proxy").from_document({})
    run = SimulatedJob(strategy, facts(BEST / 64), NoisyQuadratic())
    run.controller.tell(Registered())
    run.controller.tell(Overridden(active=True, seq=1, position=50))
    assert run.controller.tell(says(BEST, 60)) == []
    assert codes(run)[-1] == "heard"
    (handed_back,) = run.controller.tell(Overridden(active=False, seq=2, position=70))
    assert 0.35 * BEST < handed_back.policy.peak * BEST / 64 < 1.5 * BEST


def test_what_is_heard_late_does_not_move_a_job_that_is_handed_back() -> None:
    strategy = get_strategy("proxy").from_document(QUIET)
    run = SimulatedJob(strategy, facts(BEST / 64), NoisyQuadratic())
    (first, *_) = run.controller.tell(Registered())
    run.controller.tell(Overridden(active=True, seq=1, position=600))
    assert run.controller.tell(says(BEST, 610)) == []
    (handed_back, *_) = run.controller.tell(Overridden(active=False, seq=2, position=620))
    assert handed_back.policy.peak == first.policy.peak


def test_a_new_start_that_is_refused_goes_on_at_the_new_rate() -> None:
    strategy = get_strategy("proxy").from_document({**QUIET, "trust": 1.0})
    run = SimulatedJob(
        strategy,
        facts(32 * BEST),
        NoisyQuadratic(),
        hears=spoken({100: says(BEST)}),
        refuse=lambda segment: "NO_CHECKPOINT" if segment.source == INITIAL else None,
    ).run()
    assert len(run.main_losses) == TOTAL
    assert codes(run)[:5] == ["main", "moves", "main", "refused", "main"]
    assert rates(run, 32 * BEST)[105] < 2.0 * BEST


def test_a_job_that_cannot_go_back_rises_slowly_all_the_same() -> None:
    run = job({100: says(BEST)}, given=BEST / 64, capabilities=Capabilities())
    moved = next(entry for entry in run.controller.log if entry.code == "moves")
    assert moved.numbers["starts_over"] is False
    found = rates(run, BEST / 64)
    assert found[102] < 0.5 * found[116]
    assert np.all(np.diff(found[101:116]) > 0.0)


def standing_at_100() -> SimulatedJob:
    """Return a job far above the best rate that has said where it stands, and is told things by hand."""
    strategy = get_strategy("proxy").from_document({**QUIET, "trust": 1.0})
    run = SimulatedJob(strategy, facts(32 * BEST), NoisyQuadratic())
    run.controller.tell(Registered())
    run.controller.tell(
        Measurements(
            number=1, segment=1, position=100, columns={"position": [99.0], "step": [100.0]}
        )
    )
    return run


def test_a_new_start_that_a_person_forestalls_does_not_leave_the_job_deaf() -> None:
    run = standing_at_100()
    tell = run.controller.tell
    assert tell(says(BEST, 100))[0].source == INITIAL
    tell(Overridden(active=True, seq=2, position=105))
    (back, *_) = tell(Overridden(active=False, seq=3, position=110))
    assert (back.source, back.start) == ("current", 110)
    assert back.policy.at(130) * 32 * BEST < 2.0 * BEST
    assert tell(says(BEST, 110)) == []
    assert codes(run)[-1] == "keeps"


def test_what_is_heard_right_after_a_new_start_counts_from_there() -> None:
    run = standing_at_100()
    tell = run.controller.tell
    (again, *_) = tell(says(BEST, 100))
    tell(Acknowledgement(number=2, segment=again.seq, position=1, status="applied"))
    # The service has heard of no position since: it says the old one.
    (moved, *_) = tell(says(BEST / 2, 100, sd=0.2))
    assert moved.start <= 1
    assert ProxyMemory.model_validate(run.controller.state).lost <= 101


def test_only_a_job_that_is_steered_can_be_moved() -> None:
    strategy = get_strategy("proxy").from_document({})
    (obstacle,) = strategy.obstacles(facts(authority="advise"))
    assert "authority 'advise' does not allow" in obstacle


# -- a look of its own --


@pytest.mark.parametrize(("share", "rungs"), [(0.5, False), (1.0, True)])
def test_a_job_that_can_roll_back_looks_for_itself_within_its_share_of_the_cap(
    share: float, rungs: bool
) -> None:
    asked = {"probe_share": share, "trust": 0.0, "start_over": False}
    run = job({100: says(BEST)}, asked, given=BEST / 64)
    assert codes(run)[0] == "range_test"
    # Half of the cap pays for the range test alone.
    assert ("rung" in codes(run)) == rungs
    assert 0 < run.probe_units <= share * 0.15 * TOTAL
    assert len(run.main_losses) == TOTAL
    # Within three octaves of the best rate before anybody has spoken, from six below.
    assert rates(run, BEST / 64)[20:100].max() > BEST / 8
    assert 0.35 * BEST < rates(run, BEST / 64)[150:200].max() < 3.0 * BEST
    entry = next(one for one in run.controller.log if one.code == "main")
    assert entry.numbers["rungs"] == codes(run).count("measured")
    assert ("rungs of its own" in entry.text) == rungs


def test_who_looked_and_was_told_ends_lower_than_who_was_told_alone() -> None:
    told = {at: says(BEST, sd=0.3) for at in (200,)}
    looked, alone = (
        job(told, {"probe_share": share, "trust": 0.0, "start_over": False}, given=BEST / 64)
        for share in (1.0, 0.0)
    )
    assert np.mean(looked.main_losses[-50:]) < np.mean(alone.main_losses[-50:])


@pytest.mark.parametrize(
    "changes",
    [
        {"capabilities": Capabilities(rollback="none")},
        {"limits": {"max_multiplier": 1000.0, "allow_probes": False}},
        {"overhead_cap": 0.0},
    ],
)
def test_a_job_that_may_not_probe_begins_at_once(changes: dict[str, Any]) -> None:
    run = job({}, {"probe_share": 1.0}, **changes)
    assert (run.probe_units, codes(run)) == (0, ["main"])


def test_what_proxies_said_before_makes_a_look_worth_nothing() -> None:
    said = says(BEST, sd=0.2, trials=20, over=True).model_dump(mode="json")
    run = job({}, {"probe_share": 1.0, "trust_proxies": 1.0}, priors={STUDY: said}, given=BEST / 64)
    assert run.probe_units == 0
    assert codes(run) == ["heard", "not_bought", "main"]


def test_what_is_heard_while_the_job_looks_counts_and_moves_nothing() -> None:
    strategy = get_strategy("proxy").from_document({"trust": 0.0, "trust_proxies": 1.0})
    run = SimulatedJob(strategy, facts(BEST / 64), NoisyQuadratic())
    (probe,) = run.controller.tell(Registered())
    assert probe.kind == "probe"
    assert run.controller.tell(says(BEST, sd=0.2)) == []
    assert codes(run)[-1] == "heard"
    memory = ProxyMemory.model_validate(run.controller.state)
    assert memory.heard is not None
    assert (memory.at, memory.main_at, memory.chosen) == (0, 0, None)
