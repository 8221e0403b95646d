"""The answer of a study: on known landscapes, with what makes it doubtful."""

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.protocol import Choice, Cost, ExperimentSpec, Range, Value, Workload
from pacesetter_search.studies import Finished, document, evidence, transfer_study
from pacesetter_search.studies.cells import Cell, Place
from pacesetter_search.transfer.peak import Z90

from tests.search.studies.specs import LR, spec
from tests.search.studies.truth import TARGET, Truth, cost

RATES = tuple(range(-9, -2))
PLACE = Place(width=256, steps=1200)


def study_spec() -> ExperimentSpec:
    widths, steps = Choice(values=(32, 64, 128)), Choice(values=(150, 300, 600, 1200))
    return spec(
        {"lr": LR, "width": widths, "steps": steps},
        fixed={"batch": 16, "parametrization": "mup"},
        max_trials=100,
        regime="pretrain",
    )


def trials(
    truth: Truth, cells: list[tuple[int, int]], rates: tuple[int, ...] = RATES
) -> list[Finished]:
    found: list[Finished] = []
    for width, steps in cells:
        for rate in rates:
            parameters: dict[str, Value] = {"lr": 2.0**rate, "width": width, "steps": steps}
            parameters["batch"] = 16
            one = Finished(len(found) + 1, parameters, truth.loss(parameters), cost(parameters))
            found.append(one)
    return found


CELLS = [(32, 300), (64, 300), (32, 600), (32, 1200)]


def test_the_target_is_found_and_the_interval_holds_it() -> None:
    """Ten landscapes: the widest cell has a fourth of the target's width."""
    errors, held = [], 0
    for seed in range(10):
        truth = Truth(seed=seed)
        study = transfer_study(study_spec(), trials(truth, CELLS), PLACE)
        errors.append(study.peak.mean - truth.optimum(TARGET))
        held += abs(errors[-1]) < Z90 * study.peak.sd
        assert study.lr == pytest.approx(2.0**study.peak.mean)
        assert study.interval_90[0] < study.interval_50[0] < study.lr < study.interval_50[1]
    assert math.sqrt(sum(error**2 for error in errors) / 10) < 0.3
    assert held >= 9


def test_each_cell_has_its_own_optimum() -> None:
    truth = Truth(seed=1)
    study = transfer_study(study_spec(), trials(truth, CELLS), PLACE)
    assert [one.cell.width for one in study.cells] == [32.0, 32.0, 32.0, 64.0]
    for one in study.cells:
        assert one.found is not None
        assert one.found.mean == pytest.approx(truth.optimum(one.cell), abs=0.35)
        assert (one.trials, one.diverged) == (7, 0)
        assert one.tokens == one.cell.steps * 16 * 64
        assert one.best_lr is not None
        assert abs(math.log2(one.best_lr) - truth.optimum(one.cell)) <= 1.5
    tokens, sd = study.slopes["tokens"]
    assert tokens == pytest.approx(truth.by_steps, abs=2.0 * sd)
    assert sd < 0.15
    assert study.target == TARGET


CONTRADICTING = {
    75: ((-9.32, 2.2919), (-7.66, 2.2098), (-5.99, 2.0360), (-4.32, 1.5449), (-2.66, 0.9103)),
    150: ((-1.70, 0.3058), (-0.86, 0.4198), (-0.02, 0.5031)),
}
"""Really measured, on images under SGD: the first cell's best rate is 2^-1 to 2^.7, the second's 2^-1.7 or lower."""
BEST_OF_THE_FIRST = ((-0.99, 0.7628), (0.68, 0.8440))


def test_cells_that_contradict_each_other_are_not_answered_by_what_neither_says() -> None:
    cells = {**CONTRADICTING, 75: (*CONTRADICTING[75], *BEST_OF_THE_FIRST)}
    searched = spec(
        {"lr": LR, "steps": Choice(values=(75, 150))},
        max_trials=50,
        workload=Workload(epochs=20.0),
    )
    rows = [(steps, rate, loss) for steps, runs in cells.items() for rate, loss in runs]
    ran = [
        Finished(number, {"lr": 2.0**rate, "steps": steps}, loss, Cost(steps=steps, flops=1.0))
        for number, (steps, rate, loss) in enumerate(rows, start=1)
    ]
    study = transfer_study(searched, ran, Place(steps=1200))
    first, second = (one.found for one in study.cells)
    assert first is not None
    assert second is not None
    assert (first.mean, second.mean) == pytest.approx((-0.4, -2.85), abs=0.1)
    # It was 2.45, surely to .73.
    assert second.mean - 1.0 < study.peak.mean < first.mean
    assert study.peak.sd > 1.0


