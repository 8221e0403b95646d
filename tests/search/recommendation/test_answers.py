"""What is recommended, how surely, on which grounds; and where nothing is."""

import math
from typing import Any

import pytest
from pacesetter.schedules import WSD, Linear
from pacesetter_search.recommendation import Evidence, Target, recommend
from pacesetter_search.transfer import hinge_peak
from pydantic import ValidationError

from tests.search.recommendation.cases import bowl
from tests.search.transfer.optima import STEP_LAW

TARGET: dict[str, Any] = {"parameters": 124e6, "tokens": 2.5e9}
OPTIMA = [
    {
        "parameters": one.parameters,
        "tokens": one.tokens,
        "batch_tokens": one.batch,
        "lr": one.lr,
        "name": f"sweep {place}",
    }
    for place, one in enumerate(STEP_LAW[:4], 1)
]


def test_with_no_data_published_laws_answer_and_say_that_they_are_alone() -> None:
    found = recommend(Target(**TARGET, batch_tokens=131_072))
    assert found.status == "ok"
    assert found.lr is not None
    assert found.lr_50 is not None
    assert found.lr_90 is not None
    law = hinge_peak(124e6, 2.5e9, 131_072)
    assert abs(math.log2(found.lr / law)) < 0.5
    # On the safe side of the mean, because it is not known well.
    assert found.lr < math.sqrt(found.lr_90[0] * found.lr_90[1])
    assert found.lr_90[0] < found.lr_50[0] < found.lr < found.lr_50[1] < found.lr_90[1]
    assert any("published laws only" in each for each in found.warnings)
    assert {one.kind for one in found.evidence} == {"law"}
    assert found.evidence[0].name.startswith("hinge")
    assert found.evidence[0].weight == 1.0


def test_evidence_narrows_the_interval_and_is_named_with_its_weight() -> None:
    alone = recommend(Target(**TARGET))
    backed = recommend(Target(**TARGET, evidence=OPTIMA))
    assert alone.sd_octaves is not None
    assert backed.sd_octaves is not None
    assert backed.sd_octaves < 0.7 * alone.sd_octaves
    names = [one.name for one in backed.evidence if one.kind == "optimum"]
    assert names == ["sweep 1", "sweep 2", "sweep 3", "sweep 4"]
    weights = [one.weight for one in backed.evidence]
    assert sum(weights) == pytest.approx(1.0, abs=0.15)
    assert max(weights) > 0.2
    assert not any("published laws only" in each for each in backed.warnings)


def test_the_schedule_is_ready_to_run_and_can_be_extended_where_asked() -> None:
    found = recommend(Target(**TARGET, batch_tokens=51_200))
    assert found.steps == round(2.5e9 / 51_200)
    assert found.schedule is not None
    assert found.schedule.length == found.steps
    assert isinstance(found.schedule.body, Linear)
    assert found.schedule.warmup is not None
    assert found.schedule.warmup.length == round(0.02 * found.steps)
    longer = recommend(Target(**TARGET, extendable=True)).schedule
    assert longer is not None
    assert isinstance(longer.body, WSD)


def test_batch_and_weight_decay_follow_their_laws() -> None:
    found = recommend(Target(**TARGET))
    assert found.batch_tokens == pytest.approx(0.58 * 2.5e9**0.571)
    assert found.lr is not None
    assert found.batch_tokens is not None
    assert found.weight_decay is not None
    timescale = found.batch_tokens / (found.lr * found.weight_decay * 2.5e9)
    assert timescale == pytest.approx(1.084 * (2.5e9 / 124e6) ** -0.527)
    assert recommend(Target(**TARGET, optimizer="adam")).weight_decay is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"regime": "lora"}, "about pretraining, and the regime is 'lora'"),
        ({"optimizer": "sgd"}, "about Adam and AdamW"),
        ({"parametrization": "mup"}, "belongs to your base model"),
    ],
)
def test_where_nothing_is_known_nothing_is_made_up(changes: dict[str, Any], why: str) -> None:
    found = recommend(Target(**TARGET, **changes))
    assert found.status == "no_evidence"
    assert found.lr is None
    assert why in found.warnings[0]
    assert found.study is not None
    assert "sweep the peak over 3 rates" in found.study.text


def test_evidence_of_one_s_own_answers_where_no_law_does() -> None:
    one = Evidence(parameters=124e6, tokens=1.5e8, batch_tokens=5e4, lr=2e-2)
    found = recommend(Target(**TARGET, batch_tokens=5e4, regime="lora", evidence=[one]))
    assert found.status == "ok"
    assert found.lr is not None
    assert 1e-3 < found.lr < 2e-2  # a longer run, a lower rate
    assert any(
        "slopes in size, tokens and batch are those of pretraining" in w for w in found.warnings
    )
    assert all(source.kind == "optimum" for source in found.evidence)


def test_far_from_everything_it_says_what_it_is_unsure_of() -> None:
    far = recommend(Target(parameters=7e10, tokens=1.5e13, batch_tokens=8e6))
    assert far.sd_octaves is not None
    assert far.sd_octaves > 1.0
    assert any("outside of what the law was fitted on" in each for each in far.warnings)
    assert far.dominant_uncertainty is not None
    assert "octaves of +-" in far.dominant_uncertainty
    assert far.relative_loss_of_missing is not None
    assert far.relative_loss_of_missing > 0.002


def test_repeated_data_and_a_batch_too_large_are_warned_of() -> None:
    found = recommend(Target(**TARGET, batch_tokens=1e7, epochs=20))
    assert any("repeat 20 times" in each for each in found.warnings)
    assert any("samples are wasted" in each for each in found.warnings)


