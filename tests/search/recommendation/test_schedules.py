"""Which schedule: what is asked of it, the order of the others, and what a law of the family's curves says."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from pacesetter.schedules import WSD, Linear, Schedule
from pacesetter_search.laws import AnnealingLaw, Curve
from pacesetter_search.laws.choice import SHRINK, rank_schedules, zoo
from pacesetter_search.laws.identification import DECAY_NOT_TOLD
from pacesetter_search.recommendation import ImpossibleTarget, KnownLaw, Recommendation, recommend
from pacesetter_search.recommendation.schedules import final_loss
from pacesetter_search.recommendation.shapes import shape_octaves

from tests.search.recommendation.cases import BATCH, known_law, multi_power, target

ASKED: dict[str, Any] = {"batch_tokens": BATCH}


def schedule_of(found: Recommendation) -> Schedule:
    assert found.schedule is not None
    return found.schedule


def peak() -> float:
    lr = recommend(target(**ASKED)).lr
    assert lr is not None
    return lr


def test_best_peaks_of_shapes_by_the_convex_bound() -> None:
    """The values that zero_tuning's own grid has: linear .9995, cosine .9706, WSD with half .6556, a fifth .5140."""
    for body, value in ((WSD(cooldown=0.5), 0.6556), (WSD(cooldown=0.2), 0.5140)):
        found = shape_octaves(Schedule(length=10_000, body=body))
        assert found == pytest.approx(math.log2(value / 0.9995), abs=5e-3)
    assert shape_octaves(Schedule(length=10_000, body=Linear())) == pytest.approx(0.0, abs=2e-3)


def test_without_a_law_a_linear_decay_is_run_and_the_others_stand_in_the_published_order() -> None:
    found = recommend(target(**ASKED))
    assert isinstance(schedule_of(found).body, Linear)
    assert (found.schedule_name, found.schedule_rank) == ("linear", 6)
    names = [one.name for one in found.alternatives]
    assert names[:5] == [f"wsd linear {share}" for share in (0.6, 0.4, 0.8, 0.9)] + ["wsd sqrt 0.2"]
    assert [one.rank for one in found.alternatives] == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]
    best = found.alternatives[0]
    assert (best.basis, best.over, best.gain) == ("published", "cosine", None)
    assert best.gain_range == (0.0033, 0.0082)
    unknown = next(one for one in found.alternatives if one.name == "rex")
    assert (unknown.basis, unknown.gain_range) == ("none", None)


def test_every_alternative_has_its_own_best_peak() -> None:
    found = recommend(target(**ASKED))
    assert found.lr is not None
    for one in found.alternatives:
        assert one.lr == pytest.approx(found.lr * 2.0 ** shape_octaves(one.schedule), rel=2e-3)
    by_name = {one.name: one.lr for one in found.alternatives}
    # A cooldown of a fifth wants half of a cosine's rate [Hagele2024].
    assert by_name["wsd linear 0.2"] / by_name["cosine"] == pytest.approx(0.527, abs=0.01)


def test_what_can_be_extended_keeps_a_plateau_at_the_lower_rate_that_it_wants() -> None:
    linear, wsd = recommend(target(**ASKED)), recommend(target(**ASKED, extendable=True))
    assert schedule_of(wsd).body == WSD(cooldown=0.2, shape="sqrt")
    assert linear.lr is not None
    assert wsd.lr is not None
    assert math.log2(wsd.lr / linear.lr) == pytest.approx(-0.88, abs=0.05)
    assert {one.schedule.body.family for one in wsd.alternatives} == {"wsd"}
    assert wsd.dominant_uncertainty is not None
    assert wsd.sd_octaves is not None
    assert linear.sd_octaves is not None
    assert wsd.sd_octaves == pytest.approx(math.hypot(linear.sd_octaves, 0.25 * 0.8836), rel=1e-2)


def test_a_family_by_its_name_is_run_and_only_it_is_compared() -> None:
    found = recommend(target(**ASKED, schedule_family="wsd"))
    assert schedule_of(found).body == WSD(cooldown=0.6)
    assert {one.schedule.body.family for one in found.alternatives} == {"wsd"}
    other = recommend(target(**ASKED, schedule_family="polynomial"))
    assert (other.schedule_name, other.alternatives) == ("polynomial", ())


def test_a_family_with_its_parameters_is_run_as_it_is() -> None:
    body = {"family": "wsd", "cooldown": 0.33, "shape": "sqrt"}
    found = recommend(target(**ASKED, schedule_family=body))
    assert schedule_of(found).body == WSD(cooldown=0.33, shape="sqrt")
    assert found.alternatives == ()


