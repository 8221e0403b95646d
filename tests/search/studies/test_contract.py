"""What every strategy of experiments keeps, whatever it plans."""

import pytest
from pacesetter.protocol import Cost
from pacesetter_search.studies import (
    STUDY_STRATEGIES,
    Finished,
    Progress,
    UnknownStudyStrategy,
    get_study_strategy,
)

from tests.search.studies.specs import ended, plans, run, spec


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(UnknownStudyStrategy, match=r"no strategy 'hyperband'.*grid.*random"):
        get_study_strategy("hyperband")


@pytest.mark.parametrize("name", STUDY_STRATEGIES)
def test_a_strategy_is_what_it_is_called_and_says_what_it_does(name: str) -> None:
    strategy = get_study_strategy(name)
    assert strategy.name == name
    assert strategy.about().endswith(".")


def test_never_more_than_max_trials_pending_ones_among_them() -> None:
    strategy, of = get_study_strategy("random").from_document({}), spec(max_trials=7)
    assert len(plans(strategy, of, 100)) == 7
    pending = plans(strategy, of, 5)
    done = [ended(number, 1.0) for number in (1, 2)]
    assert not strategy.plan(of, done, pending, 3, of.seed)
    assert len(strategy.plan(of, done, pending[:4], 3, of.seed)) == 1


def test_nothing_is_planned_once_the_flops_are_spent() -> None:
    strategy, of = get_study_strategy("random").from_document({}), spec(max_flops=5.5)
    assert len(run(strategy, of, lambda _: 1.0)) == 6


def test_pending_trials_count_as_those_that_ended() -> None:
    strategy, of = get_study_strategy("random").from_document({}), spec(max_flops=5.5)
    pending = plans(strategy, of, 2)
    done = [ended(number, 1.0, flops=2.0) for number in (1, 2)]
    assert not strategy.plan(of, done, pending[:1], 1, of.seed)
    assert strategy.plan(of, done[:1], pending[:1], 1, of.seed)


def test_only_a_finite_loss_of_a_trial_that_is_done_is_a_score() -> None:
    assert ended(1, 2.5).score == 2.5
    assert ended(1, None).score is None
    assert ended(1, float("nan")).score is None
    assert Finished(1, {}, 2.5, Cost(), "failed").score is None


def test_what_was_tried_is_known_whatever_became_of_it() -> None:
    of = spec()
    failed = Finished(1, {"lr": 0.01, "width": 32}, None, Cost(), "failed")
    pending = plans(get_study_strategy("random").from_document({}), of, 1)
    progress = Progress(of, (failed,), tuple(pending), 0)
    assert progress.tried == {((False, 0.01),), ((False, pending[0].parameters["lr"]),)}
    assert progress.done == ()
    assert progress.planned == 2
