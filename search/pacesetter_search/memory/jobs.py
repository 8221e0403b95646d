"""What a project remembers for a job that registers: fixed in the job's first event, and never changed for it."""

from collections.abc import Sequence

from pacesetter.protocol import Workload
from pydantic import JsonValue

from pacesetter_search.contract import JobFacts
from pacesetter_search.memory.prior import PEAK, peak_prior
from pacesetter_search.memory.records import RunRecord


def job_priors(records: Sequence[RunRecord], job: JobFacts) -> dict[str, JsonValue]:
    """Return what ``records`` say to a job, by name; empty where they say nothing.

    Args:
        records: Of the job's project and regime, newest first.
        job: As it registers.
    """
    workload = workload_of(records, job)
    batch = workload.batch_tokens
    if batch is None:
        return {}
    tokens = job.budget.total * (batch if job.budget.clock == "steps" else 1.0)
    optimizer = job.groups[0].optimizer
    found = peak_prior(records, workload, regime=job.regime, optimizer=optimizer, tokens=tokens)
    return {} if found is None else {PEAK: found.model_dump(mode="json")}


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