def test_a_law_in_learning_rates_is_scaled_to_the_recommended_peak() -> None:
    found = recommend(target(**ASKED, schedule_family="power"))
    schedule = schedule_of(found)
    assert schedule.unit == "absolute"
    highest = schedule.over(np.arange(schedule.length, dtype=np.float64)).max()
    assert highest == pytest.approx(found.lr, rel=1e-3)


def test_a_floor_is_kept_and_published_gains_do_not_speak_of_it() -> None:
    found = recommend(target(**ASKED, floor=0.1))
    assert schedule_of(found).floor == 0.1
    assert all(one.schedule.floor == 0.1 for one in found.alternatives)
    assert all(one.gain_range is None for one in found.alternatives)
    lower = recommend(target(**ASKED))
    assert found.lr is not None
    assert lower.lr is not None
    assert found.lr < lower.lr  # what ends higher has added up more


def test_families_that_warm_up_by_themselves_get_no_warm_up() -> None:
    found = recommend(target(**ASKED, schedule_family="one_cycle"))
    assert (found.warmup_steps, schedule_of(found).warmup) == (0, None)


def test_what_cannot_be_laid_over_the_steps_is_told() -> None:
    body = {"family": "wsd_s", "ends": [0.001, 1.0]}
    with pytest.raises(ImpossibleTarget, match=r"begins at .* inside the warm-up"):
        recommend(target(**ASKED, schedule_family=body))


def test_under_a_law_candidates_stand_in_the_order_of_its_losses_with_shrunken_gains() -> None:
    lr = peak()
    found = recommend(target(**ASKED), laws=[known_law(peak=lr)])
    law = multi_power(lr)
    losses = {one.name: one.loss for one in found.alternatives}
    order = [one.name for one in found.alternatives]
    assert order == sorted(order, key=lambda name: losses[name] or 0.0)
    steps = np.arange(found.steps or 0, dtype=np.float64)
    for one in found.alternatives:
        if one.schedule.unit == "relative":
            mean = float(law.predict(lr * one.schedule.over(steps)).mean[0])
            assert one.loss == pytest.approx(mean, rel=1e-3)
        assert one.over == "linear"
        assert one.basis == "curves"
    linear = Schedule(length=found.steps or 1, warmup=schedule_of(found).warmup, body=Linear())
    base = float(law.predict(lr * linear.over(steps)).mean[0])
    best = found.alternatives[0]
    assert best.loss is not None
    assert best.gain == pytest.approx(SHRINK * (base - best.loss) / base, rel=0.02)


def test_the_law_s_best_is_run_where_it_wins_clearly_and_at_its_own_peak() -> None:
    """The Multi-Power Law promises cooldowns .46 times more than comes: what is left is above two sds of seeds."""
    lr = 1.2 * peak()
    found = recommend(target(**ASKED), laws=[known_law(peak=lr)])
    assert found.schedule_rank == 1
    assert schedule_of(found).body.family in ("wsd", "joined")  # a hold, and a tail of power 1.5
    assert found.lr == pytest.approx(lr)
    assert all(one.lr == lr for one in found.alternatives)


def test_the_interval_is_that_of_the_schedule_that_won_and_holds_the_rate_that_it_is_run_at() -> (
    None
):
    """A hold with a short tail wants half of a linear decay's peak or so: the law's curves were between the two."""
    linear = recommend(target(**ASKED))
    assert linear.lr_90 is not None
    lr = 0.75 * math.sqrt(linear.lr_90[0] * linear.lr_90[1])
    found = recommend(target(**ASKED), laws=[known_law(peak=lr)])
    assert found.lr_90 is not None
    shape = shape_octaves(schedule_of(found))
    assert -1.2 < shape < -0.4
    middles = [math.log2(one.lr_90[0] * one.lr_90[1]) / 2 for one in (found, linear) if one.lr_90]
    assert middles[0] - middles[1] == pytest.approx(shape, abs=1e-3)
    assert found.lr == pytest.approx(lr)
    assert found.lr_90[0] < lr < found.lr_90[1]
    assert not any("won under a law of curves" in one for one in found.warnings)