def test_what_dominates_is_what_the_target_is_far_away_in() -> None:
    wide = transfer_study(study_spec(), trials(Truth(), CELLS), PLACE)
    assert wide.dominant.startswith("the distance in width: +-0.2")
    long = transfer_study(study_spec(), trials(Truth(), CELLS[:3]), Place(width=32, steps=38_400))
    assert long.dominant.startswith("the distance in tokens")
    assert any(
        "5.0 octaves above" not in one and "6.0 octaves above" in one for one in long.warnings
    )


def test_what_it_cost_is_told_as_a_share_of_one_run_of_the_target() -> None:
    found = trials(Truth(), CELLS)
    study = transfer_study(study_spec(), found, PLACE)
    assert study.flops == math.fsum(one.cost.flops for one in found)
    whole = cost({"width": 256, "steps": 1200, "batch": 16}).flops
    assert study.share == pytest.approx(study.flops / whole, rel=0.25)
    uncounted = [Finished(one.number, one.parameters, one.loss, Cost()) for one in found]
    assert transfer_study(study_spec(), uncounted, PLACE).share is None


def test_without_a_target_it_is_the_widest_and_longest_of_the_trials() -> None:
    assert transfer_study(study_spec(), trials(Truth(), CELLS)).target == Cell(
        64.0, 1.0, 1200.0, 16.0
    )


def test_one_cell_alone_is_told() -> None:
    (warning,) = transfer_study(
        study_spec(), trials(Truth(), [(64, 600)]), Place(width=64, steps=1200)
    ).warnings
    assert warning.startswith("one cell alone says where its best rate lies")


def test_a_minimum_at_the_edge_of_the_rates_is_told() -> None:
    low = trials(Truth(noise=0.0), [(32, 300), (64, 300)], rates=(-10, -9, -8, -7))
    warnings = transfer_study(study_spec(), low, Place(width=64, steps=300)).warnings
    assert warnings[0] == (
        "at width 32, steps 300 the best of 4 rates is not bounded on both sides; add one above 0.00781"
    )


def test_nothing_known_is_what_was_believed_beforehand() -> None:
    study = transfer_study(study_spec(), [], PLACE)
    assert study.peak.mean == pytest.approx(-6.5, abs=0.01)
    assert study.peak.sd > 3.0
    assert study.cells == ()
    assert study.warnings == (
        "no cell says where its best rate lies: the answer is what was believed beforehand; run more rates",
    )


def test_without_trials_and_target_there_is_nothing_to_answer() -> None:
    with pytest.raises(ValueError, match="no trial has ended and no target is given"):
        transfer_study(study_spec(), [])


def test_a_cell_whose_trials_all_diverged_has_no_optimum() -> None:
    lost = [Finished(9, {"lr": 0.1, "width": 32, "steps": 150}, None, Cost())]
    study = transfer_study(study_spec(), lost, PLACE)
    assert (study.cells[0].found, study.cells[0].lr, study.cells[0].best_loss) == (None, None, None)
    assert study.cells[0].diverged == 1


def test_a_space_without_learning_rates_is_refused() -> None:
    of = spec({"width": Choice(values=(32, 64))})
    with pytest.raises(ValueError, match="the space has no range 'lr' in octaves"):
        transfer_study(of, [], PLACE)


def by_optimizer() -> tuple[ExperimentSpec, list[Finished]]:
    """Two optimizers whose best rates are six octaves apart."""
    of = spec({"lr": Range(low=2.0**-12, high=0.5), "optimizer": Choice(values=("adamw", "sgd"))})
    found: list[Finished] = []
    for optimizer, best in (("adamw", -9), ("sgd", -3)):
        for rate in range(-12, 0):
            parameters: dict[str, Value] = {"lr": 2.0**rate, "optimizer": optimizer}
            loss = 3.0 * math.exp(0.02 * (rate - best) ** 2)
            found.append(Finished(len(found) + 1, parameters, loss, Cost()))
    return of, found


def test_trials_that_differ_in_something_else_are_not_pooled() -> None:
    of, found = by_optimizer()
    with pytest.raises(ValueError, match="differ in optimizer as well, so they share no best rate"):
        transfer_study(of, found)
    for optimizer, best in (("adamw", -9.0), ("sgd", -3.0)):
        alone = [one for one in found if one.parameters["optimizer"] == optimizer]
        assert transfer_study(of, alone).peak.mean == pytest.approx(best, abs=0.6)


def test_a_searched_parametrization_is_refused() -> None:
    of = spec({"lr": LR, "parametrization": Choice(values=("mup", "standard"))})
    with pytest.raises(ValueError, match="parametrization is in the space"):
        transfer_study(of, [Finished(1, {"lr": 0.01, "parametrization": "mup"}, 2.0, Cost())])


