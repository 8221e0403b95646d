"""What a job registers of the schedules that it can follow."""

from typing import Any

import pytest
from pacesetter.protocol import JobSpec
from pacesetter.run.job import Capacity
from pacesetter.schedules import KNOWN_FAMILIES
from pydantic import ValidationError


def test_every_family_is_registered() -> None:
    capacity = Capacity("memory", 0, validate=False, statistics=(), world_size=1, state_bytes=0)

    assert capacity.capabilities().families == KNOWN_FAMILIES


@pytest.mark.parametrize("clock", ["steps", "tokens"])
def test_a_base_schedule_counts_in_the_clock_of_the_budget(clock: str) -> None:
    base = {
        "length": 100,
        "unit": "absolute",
        "peak": 0.02,
        "body": {"family": "power", "batch_tokens": 4096, "clock": "tokens"},
    }
    document: dict[str, Any] = {
        "name": "a",
        "external_id": "a",
        "nonce": "a",
        "budget": {"clock": clock, "total": 100},
        "base": base,
        "groups": [{"name": "a", "base_lr": 0.1}],
    }

    if clock == "tokens":
        assert JobSpec.model_validate(document).base.peak == 0.02
    else:
        with pytest.raises(ValidationError, match="power counts tokens, and the budget steps"):
            JobSpec.model_validate(document)
