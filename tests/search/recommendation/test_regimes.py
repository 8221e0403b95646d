"""Evidence does not cross regimes silently, and an objective that is no loss is not taken for one."""

import math
from typing import Any

import pytest
from pacesetter_search.recommendation import Target, recommend
from pydantic import ValidationError

from tests.search.recommendation.cases import BATCH, bowl, run, target, width_of

PLACE: dict[str, Any] = {"parameters": 1e8, "tokens": 1e8, "batch_tokens": 1e5}
OPTIMUM: dict[str, Any] = {**PLACE, "lr": 2e-5}
FINETUNE: dict[str, Any] = {**PLACE, "regime": "finetune", "evidence": [OPTIMUM]}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"regime": "lora"}, "about pretraining, and the regime is 'lora'"),
        ({"regime": "vision"}, "about pretraining, and the regime is 'vision'"),
        ({"optimizer": "muon"}, "about Adam and AdamW, and the optimizer is 'muon'"),
        ({"parametrization": "mup"}, "belongs to your base model"),
        ({"objective": {"name": "accuracy", "mode": "max"}}, "the objective is 'accuracy' (max)"),
        ({"objective": {"mode": "max"}}, "the objective is 'loss' (max)"),
    ],
)
def test_without_evidence_in_a_kind_nothing_is_recommended_but_a_study(
    changes: dict[str, Any], why: str
) -> None:
    records = bowl(1e-3, 5e-4, 1e-3, 2e-3)
    found = recommend(target(**changes), records)
    assert (found.status, found.lr, found.loss) == ("no_evidence", None, None)
    assert why in found.warnings[0]
    assert found.study is not None


def test_what_was_measured_elsewhere_is_named_and_left_out() -> None:
    records = bowl(1e-3, 5e-4, 1e-3, 2e-3, regime="vision", batch=BATCH)
    found = recommend(target(), records)
    assert any(
        "what was measured in vision says nothing of pretrain" in one for one in found.warnings
    )
    alone = recommend(target())
    assert (found.lr, found.lr_90, found.loss) == (alone.lr, alone.lr_90, alone.loss)
    other = recommend(target(), bowl(1e-3, 5e-4, 1e-3, optimizer="sgd"))
    assert any("2 runs of pretrain with another optimizer" in one for one in other.warnings)
    assert other.lr == alone.lr


@pytest.mark.parametrize("optimizer", ["Adam", "adamw", "NAdam", "RAdam", "Adamax"])
def test_adam_and_its_kin_are_of_one_class(optimizer: str) -> None:
    records = bowl(1e-3, 5e-4, 1e-3, optimizer=optimizer)
    found = recommend(target(), records)
    assert {one.id for one in found.evidence if one.kind == "run"} == {"run-0.0005", "run-0.001"}


def test_evidence_may_say_of_which_regime_it_is() -> None:
    full = {**OPTIMUM, "regime": "finetune"}
    asked = {**PLACE, "regime": "lora"}
    found = recommend(target(**asked, evidence=[full]))
    assert found.status == "no_evidence"
    assert any("(borrow=true lets it speak)" in one for one in found.warnings)
    own = recommend(target(**asked, evidence=[full, {**PLACE, "lr": 3e-4}]))
    assert own.lr == recommend(target(**asked, evidence=[{**PLACE, "lr": 3e-4}])).lr


@pytest.mark.parametrize("through", ["question", "records"])
def test_lora_borrows_ten_times_the_rate_of_full_fine_tuning_where_it_may(through: str) -> None:
    """A warned prior: an octave either way on top of what is known of full fine-tuning."""
    records = []
    evidence = [{**OPTIMUM, "regime": "finetune"}]
    if through == "records":
        evidence = []
        records = bowl(
            2e-5, 1e-5, 2e-5, 4e-5, regime="finetune", parameters=1e8, tokens=1e8, batch=1e5
        )
    full = recommend(
        target(**PLACE, regime="finetune", evidence=[OPTIMUM] if not records else []),
        records,
    )
    asked = target(**PLACE, regime="lora", borrow=True, evidence=evidence)
    found = recommend(asked, records)
    assert found.status == "ok"
    assert found.lr_90 is not None
    assert full.lr_90 is not None
    middles = [math.sqrt(one[0] * one[1]) for one in (found.lr_90, full.lr_90)]
    # Both are drawn a little towards where peaks of any kind lie.
    assert middles[0] / middles[1] == pytest.approx(10.0, rel=0.02)
    assert found.sd_octaves is not None
    assert full.sd_octaves is not None
    assert found.sd_octaves == pytest.approx(math.hypot(1.0, full.sd_octaves))
    assert found.dominant_uncertainty is not None
    assert found.dominant_uncertainty.startswith("what two regimes have to do with each other")
    assert any("borrowed from finetune: its best peaks times 10" in one for one in found.warnings)


def test_many_borrowed_peaks_leave_the_doubt_of_borrowing() -> None:
    evidence = [{**OPTIMUM, "regime": "finetune", "sd_octaves": 0.05} for _ in range(50)]
    found = recommend(target(**PLACE, regime="lora", borrow=True, evidence=evidence))
    assert found.sd_octaves is not None
    assert found.sd_octaves > 1.0


