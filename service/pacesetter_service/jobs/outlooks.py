"""What running jobs may expect: by laws fitted to their own curves, or by stored laws of their families."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from pacesetter.protocol import JobSpec
from pacesetter.schedules import Schedule
from pacesetter_search.contract import JobFacts
from pacesetter_search.laws.stored import FittedTo
from pacesetter_search.memory.jobs import laws_near
from pacesetter_search.outlook import (
    Basis,
    Outlook,
    Standing,
    choose_basis,
    default_lengths,
    fit_own,
    outlook,
)
from sqlalchemy import select

from pacesetter_service.curves.service import Curves
from pacesetter_service.database.models import JobRow
from pacesetter_service.database.store import Store, Transaction
from pacesetter_service.errors import Conflict, Refused
from pacesetter_service.jobs import reading
from pacesetter_service.jobs.open_job import ENDED, current_spec
from pacesetter_service.planning.messages import Facts
from pacesetter_service.recommendations.evidence import Evidence, EvidenceCache
from pacesetter_service.segments import repository as segments
from pacesetter_service.views import JobView

FITS = 64
"""Jobs whose own laws are kept in memory, those asked about last: some kilobytes each."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A job as it is read for its outlook."""

    view: JobView
    facts: JobFacts
    """With the budget that it has now."""
    plan: Schedule
    """In force for its first parameter group."""


class Outlooks:
    """What a controller says of running jobs.

    Args:
        store: Where jobs are.
        curves: Of them.
        evidence: What projects know.
    """

    def __init__(self, store: Store, curves: Curves, evidence: EvidenceCache) -> None:
        self._store = store
        self._curves = curves
        self._evidence = evidence
        self._fits: OrderedDict[str, tuple[int, Basis | str]] = OrderedDict()
        self._fitting = asyncio.Lock()

    async def of(
        self, job_id: str, lengths: Sequence[int] | None, factors: Sequence[float]
    ) -> Outlook:
        """Return what decays now, the schedule in force and longer budgets would end with.

        Args:
            job_id: The job.
            lengths: Steps of the decays, above zero; None: some shares of the budget.
            factors: Of the budget, above 1.

        Raises:
            NotFound: There is no such job.
            Conflict: It has ended, or its budget is used up.
            Refused: It counts tokens, has no curve that a law can be fitted to, runs at a rate of zero, or a decay
                would go beyond its budget.
        """
        job = await self._store.read(lambda tx: _read(tx, job_id))
        view, total = job.view, job.facts.budget.total
        _require_running(view, total)
        if lengths is not None:
            _require_within(lengths, view.main_position, total)
        standing = await self._standing(job)
        evidence = await self._evidence.of(view.project)
        own = await self._own(standing, view.last_event)
        family = _family(job.facts, evidence)
        wanted = lengths or default_lengths(standing.at, standing.total)
        try:
            basis = choose_basis(own, family, standing.total)
            # Some tens of milliseconds: not on the loop that takes reports.
            return await asyncio.to_thread(outlook, standing, basis, wanted, factors)
        except ValueError as error:  # LawNotFitted among them
            raise Refused(
                f"nothing can be said of job {job_id}: {error}",
                code="NOT_FITTED",
                hint="ask again when it has trained for longer, or upload curves of runs of its family",
            ) from error

    async def _standing(self, job: _Job) -> Standing:
        view = job.view
        points = await self._curves.of_job(view.id, below=view.main_position)
        standing = Standing(
            name=view.id,
            points=points,
            plan=job.plan,
            base_lr=job.facts.groups[0].base_lr,
            at=view.main_position,
            total=job.facts.budget.total,
        )
        if points.diverged:
            raise Refused(
                f"job {view.id} has diverged: its last loss is no number",
                code="NOT_FITTED",
                hint="go back to an earlier checkpoint; laws are about runs that train",
            )
        if points.lrs[-1] <= 0.0 or job.plan.at(standing.at) <= 0.0:
            raise Refused(
                f"the rate at {standing.at:,} is zero: there is nothing to decay",
                code="NOTHING_TO_DECAY",
                hint="ask where the main line still trains",
            )
        return standing

    async def _own(self, standing: Standing, event: int) -> Basis | str:
        """Return the law of a job's own curve, or why there is none; fitted once for each change of the job."""
        # One at a time: whoever asks for many jobs, or for one again and again, leaves the other core to the reports.
        async with self._fitting:
            kept = self._fits.get(standing.name)
            if kept is None or kept[0] != event:
                kept = event, await asyncio.to_thread(_fitted, standing)
                self._fits[standing.name] = kept
            self._fits.move_to_end(standing.name)
            while len(self._fits) > FITS:
                self._fits.popitem(last=False)
        return kept[1]


def _read(tx: Transaction, job_id: str) -> _Job:
    view = reading.get_job(tx, job_id)
    row = tx.execute(
        select(JobRow.budget, JobRow.base, JobRow.overhead_cap).where(JobRow.id == job_id)
    ).one()
    spec: JobSpec = current_spec(view.spec, row.budget, row.base)
    driving = segments.driving(tx, job_id, spec, view.main_position)[spec.groups[0].control]
    facts = Facts.of(spec, view.authority, row.overhead_cap).for_strategy()
    return _Job(view, facts, spec.base if driving is None else driving.policy)


def _require_running(job: JobView, total: int) -> None:
    if job.status in ENDED:
        raise Conflict(
            f"the job is {job.status}",
            code="JOB_ENDED",
            hint="its curve is evidence: POST /v1/predictions says what other schedules would end with",
        )
    if job.spec.budget.clock != "steps":
        raise Refused(
            f"job {job.id} counts tokens, and laws here are about steps",
            code="CLOCK_NOT_STEPS",
            hint="give its curve by steps to POST /v1/predictions",
        )
    if job.main_position >= total:
        raise Conflict("the budget is used up", code="BUDGET_USED", hint="nothing is left to decay")


def _require_within(lengths: Sequence[int], at: int, total: int) -> None:
    if max(lengths) > total - at:
        raise Refused(
            f"a decay over {max(lengths):,} steps from {at:,} on ends beyond the budget of {total:,}",
            code="BEYOND_BUDGET",
            hint=f"give lengths of at most {total - at:,}; extend says what a longer budget would end with",
        )


def _fitted(standing: Standing) -> Basis | str:
    try:
        return fit_own(standing)
    except ValueError as error:  # LawNotFitted among them
        return str(error)


def _family(job: JobFacts, evidence: Evidence) -> list[Basis]:
    """Return the stored laws of a job's family, nearest in size first."""
    records = [one for one in evidence.recorded.records if one.regime == job.regime]
    return [
        Basis(
            known.law,
            tuple(
                FittedTo(name=one.name, steps=one.steps, points=one.points, residual=one.residual)
                for one in evidence.views[known.id].evidence
            ),
            known.id,
            known.octaves,
        )
        for known in laws_near(records, job, evidence.family_laws())
    ]
