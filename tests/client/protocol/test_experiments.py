"""Experiments and trials as they travel: what is refused, and with which words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter.protocol import (
    MAX_ERROR,
    MAX_POINTS,
    MAX_TRIALS,
    Choice,
    Claim,
    Cost,
    ExperimentSpec,
    Heartbeat,
    Lease,
    Range,
    Trial,
    TrialFailure,
    TrialPlan,
    TrialPoint,
    TrialResult,
)
from pydantic import ValidationError

RATES = Range(low=2.0**-10, high=2.0**-3)


def spec(**changes: object) -> ExperimentSpec:
    """Return a valid experiment with some fields changed."""
    fields: dict[str, object] = {
        "name": "rates",
        "proxy": "byte_lm",
        "space": {"lr": RATES},
        "fixed": {"width": 32, "steps": 300},
        "max_trials": 9,
    }
    return ExperimentSpec.model_validate(fields | changes)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"low": 1.0, "high": 1.0}, "not below high", id="one point"),
        pytest.param({"low": 2.0, "high": 1.0}, "swap them", id="ends swapped"),
        pytest.param({"low": 0.0, "high": 1.0}, "start above 0", id="log of zero"),
        pytest.param({"low": -1.0, "high": 1.0}, "start above 0", id="log below zero"),
        pytest.param({"low": 0.5, "high": 4, "integer": True}, "whole ends", id="half an end"),
        pytest.param({"low": math.nan, "high": 1.0}, "finite", id="low NaN"),
        pytest.param({"low": 1.0, "high": math.inf}, "finite", id="no upper end"),
        pytest.param({"low": 1.0, "high": 2.0, "scale": "log"}, "'log2'", id="unknown scale"),
    ],
)
def test_an_impossible_range_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Range.model_validate(fields)


def test_a_linear_range_may_hold_zero() -> None:
    assert Range(low=-1.0, high=1.0, scale="linear").low == -1.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param([], "at least 1", id="none"),
        pytest.param(["a", "b", "a"], "twice", id="a text twice"),
        pytest.param([1, 1.0], "twice", id="one number in two types"),
        pytest.param([math.nan], "finite", id="not a number"),
        pytest.param(["\0"], "match", id="NUL"),
        pytest.param([None], "valid", id="null"),
    ],
)
def test_an_impossible_choice_is_refused(values: list[object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Choice.model_validate({"values": values})


def test_true_and_one_are_different_choices() -> None:
    assert Choice(values=(True, 1, 0, False)).values == (True, 1, 0, False)


@given(st.lists(st.one_of(st.booleans(), st.integers(-9, 9), st.floats(-1, 1), st.text("ab1"))))
def test_values_keep_their_types_over_the_wire(values: list[bool | int | float | str]) -> None:
    plan = TrialPlan(parameters={str(number): value for number, value in enumerate(values)})
    back = TrialPlan.model_validate_json(plan.model_dump_json())
    assert [(type(value), value) for value in back.parameters.values()] == [
        (type(value), value) for value in values
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"fixed": {"lr": 0.1}}, "not both", id="searched and fixed"),
        pytest.param({"max_trials": 0}, "greater than or equal to 1", id="no trial"),
        pytest.param({"max_trials": MAX_TRIALS + 1}, "less than or equal", id="too many trials"),
        pytest.param({"max_flops": 0.0}, "greater than 0", id="no FLOPs"),
        pytest.param({"max_flops": "NaN"}, "finite", id="FLOPs no number"),
        pytest.param({"max_attempts": 11}, "less than or equal to 10", id="too many attempts"),
        pytest.param({"progress_seconds": 0.0}, "greater than 0", id="no time for a step"),
        pytest.param({"proxy": "../x"}, "pattern", id="a path as proxy"),
        pytest.param({"proxy": "a:b:c"}, "pattern", id="two colons"),
        pytest.param({"proxy": ""}, "pattern", id="no proxy"),
        pytest.param({"space": {"": RATES}}, "at least 1 character", id="nameless parameter"),
        pytest.param({"space": {"lr": {"low": 1, "high": 2}}}, "discriminator", id="no kind"),
        pytest.param({"fixed": {"lr2": "NaN", "x": math.inf}}, "finite", id="infinite value"),
        pytest.param({"trials": 3}, "Extra inputs", id="misspelt field"),
        pytest.param({"coordinates": [32]}, "expected 2 to 16 of them", id="one width"),
        pytest.param({"coordinates": [128, 32]}, "rising", id="falling widths"),
        pytest.param({"coordinates": [32, 64]}, "128 or more", id="widths too close"),
        pytest.param({"coordinates": ["32", "128"]}, "valid integer", id="widths as texts"),
        pytest.param({"coordinates": [True, 128]}, "valid integer", id="true as a width"),
        pytest.param({"coordinates": [*range(1, 18)]}, "at most 16 items", id="too many widths"),
        pytest.param(
            {"coordinates": [32, 128], "fixed": {"coordinates": "32 64"}},
            "leave one of them out",
            id="coordinates twice",
        ),
        pytest.param(
            {"coordinates": [32, 128], "fixed": {str(n): n for n in range(99)}},
            "takes one more than they",
            id="no room for coordinates",
        ),
    ],
)
def test_an_impossible_experiment_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        spec(**changes)


def test_an_experiment_survives_the_wire() -> None:
    sent = spec(
        space={"lr": RATES, "act": Choice(values=("relu", "gelu"))},
        proxy="my.module:train",
        strategy={"name": "grid", "parameters": {"points": 9}},
        max_flops=1e15,
    )
    assert ExperimentSpec.model_validate_json(sent.model_dump_json()) == sent


def test_what_was_not_given_is_still_known_after_the_wire() -> None:
    sent = spec(workload={"family": "bytes"}, space={"lr": RATES, "act": Choice(values=("relu",))})
    back = ExperimentSpec.model_validate_json(sent.model_dump_json(exclude_unset=True))
    assert back == sent
    assert back.workload.model_fields_set == {"family"}
    assert "regime" not in back.model_fields_set


def test_a_diverged_loss_travels_as_a_text() -> None:
    result = TrialResult(token="t", loss=math.inf, metrics={"top": math.nan})
    assert '"loss":"Infinity"' in result.model_dump_json()
    back = TrialResult.model_validate_json(result.model_dump_json())
    assert back.loss == math.inf
    assert math.isnan(back.metrics["top"])


@pytest.mark.parametrize("token", ["", "a b", "x" * 101, "ä"])
def test_a_token_of_no_lease_is_refused(token: str) -> None:
    with pytest.raises(ValidationError, match="token"):
        Heartbeat(token=token)


def test_a_heartbeat_has_at_most_so_many_points() -> None:
    points = tuple(TrialPoint(step=step, loss=1.0) for step in range(MAX_POINTS + 1))
    assert len(Heartbeat(token="t", points=points[1:]).points) == MAX_POINTS
    with pytest.raises(ValidationError, match=str(MAX_POINTS)):
        Heartbeat(token="t", points=points)


def test_a_failure_needs_a_text_within_bounds() -> None:
    assert len(TrialFailure(token="t", error="x" * MAX_ERROR).error) == MAX_ERROR
    for error in ("", "x" * (MAX_ERROR + 1)):
        with pytest.raises(ValidationError, match="error"):
            TrialFailure(token="t", error=error)


@pytest.mark.parametrize("field", ["steps", "tokens", "flops", "seconds"])
def test_a_cost_is_not_below_zero_and_finite(field: str) -> None:
    for value in (-1, math.inf, math.nan):
        with pytest.raises(ValidationError, match=field):
            Cost.model_validate({field: value})


def test_a_claim_names_what_may_run() -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        Claim(worker="w", proxies=())
    with pytest.raises(ValidationError, match="pattern"):
        Claim(worker="w", proxies=("my.module:*",))


def test_a_worker_reads_the_lease_of_a_newer_service() -> None:
    trial = Trial(
        id="t_1",
        experiment="e_1",
        number=1,
        proxy="noop",
        parameters={"lr": 0.5},
        seed=3,
        attempt=1,
        progress_seconds=300.0,
    )
    lease = Lease(trial=trial, token="abc", seconds=60.0)
    sent = lease.model_dump(mode="json")
    sent["trial"]["priority"] = 2
    sent["region"] = "here"
    assert Lease.model_validate(sent) == lease
