"""Which laws of a family a job is told."""

from typing import Any

import pytest
from pacesetter.protocol import Workload
from pacesetter_search.laws import FittedMultiPower
from pacesetter_search.memory.kinds import Kind
from pacesetter_search.memory.laws import FamilyLaw, laws_for

from tests.search.memory.runs import BATCH, PARAMETERS

LAW = FittedMultiPower.of(3.0, 0.5, 0.5, 360.0, 2.0, 0.6, 0.64, exact=False)
WORKLOAD = Workload(family="bytes", parameters=PARAMETERS, batch_tokens=BATCH)
STEPS = 1024
KIND = Kind.of(WORKLOAD, "pretrain", "adamw")


def law(number: int = 1, *, curves: int = 3, **given: Any) -> FamilyLaw:
    workload = WORKLOAD.model_copy(update=given.pop("workload", {}))
    fields = {"momentum": 0.0, "longest": STEPS, "peak_lr": 1e-3, "kind": KIND, **given}
    return FamilyLaw(id=f"law_{number}", workload=workload, curves=curves, law=LAW, **fields)


def told(*laws: FamilyLaw) -> list[str]:
    return [
        each.id
        for each in laws_for(
            laws, WORKLOAD, KIND, momentum=0.0, peak_lr=1e-3 * 2.0**0.4, steps=STEPS
        )
    ]


def test_the_nearest_in_size_comes_first_and_the_best_founded_of_two() -> None:
    far = law(1, workload={"parameters": 3.0 * PARAMETERS})
    assert told(far, law(2), law(3, curves=9)) == ["law_3", "law_2", "law_1"]


def test_how_far_its_runs_are_away_is_told_with_it() -> None:
    far = law(1, workload={"parameters": 2.0 * PARAMETERS})
    [one] = laws_for([far], WORKLOAD, KIND, momentum=0.0, peak_lr=1e-3, steps=2.0 * STEPS)
    assert one.octaves == pytest.approx(2.0)


@pytest.mark.parametrize(
    "other",
    [
        {"workload": {"family": "code"}},
        {"workload": {"parameters": 5.0 * PARAMETERS}},
        {"workload": {"parameters": None}},
        {"workload": {"batch_tokens": 2.0 * BATCH}},
        {"workload": {"batch_tokens": None}},
        {"peak_lr": 4e-3},
        {"momentum": 0.9},
        {"longest": 5 * STEPS},
        {"longest": STEPS // 5},
        {"kind": Kind.of(WORKLOAD, "lora", "adamw")},
        {"kind": Kind.of(WORKLOAD, "pretrain", "muon")},
    ],
)
def test_a_law_of_other_runs_is_not_told(other: dict[str, Any]) -> None:
    assert told(law(1), law(2, **other)) == ["law_1"]
