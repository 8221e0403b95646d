"""What may be asked, and what contradicts itself."""

import math
from typing import Any

import pytest
from pacesetter_search.recommendation import Query, Target
from pydantic import ValidationError

from tests.search.recommendation.cases import ASKED, target


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parameters": None}, "parameters are missing"),
        ({"tokens": None}, "tokens are missing: give the whole budget, or steps and batch_tokens"),
        ({"tokens": None, "steps": 100}, "tokens are missing"),
        ({"steps": 10_000, "batch_tokens": 51_200}, "are 250000 a step, and batch_tokens is 51200"),
        ({"steps": 10**10}, "leave less than a token"),
        ({"batch_tokens": 1e10}, "larger than the budget"),
        ({"batch_tokens": 1e6, "max_batch_tokens": 1e5}, "more than the 100000 that the hardware"),
        ({"steps": 100, "warmup_steps": 100}, "a warm-up of 100 leaves nothing of 100 steps"),
        ({"schedule_family": "wsdd"}, "'wsdd' is no family; families are constant, cosine"),
        ({"schedule_family": "uba"}, 'no defaults for phi: give it as {"family": "uba", ...}'),
        ({"schedule_family": "cosine", "extendable": True}, "cosine is bound to its horizon"),
        (
            {"schedule_family": {"family": "table", "positions": [0, 1], "values": [1, 0]},
             "extendable": True},
            "table is bound to its horizon",
        ),
        ({"schedule_family": "one_cycle", "warmup_steps": 10}, "one_cycle rises by itself"),
        ({"floor": 1.0}, "less than 1"),
        ({"beta2": 1.0}, "less than 1"),
        ({"epochs": 0}, "greater than 0"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_says_where(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        target(**changes)
    assert words in str(refused.value)


def test_steps_and_a_batch_that_nearly_agree_are_taken() -> None:
    asked = target(steps=48_000, batch_tokens=51_200).asked()
    assert (asked.batch, asked.steps) == (51_200, 48_000)


def test_what_is_flat_asks_the_same_as_the_whole_document() -> None:
    flat = {
        **ASKED,
        "family": "llm",
        "batch_tokens": 51_200,
        "regime": "finetune",
        "objective": "accuracy",
        "mode": "max",
        "schedule_family": "wsd",
        "floor": 0.1,
        "extendable": True,
        "borrow": True,
        "max_batch_tokens": 1e6,
        "beta2": 0.99,
        "momentum": 0.5,
        "warmup_steps": 100,
        "epochs": 3,
        "width_ratio": 2.0,
        "depth_ratio": 2.0,
        "parametrization": "mup",
        "optimizer": "sgd",
        "steps": None,
    }
    whole = {**flat, "objective": {"name": "accuracy", "mode": "max"}}
    del whole["mode"]
    assert Query.model_validate(flat).target() == Target.model_validate(whole)
    missing = set(Target.model_fields) - {"evidence", "sweeps"} - set(Query.model_fields)
    assert missing == set()


def test_a_flat_question_that_contradicts_itself_is_refused_too() -> None:
    with pytest.raises(ValidationError, match="cosine is bound to its horizon"):
        Query(**ASKED, schedule_family="cosine", extendable=True)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0, 1e16])
@pytest.mark.parametrize("name", ["parameters", "tokens", "batch_tokens", "max_batch_tokens"])
def test_counts_are_possible(name: str, value: float) -> None:
    with pytest.raises(ValidationError):
        target(**{name: value})


def test_a_measurement_under_a_schedule_without_a_rate_is_refused() -> None:
    place = {"parameters": 1e8, "tokens": 1e9, "batch_tokens": 1e5, "lr": 1e-3}
    with pytest.raises(ValidationError, match="has a rate of zero throughout"):
        target(evidence=[{**place, "schedule": {"length": 10, "peak": 0.0}}])
