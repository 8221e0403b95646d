"""Tell a strategy that a person took over, or handed the job back."""

from pacesetter_search.contract import Overridden

from pacesetter_service.jobs.open_job import OpenJob


def tell_overridden(job: OpenJob, *, active: bool) -> int:
    """Store the event that tells the strategy; return its number."""
    body = Overridden(active=active, seq=job.last_seq, position=job.main_position)
    job.due_event = job.add_event(
        "overridden",
        body,
        reducible=True,
        session=job.session,
        segment=job.last_seq,
        position=job.main_position,
    )
    return job.due_event
