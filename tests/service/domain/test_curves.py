"""Stored curves on both databases: one of each content, one key a group, and what is left out."""

import asyncio
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pacesetter.curves import Points
from pacesetter.protocol import CurveUpload
from pacesetter_service.controller import Controller
from pacesetter_service.curves.packing import columns_of, packed, unpacked
from pacesetter_service.curves.repository import CurveFilter
from pacesetter_service.errors import NotFound, Refused
from pacesetter_service.views import StoredCurve

from tests.service.domain.conftest import OPTIONS, Open


def upload(number: int = 0, **changes: Any) -> CurveUpload:
    steps = tuple(float(step) for step in range(10, 1010, 10))
    values: dict[str, Any] = {
        "name": f"run {number}",
        "family": "gpt",
        "parameters": 1e6,
        "batch_tokens": 512,
        "steps": steps,
        "lrs": (1e-3,) * 100,
        "losses": tuple(3.0 + 1.0 / step + 0.001 * number for step in steps),
    }
    return CurveUpload.model_validate(values | changes)


async def stored(controller: Controller, number: int = 0, **changes: Any) -> StoredCurve:
    return (await controller.curves.upload(upload(number, **changes), "default")).curve


@pytest.fixture
async def controller(open_controller: Open) -> Controller:
    """A controller that fits nothing meanwhile."""
    return await open_controller(replace(OPTIONS, planning=False))


async def test_one_content_is_one_curve_however_often_it_comes(controller: Controller) -> None:
    uploads = [controller.curves.upload(upload(), "default") for _ in range(8)]
    found = await asyncio.gather(*uploads)
    assert len({each.curve.id for each in found}) == 1
    assert sum(each.is_new for each in found) == 1
    other = await controller.curves.upload(upload(), "another project")
    assert other.is_new


async def test_runs_of_one_group_have_one_key_also_when_they_come_at_once(
    controller: Controller,
) -> None:
    uploads = [
        controller.curves.upload(upload(number, parameters=1e6 + 900 * number), "default")
        for number in range(8)
    ]
    found = [each.curve for each in await asyncio.gather(*uploads)]
    keys = {one.key for one in found}
    assert len(keys) == 1
    (key,) = keys
    assert key.endswith("/512/0.001")
    assert (await stored(controller, 9, parameters=2e6)).key not in keys
    assert (await stored(controller, 9, family="bert")).key not in keys


async def test_a_curve_that_is_left_out_and_taken_in_again_keeps_its_group(
    controller: Controller,
) -> None:
    first = await stored(controller, 1)
    second = await stored(controller, 2, parameters=1.009e6)
    assert first.key == second.key
    out = await controller.curves.change(first.id, excluded=True)
    assert (out.key, out.excluded) == ("", True)
    assert out.changed_at > first.changed_at
    assert [one.id for one in await controller.curves.records("default")] == [second.id]
    back = await controller.curves.change(first.id, excluded=False)
    assert back.key == second.key
    assert len(await controller.curves.records("default")) == 2


async def test_renaming_is_no_change_that_a_law_is_fitted_anew_for(controller: Controller) -> None:
    first = await stored(controller)
    renamed = await controller.curves.change(first.id, name="better")
    assert (renamed.name, renamed.record.name) == ("better", "better")
    assert renamed.changed_at == first.changed_at
    assert (await controller.curves.change(first.id, excluded=False)).changed_at == first.changed_at


async def test_records_are_of_a_project_and_a_regime_newest_first(controller: Controller) -> None:
    for number in range(3):
        await stored(controller, number)
    tuned = await stored(controller, 3, regime="finetune")
    await controller.curves.upload(upload(4), "another")
    names = [one.name for one in await controller.curves.records("default")]
    assert names == ["run 3", "run 2", "run 1", "run 0"]
    assert [one.id for one in await controller.curves.records("default", "finetune")] == [tuned.id]
    page = await controller.curves.page(CurveFilter("another"))
    assert [one.name for one in page.items] == ["run 4"]


async def test_an_unknown_curve_is_none(controller: Controller) -> None:
    first = await stored(controller)
    with pytest.raises(NotFound, match="no curve has the id 'crv_x'"):
        await controller.curves.points([first.id, "crv_x"])
    with pytest.raises(NotFound):
        await controller.curves.get(first.id, "another project")


async def test_what_cannot_be_used_is_refused_with_its_code(controller: Controller) -> None:
    with pytest.raises(Refused) as error:
        await controller.curves.upload(upload(tokens=1e12), "default")
    assert error.value.code == "CONTRADICTORY_UNITS"
    assert error.value.hint


async def test_points_survive_storage(controller: Controller) -> None:
    losses = (None, *upload().losses[1:-1], math.nan)
    found = await stored(controller, losses=losses, warmup=5)
    ((curve, points),) = await controller.curves.points([found.id])
    assert curve == found
    assert points.steps.tolist() == [0.0, 5.0, *upload().steps]
    assert points.lrs.tolist() == [0.0, 1e-3, *upload().lrs]
    assert np.isnan(points.losses[:3]).all()
    assert points.losses[-1] == math.inf
    assert points.losses[3:-1].tolist() == list(losses[1:-1])


def test_a_loss_that_was_not_measured_is_packed_as_missing() -> None:
    points = Points(np.arange(3.0), np.ones(3), np.array([np.nan, 2.0, np.inf]))
    back = unpacked(packed(points))
    assert np.isnan(back.losses[0])
    assert back.losses[1:].tolist() == [2.0, math.inf]
    assert packed(back) == packed(points)
    assert columns_of(points)["step"].tolist() == [0.0, 1.0, 2.0]
