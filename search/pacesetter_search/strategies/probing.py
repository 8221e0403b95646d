"""What every strategy that probes says to the client in the same way."""

from collections.abc import Iterable

from pacesetter.protocol import UNLIMITED, StopClause, StopIfAverageAbove, StopIfNonFinite
from pacesetter.protocol.segments import DataSource

from pacesetter_search.contract import JobFacts

NEEDS = "rollback, authority 'steer'"
"""What every strategy that probes needs, in a few words."""

MOST_REPLANS = 20
"""Plans in a row that came to nothing (too late, superseded, fallen back) after which the job is left alone."""

NOISE_SPREADS = 8.0
"""Mean absolute deviations of one batch that a probe's average may rise by before it counts as diverged."""

NEVER_AGAIN = frozenset(
    {
        "NO_ROLLBACK",
        "PROBE_NOT_ALLOWED",
        "PROBE_TOO_LONG",
        "ROLLBACK_NOT_ALLOWED",
        "SNAPSHOT_FAILED",
        "UNKNOWN_POLICY",
        "UNREADABLE",
    }
)
"""Refusals that the next probe would meet as well."""


def obstacles(job: JobFacts) -> Iterable[str]:
    """Return why nothing can be probed in ``job``, one sentence each."""
    if job.authority != "steer":
        yield f"it probes unasked, which authority {job.authority!r} does not allow; use 'steer'"
    if job.capabilities.rollback == "none":
        yield "it probes, and the job cannot roll back; attach with rollback='memory' or 'disk'"
    if not job.limits.allow_probes:
        yield "it probes, and the limits set allow_probes=False"


def data_source(job: JobFacts, length: int, *, may_rewind: bool) -> DataSource:
    """Siblings see the same batches wherever the job can rewind so far: their differences are then the rates'."""
    capable = job.capabilities.rewind_batches
    reaches = capable == UNLIMITED or (job.budget.clock == "steps" and length <= capable)
    return "rewind" if may_rewind and reaches else "continue"


def stop_clauses(level: float | None, spread: float, ratio: float | None) -> tuple[StopClause, ...]:
    """Return when a probe has diverged: its average is far above the main line's, measured in both units.

    A ratio alone calls noise a divergence once the loss is small, and a single first batch is no level.

    Args:
        level: Running loss of the main line; None where nothing was measured.
        spread: Mean absolute deviation of one batch from it.
        ratio: How many times the level; None: only non-finite losses count.
    """
    if ratio is None or level is None:
        return (StopIfNonFinite(),)
    rise = max((ratio - 1.0) * abs(level), NOISE_SPREADS * spread)
    return (StopIfNonFinite(), StopIfAverageAbove(bound=level + rise))