@pytest.mark.parametrize("place", [Place(width=1e15, steps=1e15), Place(width=1e-15, steps=1.0)])
def test_a_target_as_far_as_it_may_be_has_an_answer_in_numbers(place: Place) -> None:
    study = transfer_study(study_spec(), trials(Truth(), CELLS), place)
    assert math.isfinite(study.peak.mean)
    assert math.isfinite(study.peak.sd)
    json.dumps(document(study), allow_nan=False)


def test_more_cells_than_can_be_weighed_are_refused() -> None:
    of = spec({"lr": LR, "width": Range(low=1, high=1000, integer=True)})
    found = [Finished(width, {"lr": 0.01, "width": width}, 2.0, Cost()) for width in range(1, 258)]
    with pytest.raises(ValueError, match="257 cells, and no more than 256"):
        transfer_study(of, found, Place(width=64))


def test_an_answer_outside_of_the_rates_that_were_run_is_told() -> None:
    found = trials(Truth(noise=0.0), [(32, 300), (64, 300)], rates=(-9, -8, -7))
    study = transfer_study(study_spec(), found, Place(width=64, steps=300))
    assert study.lr > 2.0**-7
    assert study.warnings[-1].endswith(
        "lies outside of the rates that were run, 0.00195 to 0.00781: believe the interval, or run rates around it"
    )
    inside = transfer_study(study_spec(), trials(Truth(), CELLS), PLACE)
    assert not any("lies outside of the rates" in one for one in inside.warnings)


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_in_which_trials_ended_changes_nothing(shuffling: random.Random) -> None:
    found = trials(Truth(seed=2), CELLS[:2])
    study = transfer_study(study_spec(), found, PLACE)
    shuffling.shuffle(found)
    again = transfer_study(study_spec(), found, PLACE)
    assert again.peak == study.peak
    assert again.cells == study.cells


def test_batch_and_horizon_predict_a_cell_that_was_held_back() -> None:
    """Three horizons by three batches; four times the tokens and another batch, on ten landscapes."""
    of = spec(
        {
            "lr": LR,
            "steps": Choice(values=(75, 150, 300)),
            "batch": Choice(values=(8, 16, 32)),
        },
        fixed={"width": 64, "parametrization": "mup"},
        max_trials=100,
        regime="pretrain",
    )
    held = Cell(64.0, 1.0, 600.0, 64.0)
    inside = []
    for seed in range(10):
        truth, found = Truth(seed=seed), list[Finished]()
        for steps in (75, 150, 300):
            for batch in (8, 16, 32):
                for rate in RATES:
                    parameters: dict[str, Value] = {"lr": 2.0**rate, "steps": steps, "batch": batch}
                    parameters["width"] = 64
                    number, loss = len(found) + 1, truth.loss(parameters)
                    found.append(Finished(number, parameters, loss, cost(parameters)))
        study = transfer_study(of, found, Place(steps=600, batch=64))
        error = study.peak.mean - truth.optimum(held)
        assert abs(error) < 0.5
        inside.append(abs(error) < Z90 * study.peak.sd)
        slope, sd = study.slopes["batch"]
        # At a given number of tokens a larger batch takes fewer steps.
        assert slope == pytest.approx(truth.by_batch - truth.by_steps, abs=2.0 * sd)
    assert sum(inside) >= 9


def test_the_answer_as_a_document_is_json_and_its_cells_are_evidence() -> None:
    study = transfer_study(study_spec(), trials(Truth(), [*CELLS, (64, 150)])[:-6], PLACE)
    written = json.loads(json.dumps(document(study), allow_nan=False))
    assert written["lr"] == study.lr
    assert written["lr_90"] == list(study.interval_90)
    assert written["target"] == {"width": 256.0, "depth": 1.0, "steps": 1200.0, "batch": 16.0}
    assert len(written["cells"]) == 5
    assert written["slopes"]["width"]["mean"] == study.slopes["width"][0]
    told = evidence(study, lambda cell: 24.0 * cell.width**2, base_width=32)
    # The last cell has one run, which says nothing.
    assert len(told) == 4
    assert (told[-1].width_ratio, told[-1].parameters) == (2.0, 24.0 * 64**2)
    assert (told[-1].tokens, told[-1].batch_tokens) == (300 * 16 * 64, 16 * 64)
    assert told[-1].lr == pytest.approx(
        2.0 ** Truth().optimum(Cell(64.0, 1.0, 300.0, 16.0)), rel=0.3
    )
    assert {one.experiment for one in told} == {None}
    named = evidence(study, lambda cell: 24.0 * cell.width**2, experiment="exp_1")
    assert {one.experiment for one in named} == {"exp_1"}
