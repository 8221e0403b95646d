"""Curves as the controller hands them out: uploaded, listed, left out, deleted."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pacesetter.curves import Points, averaged
from pacesetter.curves.series import join
from pacesetter.curves.tables import Raw
from pacesetter.errors import CurveError
from pacesetter.protocol import CurveAbout, CurveUpload, Regime, Workload
from pacesetter_search.memory import Known, RunRecord, record_of

from pacesetter_service.curves import repository
from pacesetter_service.curves.main_line import points_of_rows
from pacesetter_service.curves.packing import packed
from pacesetter_service.curves.repository import CurveFilter, NewCurve
from pacesetter_service.database.store import Store
from pacesetter_service.errors import Refused
from pacesetter_service.reports.curves import main_rows
from pacesetter_service.views import Page, StoredCurve


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What an upload came to."""

    curve: StoredCurve
    is_new: bool
    """False: the same curve, described alike, was there already."""


class Curves:
    """The curves of a controller.

    Args:
        store: Where they are.
        changed: Called after any change that a law would be fitted anew for.
    """

    def __init__(self, store: Store, changed: Callable[[], None]) -> None:
        self._store = store
        self._changed = changed

    async def upload(self, upload: CurveUpload, project: str) -> Uploaded:
        """Store a curve that came as JSON, in at most two thousand points.

        Raises:
            Refused: It cannot be used; the code says why.
        """
        # A long one takes a tenth of a second: not on the loop that takes reports.
        return await self._store_new(project, lambda: _of_upload(upload, project))

    async def upload_table(self, raw: Raw, about: CurveAbout, project: str) -> Uploaded:
        """Store a curve that came as a table. Raises Refused as :meth:`upload`."""
        return await self._store_new(project, lambda: _of_table(raw, about, project))

    async def _store_new(self, project: str, make: Callable[[], NewCurve]) -> Uploaded:
        try:
            curve = await asyncio.to_thread(make)
        except CurveError as error:
            raise Refused(error.detail, code=error.code, hint=error.hint) from error
        is_new = await self._store.write(lambda tx: repository.insert(tx, curve))
        if is_new:
            self._changed()
        return Uploaded(await self.get(curve.record.id, project), is_new)

    async def get(self, curve_id: str, project: str | None = None) -> StoredCurve:
        """Return a curve, of any project where none is named. Raises NotFound."""
        return await self._store.read(lambda tx: repository.get(tx, curve_id, project))

    async def points(
        self, curve_ids: Sequence[str], project: str | None = None
    ) -> list[tuple[StoredCurve, Points]]:
        """Return curves with their points, in the order of their ids. Raises NotFound."""
        return await self._store.read(lambda tx: repository.points_of(tx, curve_ids, project))

    async def of_job(self, job_id: str, below: float = np.inf) -> Points:
        """Return what a job measured on its main line so far, by positions that count steps.

        Args:
            job_id: The job.
            below: Main-line position that it stands at: what a rollback took back lies beyond it.

        Raises:
            Refused: There is no usable curve in it.
        """
        rows = await self._store.read(lambda tx: main_rows(tx, job_id, ("loss", "lr")))
        try:
            return await asyncio.to_thread(points_of_rows, rows, below=below)
        except CurveError as error:
            raise Refused(
                f"job {job_id} has no curve: {error.detail}", code="NO_CURVE", hint=error.hint
            ) from error

    async def page(
        self, wanted: CurveFilter, page_size: int = 50, page_token: str = ""
    ) -> Page[StoredCurve]:
        """Return a page of curves, newest first. Raises Refused (``BAD_PAGE_TOKEN``)."""
        return await self._store.read(
            lambda tx: repository.list_curves(tx, wanted, page_size, page_token)
        )

    async def records(self, project: str, regime: Regime | None = None) -> tuple[RunRecord, ...]:
        """Return the records that are evidence in a project, newest first."""
        return await self._store.read(lambda tx: repository.records(tx, project, regime))

    async def change(
        self,
        curve_id: str,
        project: str | None = None,
        *,
        name: str | None = None,
        excluded: bool | None = None,
    ) -> StoredCurve:
        """Rename a curve, leave it out as evidence, or take it in again. Raises NotFound."""
        changed = await self._store.write(
            lambda tx: repository.change(tx, curve_id, project, name, excluded)
        )
        self._changed()
        return changed

    async def remove(self, curve_id: str, project: str | None = None) -> None:
        """Delete an uploaded curve. Raises NotFound, or Conflict for one of a job."""
        await self._store.write(lambda tx: repository.remove(tx, curve_id, project))
        self._changed()


def _of_upload(upload: CurveUpload, project: str) -> NewCurve:
    lrs, losses = (
        np.array([np.nan if value is None else value for value in column], dtype=np.float64)
        for column in (upload.lrs, upload.losses)
    )
    measured = np.array([value is not None for value in upload.losses], dtype=np.bool_)
    points = Points.of(np.array(upload.steps), lrs, losses, measured=measured, warmup=upload.warmup)
    return _new(points, upload.about(), project)


def _of_table(raw: Raw, about: CurveAbout, project: str) -> NewCurve:
    return _new(join(raw, "the table", about.warmup).points, about, project)


def _new(points: Points, about: CurveAbout, project: str) -> NewCurve:
    short = averaged(points)
    known = Known(
        id=_content_id(short, about, project),
        name=about.name,
        source="upload",
        workload=Workload(**{name: getattr(about, name) for name in Workload.model_fields}),
        regime=about.regime,
        optimizer=about.optimizer,
        tokens=about.tokens,
        momentum=about.momentum,
        weight_decay=about.weight_decay,
        validated=about.validated,
        completed=about.completed,
    )
    return NewCurve(project, record_of(short, known), short)


def _content_id(points: Points, about: CurveAbout, project: str) -> str:
    """Return an id by content: the same curve with the same description is the same curve."""
    text = f"{project}\n{about.model_dump_json()}\n".encode()
    return f"crv_{hashlib.sha256(text + packed(points)).hexdigest()[:20]}"
