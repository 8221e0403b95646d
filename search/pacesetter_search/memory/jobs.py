"""What a project remembers for a job that registers: fixed in the job's first event, and never changed for it."""

from collections.abc import Sequence

from pacesetter.protocol import Workload
from pydantic import JsonValue

from pacesetter_search.contract import JobFacts
from pacesetter_search.memory.kinds import Kind
from pacesetter_search.memory.laws import LAWS, FamilyLaw, laws_for
from pacesetter_search.memory.prior import PEAK, peak_prior
from pacesetter_search.memory.records import RunRecord


def job_priors(
    records: Sequence[RunRecord], job: JobFacts, laws: Sequence[FamilyLaw] = ()
) -> dict[str, JsonValue]:
    """Return what a project knows that concerns a job, by name; empty where it knows nothing.

    Args:
        records: Of the job's project and regime, newest first.
        job: As it registers.
        laws: Of the project.
    """
    workload = workload_of(records, job)
    batch = workload.batch_tokens
    if batch is None:
        return {}
    near = laws_near(records, job, laws)
    said: dict[str, JsonValue] = {}
    if near:
        said[LAWS] = [law.model_dump(mode="json") for law in near]
    tokens = job.budget.total * (batch if job.budget.clock == "steps" else 1.0)
    found = peak_prior(
        records, workload, regime=job.regime, optimizer=job.groups[0].optimizer, tokens=tokens
    )
    if found is not None:
        said[PEAK] = found.model_dump(mode="json")
    return said


def laws_near(
    records: Sequence[RunRecord], job: JobFacts, laws: Sequence[FamilyLaw]
) -> list[FamilyLaw]:
    """Return the laws of a job's family that say what decays do to it, nearest in size first.

    Args:
        records: Of the job's project and regime, newest first.
        job: As it registered.
        laws: Of the project.
    """
    peak, workload, first = _peak_lr(job), workload_of(records, job), job.groups[0]
    batch = workload.batch_tokens
    if peak <= 0.0 or batch is None:
        return []
    return laws_for(
        laws,
        workload,
        Kind.of(workload, job.regime, first.optimizer),
        momentum=first.momentum,
        peak_lr=peak,
        steps=job.budget.total / (1.0 if job.budget.clock == "steps" else batch),
    )


def _peak_lr(job: JobFacts) -> float:
    """Return the rate of the first group at the peak of the base schedule."""
    scale = 1.0 if job.base.unit == "absolute" else job.groups[0].base_lr
    return job.base.peak * scale


def workload_of(records: Sequence[RunRecord], job: JobFacts) -> Workload:
    """Return a job's workload, its parameters counted where they were not declared.

    How many tokens a step has is measured only later: where it was not declared it is taken to be that of the newest
    run of the job's family.
    """
    declared = job.workload
    parameters = declared.parameters or sum(group.parameters for group in job.groups) or None
    batch = declared.batch_tokens
    if batch is None:
        of_family = (one.workload for one in records if one.workload.family == declared.family)
        batch = next((one.batch_tokens for one in of_family if one.batch_tokens is not None), None)
    return declared.model_copy(update={"parameters": parameters, "batch_tokens": batch})
