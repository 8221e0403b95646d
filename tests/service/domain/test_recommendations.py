"""Recommendations rest on what a project has stored: now, in every replica, and on nothing else."""

import math
from dataclasses import replace
from typing import Any

import pytest
from pacesetter.protocol import CurveUpload, Recommendation
from pacesetter_search.recommendation import Target
from pacesetter_search.transfer import hinge_peak
from pacesetter_service.controller import Controller
from pacesetter_service.errors import NotFound, Refused
from pacesetter_service.recommendations import repository
from pacesetter_service.recommendations.evidence import PROJECTS, EvidenceCache, read_evidence
from pacesetter_service.views import StoredCurve

from tests.service.domain.conftest import OPTIONS, Open
from tests.service.domain.simulated import SimulatedJob, spec
from tests.service.http.curves import PEAK, STEPS, upload

QUIET = replace(OPTIONS, planning=False)
"""Nothing happens in the background: tests fit laws themselves."""

BATCH = 51_200.0
BEST = hinge_peak(124e6, STEPS * BATCH, BATCH)
TARGET = Target(parameters=124e6, tokens=STEPS * BATCH, batch_tokens=BATCH, family="gpt")


@pytest.fixture
async def controller(open_controller: Open) -> Controller:
    return await open_controller(QUIET)


async def stored(
    controller: Controller, peak: float, body: str = "cosine", /, **changes: Any
) -> StoredCurve:
    """Upload a run of the target's model and length, the worse the further its peak is from the best one."""
    project = changes.pop("project", "default")
    missed = 1.0 + 0.02 * math.log2(peak / BEST) ** 2
    document = upload(body, name=f"at {peak:g}", **changes)
    document["lrs"] = [lr * peak / PEAK for lr in document["lrs"]]
    document["losses"] = [missed * loss for loss in document["losses"]]
    new = await controller.curves.upload(CurveUpload.model_validate(document), project)
    return new.curve


async def swept(controller: Controller, **changes: Any) -> list[StoredCurve]:
    return [await stored(controller, BEST * factor, **changes) for factor in (0.5, 1.0, 2.0)]


async def ask(controller: Controller, project: str = "default", **changes: Any) -> Recommendation:
    target = Target.model_validate({**TARGET.model_dump(), **changes})
    return await controller.recommendations.ask(target, project)


def named(found: Recommendation) -> set[str]:
    """Return the ids of all that the answer says it rests on."""
    return {one.id for one in found.evidence if one.id and (one.weight or one.loss_weight)}


async def test_runs_on_record_narrow_the_answer_and_are_named(controller: Controller) -> None:
    alone = await ask(controller)
    curves = await swept(controller)
    found = await ask(controller)
    assert alone.sd_octaves is not None
    assert found.sd_octaves is not None
    assert found.sd_octaves < 0.7 * alone.sd_octaves
    assert found.lr == pytest.approx(BEST, rel=0.3)
    assert named(alone) == set()
    assert named(found) == {one.id for one in curves}
    assert found.loss is not None
    assert found.loss.basis == "finals"


async def test_what_is_left_out_weighs_nothing_and_what_is_taken_in_again_does(
    controller: Controller,
) -> None:
    curves = await swept(controller)
    before = await ask(controller)
    await controller.curves.change(curves[0].id, excluded=True)
    without = await ask(controller)
    assert curves[0].id in named(before) - named(without)
    assert curves[2].id in named(without)
    await controller.curves.change(curves[0].id, excluded=False)
    assert await ask(controller) == before
    for one in curves:
        await controller.curves.remove(one.id)
    assert named(await ask(controller)) == set()


async def test_a_curve_that_is_renamed_is_called_by_its_new_name_at_once(
    controller: Controller,
) -> None:
    curves = await swept(controller)
    await ask(controller)
    await controller.curves.change(curves[1].id, name="the good one")
    found = await ask(controller)
    assert {one.name for one in found.evidence if one.id == curves[1].id} == {"the good one"}


async def test_another_project_s_runs_say_nothing(controller: Controller) -> None:
    await swept(controller, project="theirs")
    assert named(await ask(controller)) == set()
    assert len(named(await ask(controller, project="theirs"))) == 3


async def test_a_change_in_one_replica_is_seen_by_the_other(open_controller: Open) -> None:
    one, two = await open_controller(QUIET), await open_controller(QUIET)
    assert named(await ask(two)) == set()
    curves = await swept(one)
    assert named(await ask(two)) == {each.id for each in curves}
    await one.curves.change(curves[0].id, excluded=True)
    assert curves[0].id not in named(await ask(two))


