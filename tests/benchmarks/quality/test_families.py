from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from pacesetter.schedules import FAMILIES as KNOWN
from pacesetter.schedules import WSD, Constant, Noam, OneCycle

from benchmarks.quality.baselines.families import (
    FORMS,
    LAWS,
    Form,
    laid_out,
    measured_norms,
    run_form,
    run_refined,
    transferred,
)
from benchmarks.quality.contenders import (
    CONTENDERS,
    FAMILIES,
    FamilyRun,
    contenders_named,
)
from benchmarks.quality.contests import FamilyContest, contests
from benchmarks.quality.engine import shaped, train
from benchmarks.quality.score import score
from benchmarks.quality.tasks import Task, named
from benchmarks.quality.tuned import Reference

LOGISTIC, GRU = named("digits-logistic,bytes-gru")
SHORT = replace(LOGISTIC, steps=320)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def reference(task: Task) -> Reference:
    return Reference(
        task, task.steps, "wsd50", 2.0, {task.steps: {100: 0.25}}, 4.0, {"wsd50": 2.0}, 1000
    )


def test_every_family_with_a_form_of_its_own_takes_part() -> None:
    taking_part = {form.body(GRU, GRU.steps).family for form in (*FORMS, *LAWS)} | {"refined"}

    assert taking_part == set(KNOWN) - {"table", "joined"}


def test_rates_are_carried_over_by_the_ratio_of_the_bounds_best() -> None:
    linear, wsd, constant = (
        laid_out(body, 2000) for body in (shaped("linear", 9).body, WSD(), Constant())
    )

    assert linear == shaped("linear", 2000)
    assert transferred(linear, 0.25) == 0.25
    assert transferred(wsd, 1.0) == pytest.approx(0.5276, rel=1e-3)
    # sqrt(1 / (n (2 + log n))) over that of a linear decay, which keeps 1/3 of the noise: about a third.
    assert transferred(constant, 1.0) == pytest.approx(0.339, abs=1e-3)


def test_a_family_rises_by_itself_or_warms_up_as_the_references_do() -> None:
    assert laid_out(OneCycle(), 400).warmup is None
    law = laid_out(Noam(width=32), 1000)

    assert law.unit == "absolute"
    assert law.extent.warmup == 50
    assert law.at(50) == pytest.approx(0.025)  # (32 * 50)^-1/2


def test_the_linear_form_is_the_tuned_reference_itself() -> None:
    (linear,) = [form for form in FORMS if form.name == "linear"]
    found = run_form(SHORT, linear, 4.0, 320, 5)
    twin = train(SHORT, shaped("linear", 320), 4.0, 320, 5)

    assert (found.A, found.B, found.steps) == (twin.A, twin.B, 320)


def test_a_refined_schedule_pays_for_the_run_that_measured_it() -> None:
    found = run_refined(SHORT, 4.0, 320, 5)

    assert (found.steps, found.main_steps) == (640, 320)
    assert found.B / LOGISTIC.open(5).validate("B") < 0.9


def test_norms_are_of_the_whole_gradient_one_a_step() -> None:
    l2, l1 = (measured_norms(SHORT, kind, 4.0, 20, 5) for kind in ("sgd", "adam"))
    trial = SHORT.open(5, 4.0)
    trial.loss(trial.batch_at(0)).backward()  # type: ignore[no-untyped-call]  # torch's
    first = [p.grad for p in trial.model.parameters() if p.grad is not None]

    assert (len(l2), len(l1)) == (20, 20)
    assert l2[0] == pytest.approx(sum(float(g.pow(2).sum()) for g in first) ** 0.5, rel=1e-5)
    assert l1[0] == pytest.approx(sum(float(g.abs().sum()) for g in first), rel=1e-5)


def test_families_are_a_group_of_their_own_and_not_among_all() -> None:
    assert contenders_named("families") == FAMILIES
    assert contenders_named("all") == CONTENDERS
    assert not any(isinstance(contender, FamilyRun) for contender in CONTENDERS)
    assert [c.name for c in contenders_named("Prodigy,family: rex")] == ["Prodigy", "family: rex"]


def test_laws_take_part_where_there_are_tokens_only() -> None:
    (power,) = contenders_named("family: power")

    assert contests(power, reference(LOGISTIC), [100], 0.15) == []
    assert len(contests(power, reference(GRU), [100, 101], 0.15)) == 2
    with pytest.raises(ValueError, match="digits-logistic has neither tokens nor a width"):
        LAWS[0].body(LOGISTIC, 2000)


def test_a_contest_is_kept_under_its_family_and_the_rate_carried_over() -> None:
    cosine, rex, refined = (
        contests(contender, reference(SHORT), [7], 0.15)[0]
        for contender in contenders_named("families")
        if contender.name.removeprefix("family: ").split(",")[0] in ("cosine", "rex", "refined")
    )
    assert isinstance(cosine, FamilyContest)
    other_rate = replace(cosine, linear_lr=2.0)
    other_form = replace(cosine, form=Form("cosine by another name", cosine.form.shape))  # type: ignore[union-attr]

    assert len({found.address for found in (rex, cosine, refined, other_rate)}) == 4
    assert other_form.address == cosine.address
    assert score(cosine.run()).steps == 320
