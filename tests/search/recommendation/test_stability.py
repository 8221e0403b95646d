"""Never far above what runs of the family have held."""

import math
from typing import Any

import pytest
from pacesetter.protocol import Recommendation
from pacesetter_search.recommendation import recommend

from tests.search.recommendation.cases import BATCH, PARAMETERS, TOKENS, run, target


def answer(*records: Any, **changes: Any) -> Recommendation:
    return recommend(target(batch_tokens=BATCH, **changes), records)


FREE = answer().lr or 0.0


def held_back(found: Recommendation) -> bool:
    return any("held back at" in one for one in found.warnings)


def test_where_nothing_was_lost_it_goes_beyond_what_was_tried_as_far_as_is_likely() -> None:
    """Up to where the best peak lies above with three to one: the lower end of the 50 % interval."""
    found = answer(run(1e-4, 3.1))
    assert found.lr_50 is not None
    assert found.lr == pytest.approx(found.lr_50[0])
    assert FREE > found.lr_50[0] > 1e-4
    assert any(
        "no run of the family was at more than 0.0001, and none was lost" in w
        for w in found.warnings
    )


def test_a_peak_that_held_above_the_best_one_holds_nothing_back() -> None:
    found = answer(run(2 * FREE, 3.1))
    assert found.lr == pytest.approx(FREE)
    assert not held_back(found)


def test_where_a_run_was_lost_it_stays_at_what_held() -> None:
    found = answer(run(5e-4, 3.1), run(8e-4, None))
    assert found.lr == pytest.approx(5e-4)
    assert any(
        "held back at 0.0005, as a run of the family was lost at 0.0008" in w
        for w in found.warnings
    )
    assert found.lr_90 is not None
    assert found.lr_90[1] > 5e-4  # what is believed of the best peak is not changed by it


def test_where_every_run_was_lost_it_goes_half_as_high_as_the_lowest() -> None:
    assert answer(run(8e-4, None), run(1.6e-3, None)).lr == pytest.approx(4e-4)


def test_a_run_lost_at_a_peak_that_another_held_is_an_accident() -> None:
    found = answer(run(8e-4, None), run(2 * FREE, 3.1))
    assert found.lr == pytest.approx(FREE)


@pytest.mark.parametrize(
    "changes",
    [
        {"family": "other"},
        {"regime": "finetune"},
        {"optimizer": "sgd"},
        {"parameters": 3 * PARAMETERS},
        {"completed": False, "final_loss": 3.0},
    ],
    ids=str,
)
def test_runs_of_another_family_kind_or_a_larger_model_hold_nothing_back(
    changes: dict[str, Any],
) -> None:
    lost = run(1e-4, None, **changes)
    assert answer(lost).lr == pytest.approx(FREE)


def test_the_widest_runs_count_and_small_proxies_do_not_speak_for_them() -> None:
    """A model a tenth of the size held 8e-3; at nearly full size 5e-4 is what is known to hold."""
    small = run(8e-3, 3.5, id="small", parameters=PARAMETERS / 10)
    wide = run(5e-4, 3.2, id="wide", parameters=PARAMETERS / 1.5)
    lost = run(1e-3, None, id="lost", parameters=PARAMETERS / 1.5)
    assert answer(small, wide, lost).lr == pytest.approx(5e-4)


def test_runs_of_a_sweep_that_were_lost_count_as_those_on_record() -> None:
    place = {"parameters": PARAMETERS, "tokens": TOKENS, "batch_tokens": BATCH}
    runs = [
        {"lr": 2.5e-4, "loss": 3.20},
        {"lr": 5e-4, "loss": 3.14},
        {"lr": 1e-3, "loss": 3.10},
        {"lr": 1.2e-3, "loss": None},
    ]
    found = answer(sweeps=[{**place, "runs": runs}])
    assert found.lr == pytest.approx(1e-3)
    assert held_back(found)
    blown = [*runs[:3], {"lr": 1.2e-3, "loss": 9.0}]
    assert answer(sweeps=[{**place, "runs": blown}]).lr == pytest.approx(1e-3)


def test_being_held_back_costs_what_it_is_off() -> None:
    free, held = answer(), answer(run(1e-4, 3.1), run(2e-4, None))
    assert held.lr == pytest.approx(1e-4)
    assert held.relative_loss_of_missing is not None
    assert free.relative_loss_of_missing is not None
    octaves = math.log2(FREE / 1e-4)
    assert held.relative_loss_of_missing > 0.0063 * octaves**2
    assert free.relative_loss_of_missing < 0.005


def test_runs_that_tell_which_peaks_hold_are_named_without_a_weight() -> None:
    """Four of one peak tell no best one, and the best of them alone tells the loss: all four hold the rate back."""
    records = [run(1e-4, 3.1 + 0.01 * place, id=f"{place}", tokens=TOKENS) for place in range(4)]
    larger = run(1e-4, 3.0, id="larger", parameters=2.1 * PARAMETERS)
    cut_short = run(2e-4, 3.0, id="short", completed=False)
    other = run(1e-4, 3.0, id="other", family="gpt")
    found = answer(*records, larger, cut_short, other).evidence
    named = {
        one.id: (one.weight, one.loss_weight, one.lr) for one in found if one.id in list("0123")
    }
    assert set(named) == {"0", "1", "2", "3"}
    assert named["1"] == named["2"] == named["3"] == (0.0, 0.0, 1e-4)
    assert named["0"][1] > 0.5
    assert not {one.id for one in found} & {"short", "other"}
    (own,) = [one for one in found if one.id == "larger"]
    assert (
        own.about == "loss"
    )  # too large to say what holds, and a final of the family all the same


def test_the_twenty_nearest_are_named() -> None:
    records = [
        run(1e-4, None, id=f"{place:02d}", parameters=PARAMETERS * 0.9**place)
        for place in range(30)
    ]
    named = [one.id for one in answer(*records).evidence if one.kind == "run"]
    assert named == [f"{place:02d}" for place in range(20)]
