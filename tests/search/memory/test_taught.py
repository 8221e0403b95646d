"""What a person is shown of what runs teach: the same numbers that jobs and recommendations are given."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.protocol import Objective
from pacesetter_search.memory import Recorded, RunRecord
from pacesetter_search.memory.prior import peak_prior
from pacesetter_search.memory.taught import KINDS, SHOWN, TaughtKind, TaughtPeak, Wanted, taught
from pacesetter_search.transfer import hinge_peak
from pacesetter_search.transfer.published import weight_decay_timescale

from tests.search.memory.runs import BATCH, PARAMETERS, best, found, record

LARGE: dict[str, Any] = {"parameters": 124e6, "batch": 51_200.0, "tokens": 2.5e9}


def one_kind(records: list[RunRecord], **wanted: Any) -> TaughtKind:
    (kind,) = taught(Recorded(records), Wanted(**wanted))
    return kind


def peak_of(kind: TaughtKind) -> TaughtPeak:
    assert kind.peak is not None
    return kind.peak


def sweep(factors: tuple[float, ...] = (0.5, 1.0, 2.0), **changes: Any) -> list[RunRecord]:
    """Return large runs around the law's best peak, a third of an octave above it."""
    centre = 1.26 * hinge_peak(124e6, 2.5e9, 51_200.0)
    return [
        record(
            place,
            peak_lr=factor * centre,
            final_loss=3.0 * (1.0 + 0.0063 * math.log2(factor) ** 2),
            **{**LARGE, **changes},
        )
        for place, factor in enumerate(factors)
    ]


def test_no_runs_teach_nothing() -> None:
    assert taught(Recorded([]), Wanted()) == ()


def test_the_best_peak_is_the_one_that_a_job_would_be_given() -> None:
    records = [found(number, tokens=2.0 ** (19 + number % 3)) for number in range(6)]
    kind = one_kind(records, tokens=2.0**20, parameters=2 * PARAMETERS)
    assert kind.reference is not None
    workload = records[0].workload.model_copy(update={"parameters": 2 * PARAMETERS})
    prior = peak_prior(records, workload, regime="pretrain", optimizer="adamw", tokens=2.0**20)
    assert prior is not None
    peak = peak_of(kind)
    assert math.log2(peak.lr) == pytest.approx(prior.log2_lr)
    assert peak.sd_octaves == pytest.approx(prior.sd)
    # Short runs are four doublings ahead of their job, and what they end with moves the fall on the way.
    fall = peak.slopes["tokens"].mean + peak.by_final_losses / 4.0
    assert fall == pytest.approx(-prior.drift)
    assert peak.steepness == pytest.approx(prior.steepness)
    assert {one.curve: one.weight for one in kind.told_by} == {
        one.id: pytest.approx(one.weight) for one in prior.sources
    }
    assert set(peak.slopes) == {"parameters", "tokens", "batch", "width", "depth", "shape"}


def test_the_reference_is_like_the_newest_run_whose_place_is_known() -> None:
    unplaced = record(9, batch=None, tokens=None)
    kind = one_kind([unplaced, found(1), found(2, tokens=2.0**22)])
    assert kind.reference is not None
    assert (kind.reference.tokens, kind.reference.batch_tokens) == (2.0**19, BATCH)
    peak = peak_of(kind)
    off = math.log2(peak.lr) - best(PARAMETERS, 2.0**19)
    assert abs(off) < peak.sd_octaves < 1.0
    nowhere = one_kind([unplaced])
    assert (nowhere.reference, nowhere.peak, nowhere.runs) == (None, None, 1)


def test_a_sweep_of_large_models_is_held_against_the_law() -> None:
    records = sweep()
    kind = one_kind(records)
    peak = peak_of(kind)
    assert peak.from_law
    law = hinge_peak(124e6, 2.5e9, 51_200.0)
    assert law < peak.lr < 1.26 * law
    (optimum,) = kind.optima
    assert optimum.curves == tuple(one.id for one in records)
    assert optimum.lr == pytest.approx(1.26 * law, rel=0.1)
    assert 0.1 < optimum.weight < 1.0
    shares = [one.weight for one in kind.told_by]
    assert shares == pytest.approx([optimum.weight / 3] * 3)
    assert not peak_of(one_kind(records, parameters=1e6)).from_law