def test_one_s_own_evidence_leaves_nothing_to_borrow() -> None:
    evidence = [{**OPTIMUM, "regime": "finetune"}, {**PLACE, "lr": 3e-4}]
    found = recommend(target(**PLACE, regime="lora", borrow=True, evidence=evidence))
    assert not any("borrowed" in one for one in found.warnings)
    assert width_of(found) < 2.0


def test_only_neighbours_lend() -> None:
    found = recommend(
        target(**PLACE, regime="rl", borrow=True, evidence=[{**OPTIMUM, "regime": "finetune"}])
    )
    assert found.status == "no_evidence"


ACCURACY = {"name": "accuracy", "mode": "max"}


def sweep(values: list[float | None], **changes: Any) -> dict[str, Any]:
    lrs = [1e-4 * 4.0**place for place in range(len(values))]
    runs = [{"lr": lr, "loss": value} for lr, value in zip(lrs, values, strict=True)]
    return {**PLACE, "runs": runs, "name": "mine", **changes}


def test_a_sweep_in_an_objective_that_is_maximised_finds_its_top() -> None:
    """.80, .90, .80 at 1e-4, 4e-4, 1.6e-3: in the middle."""
    asked = {**PLACE, "regime": "finetune", "objective": ACCURACY}
    found = recommend(target(**asked, sweeps=[sweep([0.80, 0.90, 0.80])]))
    source = next(one for one in found.evidence if one.name == "mine")
    assert source.lr == pytest.approx(4e-4, rel=1e-3)
    assert source.weight > 0.8
    lower = recommend(target(**asked, sweeps=[sweep([0.88, 0.90, 0.80])]))
    moved = next(one for one in lower.evidence if one.name == "mine").lr
    assert moved is not None
    assert moved < 4e-4
    assert found.loss is None


def test_values_below_zero_and_of_any_scale_are_objectives_too() -> None:
    asked = {**PLACE, "regime": "rl", "objective": {"name": "reward", "mode": "max"}}
    rates = []
    for scale in (1.0, 1000.0):
        values = [-3.0 * scale, -1.0 * scale, -4.0 * scale]
        found = recommend(target(**asked, sweeps=[sweep(values)]))  # type: ignore[arg-type]
        rates.append(next(one for one in found.evidence if one.name == "mine").lr)
    assert rates[0] == pytest.approx(rates[1])


def test_noise_of_the_objective_widens_the_answer() -> None:
    asked = {**PLACE, "regime": "finetune"}
    sds = []
    for noise in (None, 0.05):
        objective = {**ACCURACY, "noise": noise}
        found = recommend(target(**asked, objective=objective, sweeps=[sweep([0.8, 0.9, 0.82])]))
        sds.append(found.sd_octaves or 0.0)
    assert sds[1] > 1.5 * sds[0]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.8, 0.9], "2 peaks that ended"),
        ([0.8, 0.9, None], "2 peaks that ended"),
        ([0.7, 0.8, 0.9], "add one above 0.0016"),
        ([0.9, 0.8, 0.7], "add one below 0.0001"),
    ],
)
def test_a_sweep_that_does_not_say_where_the_top_is_says_what_it_lacks(
    values: list[float | None], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        target(**PLACE, regime="finetune", objective=ACCURACY, sweeps=[sweep(values)])


def test_in_rl_a_sweep_of_losses_says_nothing() -> None:
    asked = {**PLACE, "regime": "rl", "sweeps": [sweep([3.0, 2.9, 3.0])]}
    found = recommend(target(**asked))
    assert found.status == "no_evidence"
    assert any("in RL the loss is not the objective" in one for one in found.warnings)


def test_a_loss_is_above_zero() -> None:
    with pytest.raises(ValidationError, match="above 0"):
        target(sweeps=[sweep([-1.0, 2.0, 3.0])])


def test_slopes_of_pretraining_are_admitted_elsewhere() -> None:
    found = recommend(target(**{**FINETUNE, "tokens": 1e9}))
    assert any(
        "slopes in size, tokens and batch are those of pretraining" in w for w in found.warnings
    )
    assert not any(one.name.startswith(("hinge", "step_law")) for one in found.evidence)


def test_data_that_repeat_often_widen_the_interval_and_are_told() -> None:
    once, often = recommend(target(epochs=4)), recommend(target(epochs=64))
    assert once.sd_octaves is not None
    assert often.sd_octaves is not None
    # Four doublings beyond four passes, a quarter of an octave each.
    assert often.sd_octaves == pytest.approx(math.hypot(once.sd_octaves, 1.0))
    assert any("repeat 64 times" in one for one in often.warnings)
    assert not any("repeat" in one for one in once.warnings)


def test_a_run_of_another_objective_is_of_another_kind() -> None:
    records = bowl(1e-3, 5e-4, 1e-3, 2e-3, workload={"objective": ACCURACY})
    assert recommend(target(), records).lr == recommend(target()).lr
    own = recommend(target(objective=ACCURACY, batch_tokens=BATCH), records)
    assert own.status == "ok"


def test_an_answer_says_what_it_was_asked() -> None:
    asked = target(family="llm", extendable=True, evidence=[{**PLACE, "lr": 1e-3}])
    found = recommend(asked, [run(1e-3, 3.0)])
    assert found.target == asked.target()
    assert not isinstance(found.target, Target)