def test_where_the_winner_s_best_peak_is_known_and_elsewhere_it_says_so() -> None:
    """Fifty sweeps put a linear decay's best peak where the law's curves were: a hold with a tail is best below."""
    lr = peak()
    place = {"parameters": 124e6, "tokens": 2.5e9, "batch_tokens": BATCH, "lr": lr}
    optima = [{**place, "sd_octaves": 0.01} for _ in range(50)]
    found = recommend(target(**ASKED, evidence=optima), laws=[known_law(peak=1.3 * lr)])
    assert found.schedule_rank == 1
    assert found.lr == pytest.approx(lr)  # no higher than what was held
    assert found.lr_90 is not None
    assert found.lr_90[1] < lr
    warning = next(one for one in found.warnings if "won under a law of curves" in one)
    assert f"its best peak lies between {found.lr_90[0]:.3g} and {found.lr_90[1]:.3g}" in warning


def test_a_win_that_is_not_clear_changes_nothing() -> None:
    """With eight times the response to decay the law has WSD with .4 ahead of .6, by .05 %."""
    lr = peak()
    asked = target(**ASKED, schedule_family="wsd")
    parameters = list(multi_power(lr).parameters)
    parameters[3] += math.log(8.0)
    steep = multi_power(lr).model_copy(update={"parameters": tuple(parameters)})
    found = recommend(asked, laws=[known_law(peak=lr, law=steep)])
    best = found.alternatives[0]
    assert (best.name, best.rank, found.schedule_name) == ("wsd linear 0.4", 1, "wsd linear 0.6")
    assert best.gain is not None
    assert 0.0 < best.gain < 0.0012
    assert found.lr == recommend(asked).lr


def test_a_law_that_does_not_know_the_response_to_decay_chooses_nothing() -> None:
    lr = peak()
    law = multi_power(lr).model_copy(update={"warnings": (DECAY_NOT_TOLD,)})
    found = recommend(target(**ASKED), laws=[known_law(peak=lr, law=law)])
    assert found.schedule_name == "linear"
    assert any("left out" in one and DECAY_NOT_TOLD in one for one in found.warnings)
    assert found.loss is not None
    assert found.loss.basis == "published"  # and no narrow interval around what it has not seen
    assert not any(one.kind in ("curve", "fitted_law") for one in found.evidence)


def test_a_law_that_knows_it_speaks_in_place_of_a_nearer_one_that_does_not() -> None:
    lr = peak()
    blind = multi_power(lr).model_copy(update={"warnings": (DECAY_NOT_TOLD,)})
    laws = [known_law(peak=lr, law=blind), known_law(peak=1.2 * lr, id="law-2")]
    found = recommend(target(**ASKED), laws=laws)
    assert [one.id for one in found.evidence if one.kind == "fitted_law"] == ["law-2"]
    assert not any("left out" in one for one in found.warnings)


@pytest.mark.parametrize(
    "changes",
    [
        {"regime": "finetune"},
        {"optimizer": "sgd"},
        {"momentum": 0.9},
        {"peak": 1.0},
        {"longest": 10_000},
        {"workload": target(family="other", **ASKED).workload()},
        {"workload": target(parameters=3e8, batch_tokens=BATCH).workload()},
        {"workload": target(batch_tokens=1e5).workload()},
        {"workload": target(parameters=1e8).workload()},
    ],
    ids=lambda changes: str(list(changes)),
)
def test_a_law_of_another_workload_peak_or_length_says_nothing(changes: dict[str, Any]) -> None:
    law = known_law(**{"peak": peak(), **changes})
    found = recommend(target(**ASKED), laws=[law])
    assert found.schedule_name == "linear"
    assert not any(one.kind in ("curve", "fitted_law") for one in found.evidence)


def test_of_several_laws_the_one_at_the_nearest_peak_speaks() -> None:
    lr = peak()
    laws = [known_law(peak=lr * factor, id=f"law at {factor}") for factor in (1.4, 1.05, 0.8)]
    found = recommend(target(**ASKED), laws=laws)
    assert [one.id for one in found.evidence if one.kind == "fitted_law"] == ["law at 1.05"]
    assert recommend(target(**ASKED), laws=laws[::-1]) == found


@pytest.mark.parametrize(
    ("factor", "speaks"), [(1.45, True), (0.69, True), (1.6, False), (0.62, False)]
)
def test_no_law_holds_across_peaks(factor: float, speaks: bool) -> None:
    """The recommended rate is on the safe side of the best one, by a quarter of .65 octaves."""
    best = peak() * 2.0 ** (0.25 * 0.62)
    found = recommend(target(**ASKED), laws=[known_law(peak=best * factor)])
    assert any(one.kind == "fitted_law" for one in found.evidence) == speaks


