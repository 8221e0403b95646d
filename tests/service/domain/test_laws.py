"""Laws of stored curves: fitted in a process of their own, anew where curves changed, and kept by version."""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import Any

import psutil
import pytest
from pacesetter.protocol import CurveUpload, ParameterGroup
from pacesetter_search.contract import Registered
from pacesetter_search.memory import LawGroup
from pacesetter_search.memory.laws import LAWS, FamilyLaw
from pacesetter_service.controller import Controller
from pacesetter_service.errors import NotFound
from pacesetter_service.laws import runner
from pacesetter_service.laws.repository import VERSIONS, LawFilter
from pacesetter_service.views import LawView, StoredCurve
from pydantic import TypeAdapter

from tests.service.domain.conftest import OPTIONS, ROOT, Open
from tests.service.domain.experimenting import claim, finish, search
from tests.service.domain.simulated import spec
from tests.service.domain.test_planning import DEADLINE_SECONDS
from tests.service.http.curves import PEAK, STEPS, upload

QUIET = replace(OPTIONS, planning=False)
"""Nothing happens in the background: tests fit laws themselves."""


@pytest.fixture
async def controller(open_controller: Open) -> Controller:
    return await open_controller(QUIET)


async def stored(controller: Controller, body: str, /, **changes: Any) -> StoredCurve:
    document = CurveUpload.model_validate(upload(body, **changes))
    return (await controller.curves.upload(document, "default")).curve


async def laws(controller: Controller, **wanted: Any) -> tuple[LawView, ...]:
    return (await controller.laws.page(LawFilter(**wanted))).items


async def test_curves_of_one_group_make_a_law(controller: Controller) -> None:
    curves = [await stored(controller, body) for body in ("constant", "cosine")]
    (law_id,) = await controller.fit_laws()
    (law,) = await laws(controller)
    assert (law.id, law.version, law.problem) == (law_id, 1, "")
    assert law.key == curves[0].key == curves[1].key
    assert law.about == LawGroup.of(curves[0].record)
    assert [(one.id, one.name, one.steps) for one in law.evidence] == [
        (curve.id, curve.name, STEPS) for curve in curves
    ]
    assert max(one.residual for one in law.evidence) < 3e-3
    assert law.law is not None
    assert law.law.hull is not None
    assert law.law.hull.highest == pytest.approx(PEAK, rel=1e-3)
    assert await controller.laws.get(law_id) == law
    # Nothing changed, so nothing is fitted.
    assert await controller.fit_laws() == ()


async def test_what_changes_is_fitted_anew_and_old_versions_stay(controller: Controller) -> None:
    await stored(controller, "constant")
    cosine = await stored(controller, "cosine")
    (first,) = await controller.fit_laws()
    await stored(controller, "wsd")
    (second,) = await controller.fit_laws()
    await controller.curves.change(cosine.id, excluded=True)
    (third,) = await controller.fit_laws()
    await controller.curves.change(cosine.id, name="renamed")
    assert await controller.fit_laws() == ()
    versions = [await controller.laws.get(law_id) for law_id in (first, second, third)]
    assert [one.version for one in versions] == [1, 2, 3]
    names = [sorted(curve.name for curve in one.evidence) for one in versions]
    assert names == [
        ["run constant", "run cosine"],
        ["run constant", "run cosine", "run wsd"],
        ["run constant", "run wsd"],
    ]
    assert await laws(controller) == (versions[2],)
    assert await controller.laws.newest_of("default", cosine.key) == versions[2]


async def test_a_law_whose_last_curve_is_gone_says_so(controller: Controller) -> None:
    curves = [await stored(controller, body) for body in ("constant", "cosine")]
    await controller.fit_laws()
    for curve in curves:
        await controller.curves.remove(curve.id)
    (law_id,) = await controller.fit_laws()
    law = await controller.laws.get(law_id)
    assert (law.version, law.law, law.evidence) == (2, None, ())
    assert "no run is left" in law.problem
    assert await controller.laws.newest("default") == ()
    assert await controller.fit_laws() == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"steps": [10, 20, 30], "lrs": [0.1, 0.1, 0.1], "losses": [3, 2, 1], "warmup": 0},
            "3 points",
        ),
        ({"objective": {"name": "reward", "mode": "max"}}, "rises"),
        ({"losses": [*upload()["losses"][:-1], "NaN"]}, "diverged"),
        ({"losses": [loss - 10.0 for loss in upload()["losses"]]}, "not above zero"),
    ],
    ids=["too few", "objective", "diverged", "negative"],
)
async def test_a_group_that_carries_no_law_says_why(
    controller: Controller, changes: dict[str, Any], words: str
) -> None:
    await stored(controller, "cosine", **changes)
    (law_id,) = await controller.fit_laws()
    law = await controller.laws.get(law_id)
    assert law.law is None
    assert words in law.problem
    assert await controller.fit_laws() == ()


async def test_one_curve_makes_a_law_with_a_warning(controller: Controller) -> None:
    await stored(controller, "constant")
    (law_id,) = await controller.fit_laws()
    fitted = (await controller.laws.get(law_id)).law
    assert fitted is not None
    assert any("do not tell the response to decay" in each for each in fitted.warnings)


async def test_groups_have_laws_of_their_own(controller: Controller) -> None:
    await stored(controller, "cosine")
    await stored(controller, "cosine", family="bert", regime="finetune")
    await stored(controller, "cosine", parameters=None, family="")
    assert len(await controller.fit_laws()) == 2
    (bert,) = await laws(controller, family="bert")
    assert (bert.about.regime, bert.about.family) == ("finetune", "bert")
    assert await laws(controller, regime="finetune") == (bert,)
    assert await laws(controller, project="another") == ()
    assert await controller.laws.newest("default", family="bert") == (bert,)
    with pytest.raises(NotFound, match="no law has the id"):
        await controller.laws.get(bert.id, "another")