def test_optima_that_contradict_each_other_are_shown_to() -> None:
    apart = [found(n, tokens=2.0**19 * (1 + 0.1 * n)) for n in range(6)]
    torn = [
        one.model_copy(
            update={
                "found": (
                    one.found[0].model_copy(
                        update={"log2_lr": one.found[0].log2_lr + (4.0 if n % 2 else -4.0)}
                    ),
                )
            }
        )
        for n, one in enumerate(apart)
    ]
    assert peak_of(one_kind(apart)).disagreement == 0.0
    assert peak_of(one_kind(torn)).disagreement > 2.0


def test_timescales_are_those_that_were_used_beside_the_published_ones() -> None:
    records = [*sweep((1.0,), weight_decay=0.1), *sweep((1.0,), weight_decay=0.0)]
    decayed, free = one_kind(records).told_by
    expected = 51_200.0 / (records[0].peak_lr * 0.1 * 2.5e9)
    assert decayed.timescale == pytest.approx(expected)
    assert decayed.published_timescale == pytest.approx(weight_decay_timescale(2.5e9 / 124e6))
    assert (free.timescale, free.published_timescale) == (None, None)
    (tuned,) = one_kind(sweep((1.0,), weight_decay=0.1, regime="finetune")).told_by
    assert tuned.timescale == pytest.approx(expected)
    assert tuned.published_timescale is None


def test_kinds_stand_apart_and_are_asked_for_one_by_one() -> None:
    records = [
        *(found(n) for n in range(3)),
        found(3, optimizer="sgd"),
        found(4, regime="lora", family="other"),
        found(5, objective=Objective(name="reward", mode="max")),
    ]
    everything = taught(Recorded(records), Wanted())
    assert [kind.runs for kind in everything] == [3, 1, 1, 1]
    assert everything[0].families == {"bytes": 3}
    assert one_kind(records, optimizer="SGD").optimizer == "sgd"
    assert one_kind(records, regime="lora").told_by[0].curve == "curve_4"
    assert one_kind(records, family="other").regime == "lora"
    assert taught(Recorded(records), Wanted(parametrization="mup")) == ()
    assert taught(Recorded(records), Wanted(family="unknown")) == ()


def test_lists_are_bounded() -> None:
    """A hundred and twenty runs and sixty kinds."""
    many = one_kind([record(n) for n in range(119)] + [found(119)])
    assert (many.runs, len(many.told_by)) == (120, SHOWN)
    assert many.told_by[0].curve == "curve_119"  # the oldest, and the only one that tells a peak
    assert [one.curve for one in many.told_by[1:3]] == ["curve_0", "curve_1"]
    kinds = [record(n, objective=Objective(name=f"loss {n}")) for n in range(60)]
    assert len(taught(Recorded(kinds), Wanted())) == KINDS


@settings(deadline=None, max_examples=30)
@given(
    st.floats(1.0, 1e15),
    st.floats(1.0, 1e15),
    st.floats(1.0, 1e15),
    st.sampled_from(["standard", "mup"]),
)
def test_any_reference_has_finite_numbers(
    parameters: float, tokens: float, batch: float, parametrization: str
) -> None:
    workload = found(0).workload.model_copy(update={"parametrization": parametrization})
    records = [found(0).model_copy(update={"workload": workload})]
    kind = one_kind(records, parameters=parameters, tokens=tokens, batch_tokens=batch)
    peak = peak_of(kind)
    assert all(math.isfinite(one) for one in (*peak.lr_90, peak.sd_octaves))
    assert peak.lr_90[0] < peak.lr < peak.lr_90[1]
