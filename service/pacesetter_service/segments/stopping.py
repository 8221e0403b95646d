"""The stop that a person asks for by cancelling or completing a job that may still run."""

from pacesetter.protocol import PERSON, Reason, SegmentPlan

from pacesetter_service.jobs.open_job import OpenJob
from pacesetter_service.segments import repository as segments

ANYWHERE = 0
"""Every segment descends from the base schedule, so what continues it is never stale: the job may have fallen back to
its main line, or gone on to its next segment, while the stop was on its way."""


def send_stop(job: OpenJob, text: str) -> int:
    """Tell the job to leave any probe and end on its main line; return the ``seq`` of the stop.

    It goes out under every authority, paused or not, and within any limits: this is no steering.
    """
    plan = SegmentPlan(
        kind="stop",
        when="now",
        start=job.main_position,
        length=0,
        policy=job.load_spec().base,
        reason=Reason(text=text),
        origin=PERSON,
    )
    (stop,) = segments.send(job, (plan,), ANYWHERE, proposed=False)
    return stop.seq