def test_the_order_is_that_of_the_library_s_own_ranking() -> None:
    """Curves made by one law and fitted by another: ``rank_schedules`` and the recommendation agree on them."""
    steps = 8_000
    asked = target(tokens=steps * BATCH, **ASKED)
    lr = recommend(asked).lr
    assert lr is not None
    places, at = np.arange(steps, dtype=np.float64), np.arange(400, steps + 1, 100)
    bodies = (WSD(cooldown=0.05), Linear())
    curves = []
    for body in bodies:
        rates = lr * Schedule(length=steps, body=body).over(places)
        curves.append(Curve.of(rates, at, multi_power(lr).predict(rates, at).mean))
    fitted = AnnealingLaw().fit(curves)
    law = KnownLaw("refit", asked.workload(), "pretrain", "adamw", lr, steps, fitted)
    found = recommend(asked, laws=[law])
    candidates = {
        one.name: lr * one.schedule.over(places)
        for one in found.alternatives
        if one.schedule.unit == "relative"
    }
    ranking = rank_schedules(curves, candidates, law=AnnealingLaw())
    ours = [one for one in found.alternatives if one.name in candidates]
    theirs = [one for one in ranking.candidates if one.name not in ranking.refused]
    kept = [one for one in ours if one.name not in ranking.refused]
    assert [one.name for one in kept] == [one.name for one in theirs]
    losses = [one.loss for one in kept]
    # Of thinned steps.
    assert losses == pytest.approx([one.loss for one in ranking.candidates], rel=1e-4)


@pytest.mark.parametrize("steps", [3001, 8001, 50_000, 300_000])
def test_the_cells_that_a_law_is_asked_about_move_no_final_and_no_order(steps: int) -> None:
    """Against every step of every family, under a law of either kind."""
    lr = peak()
    places, at = np.arange(8000, dtype=np.float64), np.arange(400, 8001, 100)
    curves = []
    for body in (WSD(cooldown=0.05), Linear()):
        rates = lr * Schedule(length=8000, body=body).over(places)
        curves.append(Curve.of(rates, at, multi_power(lr).predict(rates, at).mean))
    every = zoo(steps, 1.0, steps // 50)
    some = {name: every[name] for place, name in enumerate(sorted(every)) if place % 4 == 0}
    candidates = every if steps < 10_000 else some | {"linear": every["linear"]}
    for fitted in (multi_power(lr), AnnealingLaw().fit(curves)):
        law = known_law(peak=lr, law=fitted)
        exact, found = {}, {}
        for name, schedule in candidates.items():
            values = schedule.over(np.arange(steps, dtype=np.float64))
            rates = lr * values / (values.max() if schedule.unit == "absolute" else 1.0)
            exact[name] = float(fitted.predict(rates).mean[-1])
            found[name] = final_loss(law, schedule)[0]
        assert found == pytest.approx(exact, rel=1e-4)
        for one, other in itertools.combinations(candidates, 2):
            if abs(exact[one] - exact[other]) > 1e-4 * exact[one]:
                assert (found[one] < found[other]) == (exact[one] < exact[other])


def test_what_was_measured_under_a_plateau_is_taken_as_that_of_a_linear_decay() -> None:
    """A peak found with WSD and a fifth counts for one that is .96 octaves higher, and back again."""
    place = {"parameters": 124e6, "tokens": 2.5e9, "batch_tokens": BATCH, "lr": 1e-3}
    body = {"family": "wsd", "cooldown": 0.2}
    plateau = {"length": 1000, "body": body}
    asked = {**ASKED, "regime": "finetune"}
    linear = recommend(target(**asked, evidence=[place]))
    moved = recommend(target(**asked, evidence=[{**place, "schedule": plateau}]))
    back = recommend(
        target(**asked, evidence=[{**place, "schedule": plateau}], schedule_family=body)
    )
    middles = []
    for one in (linear, moved, back):
        assert one.lr_90 is not None
        middles.append(math.log2(one.lr_90[0] * one.lr_90[1]) / 2)
    assert middles[1] - middles[0] == pytest.approx(0.9638, abs=5e-3)
    assert middles[2] == pytest.approx(math.log2(1e-3), abs=0.01)
    # Nothing is in doubt where the shape is the one that it was measured under.
    assert back.sd_octaves == pytest.approx(linear.sd_octaves, abs=1e-4)
    assert moved.sd_octaves == pytest.approx(
        math.hypot(linear.sd_octaves or 0.0, 0.25 * 0.9638), rel=1e-2
    )