async def test_the_newest_versions_are_kept(controller: Controller) -> None:
    objective = {"name": "reward", "mode": "max"}
    curve = await stored(controller, "cosine", objective=objective)
    await stored(controller, "constant", objective=objective)
    first = await controller.fit_laws()
    for number in range(VERSIONS):
        await controller.curves.change(curve.id, excluded=number % 2 == 0)
        (newest,) = await controller.fit_laws()
    assert (await controller.laws.get(newest)).version == VERSIONS + 1
    with pytest.raises(NotFound):
        await controller.laws.get(first[0])


async def test_two_replicas_store_one_version(open_controller: Open) -> None:
    one, two = await open_controller(QUIET), await open_controller(QUIET)
    await stored(one, "cosine", objective={"name": "reward", "mode": "max"})
    made = await asyncio.gather(one.fit_laws(), two.fit_laws())
    assert sorted(map(len, made)) == [0, 1]
    (law,) = await laws(one)
    assert law.version == 1


async def test_uploads_that_come_together_are_fitted_once(open_controller: Open) -> None:
    controller = await open_controller(replace(OPTIONS, fit_after_seconds=3.0))
    await asyncio.gather(*(stored(controller, body) for body in ("constant", "cosine", "wsd")))
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (found := await laws(controller)):
            await asyncio.sleep(0.05)
    assert (found[0].version, len(found[0].evidence)) == (1, 3)


async def test_no_law_is_fitted_while_trials_run(open_controller: Open) -> None:
    controller = await open_controller(replace(QUIET, fit_after_seconds=0.0))
    await controller.experiments.create(search(1), "default")
    (lease,) = await claim(controller)
    await stored(controller, "cosine")
    assert await controller._law_runner.fit() == ()
    await finish(controller, lease)
    assert len(await controller._law_runner.fit()) == 1


async def test_trials_that_run_for_long_do_not_put_a_law_off_for_ever(
    open_controller: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PATIENCE_SECONDS", 0.0)
    controller = await open_controller(replace(QUIET, fit_after_seconds=0.0))
    await controller.experiments.create(search(1), "default")
    assert len(await claim(controller)) == 1
    await stored(controller, "cosine")
    assert len(await controller._law_runner.fit()) == 1


async def test_what_was_stored_before_a_restart_is_fitted_after_it(open_controller: Open) -> None:
    halted = await open_controller(QUIET)
    await stored(halted, "cosine")
    again = await open_controller(OPTIONS)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await laws(again):
            await asyncio.sleep(0.05)
        # What fits ends when nothing is left to fit.
        while again._law_runner.process.pid is not None:
            await asyncio.sleep(0.05)


async def test_a_fit_that_takes_too_long_is_tried_twice_and_then_says_so(
    open_controller: Open,
) -> None:
    controller = await open_controller(replace(QUIET, fit_timeout_seconds=0.0))
    await stored(controller, "cosine")
    assert await controller.fit_laws() == ()
    (law_id,) = await controller.fit_laws()
    problem = (await controller.laws.get(law_id)).problem
    assert problem == "the fit failed 2 times: the fitting process gave no answer within 0 s"


async def test_every_fit_is_observed(open_controller: Open) -> None:
    seen: list[tuple[str, float]] = []
    options = replace(QUIET, observe_fit=lambda outcome, seconds: seen.append((outcome, seconds)))
    controller = await open_controller(options)
    await stored(controller, "cosine")
    await stored(controller, "cosine", family="x", objective={"name": "reward", "mode": "max"})
    await controller.fit_laws()
    assert sorted(outcome for outcome, _ in seen) == ["fitted", "unfit"]
    assert dict(seen)["fitted"] > 0.0


_PARENT = """
import asyncio
from pacesetter_service.laws.remote import FittingProcess

async def main():
    process = FittingProcess(60.0, {})
    await process.start()
    print(process.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.faults
def test_the_fitting_process_is_nice_pinned_and_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.nice() == min(19, os.nice(0) + 10)
        assert child.environ()["OMP_NUM_THREADS"] == "1"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        _, alive = psutil.wait_procs([child], timeout=DEADLINE_SECONDS)
    assert not alive


async def test_a_job_of_the_family_is_told_the_law_that_its_runs_taught(
    controller: Controller,
) -> None:
    for body in ("constant", "cosine"):
        await stored(controller, body)
    (law_id,) = await controller.fit_laws()
    (law,) = await laws(controller)
    group = ParameterGroup(name="all", base_lr=PEAK, optimizer="AdamW", parameters=124_000_000)
    told = {}
    for name, family in (("same", "gpt"), ("other", "bert")):
        job = spec(
            STEPS,
            "remembering",
            external_id=name,
            groups=(group,),
            regime="pretrain",
            workload={"family": family, "batch_tokens": 51_200},
        )
        registered = await controller.register(job)
        events = await controller.events(registered.registration.job, types=("registered",))
        first = Registered.model_validate(events.items[0].body)
        told[name] = TypeAdapter(list[FamilyLaw]).validate_python(first.priors.get(LAWS, []))
    (same,) = told["same"]
    assert (same.id, same.curves, same.octaves) == (law_id, 2, 0.0)
    assert same.law == law.law
    assert told["other"] == []