@pytest.mark.parametrize(
    "target",
    [
        {"parameters": 0, "tokens": 1e9},
        {"parameters": 1e8, "tokens": math.nan},
        {"parameters": 1e8, "tokens": 1e16},
        {"parameters": 1e8, "tokens": 1e9, "evidence": [OPTIMA[0]] * 201},
        {"parameters": 1e8, "tokens": 1e5, "batch_tokens": 1e6},
        {"parameters": 1e8, "tokens": 1e9, "widths": 3},
        {"parameters": 1e8, "tokens": 1e9, "evidence": [{"lr": 1e-3}]},
    ],
)
def test_impossible_targets_are_refused(target: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Target.model_validate(target)


@pytest.mark.parametrize("epochs", [5e-324, 1e9])
@pytest.mark.parametrize("regime", ["pretrain", "rl"])
@pytest.mark.parametrize("tokens", [1.0, 1e15])
@pytest.mark.parametrize("parameters", [1.0, 1e15])
def test_the_ends_of_what_may_be_asked_are_answered(
    parameters: float, tokens: float, regime: Any, epochs: float
) -> None:
    one = Evidence(parameters=1.0, tokens=1e15, batch_tokens=1.0, lr=1e4, sd_octaves=0.0)
    size = {"parameters": parameters, "tokens": tokens}
    target = Target.model_validate({**size, "regime": regime, "epochs": epochs, "evidence": [one]})
    found = recommend(target)
    assert found.lr is not None
    assert math.isfinite(found.lr)
    assert found.model_dump_json()


def test_what_runs_on_record_tell_is_shared_among_them_and_the_light_ones_are_one() -> None:
    swept = bowl(1e-3, 5e-4, 1e-3, 2e-3)
    found = recommend(Target(**TARGET), swept)
    runs = [one for one in found.evidence if (one.kind, one.about) == ("run", "peak")]
    assert [one.name for one in runs] == ["at 0.0005", "at 0.001", "at 0.002"]
    assert len({one.weight for one in runs}) == 1
    assert sum(one.weight for one in runs) > 0.5
    many = [
        each.model_copy(update={"id": f"{each.id} of {place}", "tokens": 1e8 * 1.05**place})
        for place in range(30)
        for each in swept
    ]
    crowd = [
        one
        for one in recommend(Target(**TARGET), many).evidence
        if (one.kind, one.about) == ("run", "peak")
    ]
    assert len(crowd) == 51
    assert (crowd[-1].name, crowd[-1].id) == ("40 further runs", None)
    assert 0.7 < sum(one.weight for one in crowd) <= 1.0


def test_curves_of_earlier_runs_narrow_the_interval_and_the_loss_moves_with_them() -> None:
    """Nothing, one sweep, three sweeps at longer and longer budgets: each answer is surer than the one before."""
    records = [
        run
        for place, tokens in enumerate((1.5e8, 6e8, 1.2e9))
        for run in bowl(
            hinge_peak(124e6, tokens, 51_200.0),
            *(hinge_peak(124e6, tokens, 51_200.0) * 2.0**octave for octave in (-1, 0, 1)),
            tokens=tokens,
            workload={"batch_tokens": 51_200.0},
            name=f"sweep {place}",
        )
    ]
    named = [one.model_copy(update={"id": f"run {place}"}) for place, one in enumerate(records)]
    asked = Target(**TARGET, batch_tokens=51_200)
    sds = [recommend(asked, named[:count]).sd_octaves for count in (0, 3, 6, 9)]
    assert sds == sorted(sds, key=lambda sd: -(sd or 0.0))
    assert (sds[3] or 9.0) < 0.6 * (sds[0] or 0.0)


def test_an_answer_far_from_the_laws_is_told_with_how_far() -> None:
    """An own optimum three octaves above the law: Step Law and DeepSeek lie below by more than 1.5 octaves."""
    place = {**TARGET, "batch_tokens": 131_072}
    lr = 8.0 * hinge_peak(124e6, 2.5e9, 131_072)
    found = recommend(Target(**place, evidence=[{**place, "lr": lr, "sd_octaves": 0.05}]))
    told = [one for one in found.warnings if "octaves above the law" in one]
    assert [one.rpartition("the law ")[2].partition(" ")[0] for one in told] == [
        "hinge",
        "step_law",
        "deepseek",
    ]
    near = recommend(Target(**place, evidence=[{**place, "lr": lr / 8.0}]))
    assert not any("the law" in one and "octaves" in one for one in near.warnings)


def test_beyond_all_that_was_measured_half_an_octave_is_admitted_and_told() -> None:
    """More than four times the tokens of all evidence; under muP the size is told by width."""
    place = {"parameters": 1e8, "tokens": 1e9, "batch_tokens": 1e5}
    optima = [{**place, "lr": 1e-2, "sd_octaves": 0.01} for _ in range(100)]
    asked = {**place, "parametrization": "mup", "evidence": optima}
    near = recommend(Target(**{**asked, "tokens": 3.9e9}))
    far = recommend(Target(**{**asked, "tokens": 4.1e9}))
    assert near.sd_octaves is not None
    assert near.sd_octaves < 0.5
    assert far.sd_octaves == pytest.approx(0.5)
    assert not any("outside of all that was measured" in one for one in near.warnings)
    warning = next(one for one in far.warnings if "outside of all that was measured" in one)
    assert "2.0 octaves in tokens" in warning
    assert "what widens the interval most is" in warning