async def test_nothing_is_read_again_while_nothing_changed(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0

    def counted(*given: Any) -> Any:
        nonlocal read
        read += 1
        return read_evidence(*given)

    monkeypatch.setattr("pacesetter_service.recommendations.evidence.read_evidence", counted)
    curves = await swept(controller)
    first = await ask(controller)
    assert await ask(controller) == first
    assert read == 1
    await controller.curves.change(curves[0].id, name="x")
    await controller.curves.change(curves[0].id, name="x")
    await ask(controller)
    assert read == 2


async def test_evidence_is_kept_of_the_projects_that_were_asked_last(
    controller: Controller,
) -> None:
    cache = EvidenceCache(controller._store)
    for number in range(PROJECTS + 3):
        await cache.of(f"project {number}")
    assert list(cache._kept) == [f"project {number}" for number in range(3, PROJECTS + 3)]


async def test_a_law_of_this_workload_speaks_until_one_of_its_curves_is_left_out(
    controller: Controller,
) -> None:
    _, cosine, _ = await swept(controller)
    curves = [cosine, *[await stored(controller, BEST, body) for body in ("constant", "wsd")]]
    await controller.fit_laws()
    law = await controller.laws.newest_of("default", cosine.key)
    assert law is not None
    found = await ask(controller)
    fitted = next(one for one in found.evidence if one.kind == "fitted_law")
    assert fitted.id == law.id
    assert found.loss is not None
    assert found.loss.basis == "curves"
    assert {one.id for one in found.evidence if one.kind == "curve"} == {one.id for one in curves}
    assert {one.basis for one in found.alternatives} == {"curves"}
    await controller.curves.change(curves[2].id, excluded=True)
    without = await ask(controller)
    assert not any(one.kind == "fitted_law" for one in without.evidence)
    (again,) = await controller.fit_laws()
    refitted = await ask(controller)
    assert [one.id for one in refitted.evidence if one.kind == "fitted_law"] == [again]


async def test_a_family_is_asked_for_by_its_name(controller: Controller) -> None:
    await swept(controller)
    other = await ask(controller, family="")
    assert any("'gpt' count as another family's" in one for one in other.warnings)
    assert other.loss is not None
    assert other.loss.basis == "published"
    weights = [
        sum(one.weight for one in found.evidence if one.kind == "run")
        for found in (other, await ask(controller))
    ]
    assert 0.1 < weights[0] < weights[1]


# -- what was recommended is kept --


async def test_an_answer_is_kept_as_it_was_given(controller: Controller) -> None:
    kept = await controller.recommendations.ask(TARGET, "default", keep=True)
    assert kept.id is not None
    await swept(controller)
    stored_ = await controller.recommendations.get(kept.id, "default")
    assert (stored_.answer, stored_.project, stored_.applied) == (kept, "default", False)
    assert (await ask(controller)).id is None
    with pytest.raises(NotFound) as refused:
        await controller.recommendations.get(kept.id, "theirs")
    assert refused.value.code == "RECOMMENDATION_NOT_FOUND"


async def test_what_says_that_nothing_is_known_is_kept_too(controller: Controller) -> None:
    target = TARGET.model_copy(update={"regime": "lora"})
    kept = await controller.recommendations.ask(target, "default", keep=True)
    assert kept.id is not None
    assert (await controller.recommendations.get(kept.id)).answer.status == "no_evidence"


async def test_an_impossible_target_is_refused_and_nothing_kept(controller: Controller) -> None:
    target = TARGET.model_copy(update={"schedule_family": "inverse_sqrt", "warmup_steps": 0})
    with pytest.raises(Refused) as refused:
        await controller.recommendations.ask(target, "default", keep=True)
    assert refused.value.code == "IMPOSSIBLE_TARGET"
    assert (await controller.recommendations.page()).items == ()


async def test_the_newest_are_kept_and_those_that_jobs_run_on(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "KEPT", 3)
    first = await controller.recommendations.ask(TARGET, "default", keep=True)
    job = SimulatedJob(controller, spec(strategy="fixed", recommendation=first.id))
    await job.start()
    theirs = await controller.recommendations.ask(TARGET, "theirs", keep=True)
    ids = [
        (await controller.recommendations.ask(TARGET, "default", keep=True)).id for _ in range(6)
    ]
    page = await controller.recommendations.page("default")
    assert [one.answer.id for one in page.items] == [*ids[:2:-1], first.id]
    assert [one.applied for one in page.items] == [False, False, False, True]
    assert [one.answer.id for one in (await controller.recommendations.page("theirs")).items] == [
        theirs.id
    ]


async def test_pages_go_from_the_newest_to_the_oldest(controller: Controller) -> None:
    ids = [
        (await controller.recommendations.ask(TARGET, "default", keep=True)).id for _ in range(5)
    ]
    seen, token = [], ""
    while True:
        page = await controller.recommendations.page("default", 2, token)
        seen += [one.answer.id for one in page.items]
        token = page.next_page_token
        if not token:
            break
    assert seen == ids[::-1]


# -- a job names one --


@pytest.mark.parametrize("validate_only", [True, False])
async def test_a_job_that_names_one_which_the_project_does_not_have_is_refused(
    controller: Controller, validate_only: bool
) -> None:
    theirs = await controller.recommendations.ask(TARGET, "theirs", keep=True)
    for id_ in ("rec_7", theirs.id):
        named_ = spec(strategy="fixed", recommendation=id_)
        with pytest.raises(Refused) as refused:
            await controller.register(named_, validate_only=validate_only)
        assert refused.value.code == "UNKNOWN_RECOMMENDATION"
        assert (await controller.list_jobs()).items == ()


async def test_a_job_s_first_events_name_the_one_that_it_runs_on(controller: Controller) -> None:
    kept = await controller.recommendations.ask(TARGET, "default", keep=True)
    assert kept.id is not None
    registered = await controller.register(spec(strategy="fixed", recommendation=kept.id))
    events = await controller.events(registered.registration.job, types=("recommendation_applied",))
    assert [one.body for one in events.items] == [{"recommendation": kept.id}]
    assert (await controller.recommendations.get(kept.id)).applied
