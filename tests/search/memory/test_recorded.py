"""Runs on record, sorted and grouped once for every question."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter_search.memory import Recorded, RunRecord
from pacesetter_search.memory import optima as optima_module
from pacesetter_search.memory.kinds import SCALE, Kind
from pacesetter_search.memory.optima import (
    ALIKE,
    MOST_RUNS,
    SAME_SHAPE,
    first_of,
    leads_of,
)
from pacesetter_search.memory.prior import nearest
from pacesetter_search.transfer import Optimum
from pacesetter_search.transfer.sweeps import best_peak

from tests.search.memory.runs import BATCH, PARAMETERS, found, optima_of, record

LANGUAGE = Kind("pretrain", "adam", "standard", "min loss")


def groups_by_the_letter(records: list[RunRecord]) -> list[list[str]]:
    """Return ids of runs that compare, each run held against the first of every group: slow, and obvious."""
    groups: list[list[RunRecord]] = []
    for one in records:
        alike = (group for group in groups if _compare(group[0], one))
        group = next(alike, None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return [[one.id for one in group] for group in groups if len(group) > 1]


def _compare(one: RunRecord, other: RunRecord) -> bool:
    numbers = [
        (each.workload.parameters or 0.0, each.tokens or 0.0, each.workload.batch_tokens or 0.0)
        for each in (one, other)
    ]
    return (
        one.workload.family == other.workload.family
        and one.optimizer == other.optimizer
        and one.validated == other.validated
        and abs(one.shape_octaves - other.shape_octaves) <= SAME_SHAPE
        and math.isclose(one.weight_decay, other.weight_decay, rel_tol=ALIKE)
        and all(math.isclose(a, b, rel_tol=ALIKE) for a, b in zip(*numbers, strict=True))
    )


def fleet(seed: int, count: int) -> list[RunRecord]:
    """Return runs around few places, so that many nearly compare."""
    draw = np.random.default_rng(seed)
    return [
        record(
            number,
            family=draw.choice(["bytes", ""]),
            parameters=PARAMETERS * 1.013 ** int(draw.integers(0, 4)),
            tokens=2.0**19 * 1.013 ** int(draw.integers(0, 4)),
            batch=BATCH * float(draw.choice([1.0, 1.01, 2.0])),
            optimizer=str(draw.choice(["adam", "adamw"])),
            shape_octaves=float(draw.choice([0.0, -0.06, -0.12])),
            weight_decay=float(draw.choice([0.0, 0.1, 0.101])),
            peak_lr=2.0 ** float(draw.uniform(-9.0, -5.0)),
            final_loss=float(draw.uniform(2.0, 2.1)),
        )
        for number in range(count)
    ]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 80))
def test_runs_are_grouped_as_if_each_were_held_against_every_group(seed: int, count: int) -> None:
    records = fleet(seed, count)
    grouped = [[one.id for one in lead.runs] for lead in leads_of(records)]
    assert grouped == groups_by_the_letter(records)


def test_five_thousand_runs_are_grouped_without_holding_each_against_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = 0
    original = optima_module._same_but_for_peak_and_shape

    def counted(one: RunRecord, other: RunRecord) -> bool:
        nonlocal compared
        compared += 1
        return original(one, other)

    monkeypatch.setattr(optima_module, "_same_but_for_peak_and_shape", counted)
    records = [
        record(number, parameters=PARAMETERS * 1.1 ** (number % 100), tokens=2.0**19 * 1.1**place)
        for place in range(25)
        for number in range(200)
    ]
    assert len(leads_of(records)) == 2500
    # Each second run of a place with its first one; for large models twice more, as of all shapes together.
    large = sum(2 for number in range(100) if PARAMETERS * 1.1**number >= SCALE) * 25
    assert large > 0
    assert compared == 2500 + large


def test_only_the_peaks_that_matter_are_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    worked_out = 0

    def counted(*given: Any) -> tuple[float, float]:
        nonlocal worked_out
        worked_out += 1
        return best_peak(*given)

    monkeypatch.setattr(optima_module, "best_peak", counted)
    optima_module._peak_of.cache_clear()
    records = [
        record(
            2 * place + at,
            tokens=2.0**19 * 1.2**place,
            peak_lr=2.0 ** (-7 - at),
            final_loss=2.0 + 0.01 * at + place / 1e4,
        )
        for place in range(40)
        for at in (0, 1)
    ]
    leads = leads_of(records)
    target = Optimum(PARAMETERS, 2.0**19, BATCH, 1.0, family="bytes")
    near = first_of(nearest(leads, target), 5)
    assert [round(math.log(each.optimum.tokens / 2.0**19, 1.2)) for each in near] == [0, 1, 2, 3, 4]
    assert worked_out == 5
    # One run more changes its own group alone.
    again = leads_of([*records, record(99, peak_lr=2.0**-9, final_loss=2.1)])
    first_of(nearest(again, target), 5)
    assert worked_out == 6
    assert len(optima_of(records)) == 40


def test_a_crowd_at_one_place_is_worked_out_from_its_newest() -> None:
    crowd = [
        record(number, peak_lr=2.0 ** (-9 + number % 5), final_loss=2.0 + number % 3)
        for number in range(200)
    ]
    (lead,) = leads_of(crowd)
    assert [one.id for one in lead.runs] == [f"curve_{number}" for number in range(MOST_RUNS)]


def test_runs_are_sorted_by_kind_once() -> None:
    records = [record(1), record(2, optimizer="sgd"), record(3, regime="lora"), found(4)]
    recorded = Recorded(records)
    assert recorded.of(LANGUAGE) == (records[0], records[3])
    assert sum(map(len, recorded.kinds.values())) == 4
    assert recorded.of(Kind("rl", "adam", "standard", "min loss")) == ()
    assert recorded.names["curve_2"] == "run 2"
    assert recorded.leads(LANGUAGE) is recorded.leads(LANGUAGE)
    assert [each.optimum for lead in recorded.leads(LANGUAGE) if (each := lead.best())] == [
        each.optimum for each in optima_of(recorded.of(LANGUAGE))
    ]


def test_a_lead_whose_runs_bend_around_nothing_tells_nothing() -> None:
    lost = [record(1, peak_lr=2.0**-7), record(2, peak_lr=2.0**-8, final_loss=9.0)]
    (lead,) = leads_of(lost)
    assert lead.best() is None
    assert first_of([lead, *leads_of([found(3)])], 1)[0].sources == ("curve_3",)
