"""The stream of one job's segments, as server-sent events.

The segments table is the truth: after every wake-up, and at least every :data:`POLL_SECONDS`, the stream reads what is
newer than the last it sent. Between two reads it holds no database connection.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import monotonic

from pacesetter.protocol import Segment, SegmentPage
from sse_starlette import ServerSentEvent

from pacesetter_service.errors import Busy
from pacesetter_service.http.services import Services

RETRY_MILLISECONDS = 3000
POLL_SECONDS = 15.0
"""A lost wake-up delays a segment by this much at most."""


@dataclass(slots=True)
class SegmentCursor:
    """Where one reader of a job's segments stands."""

    services: Services
    job: str
    session: str | None
    after: int

    async def read(self) -> SegmentPage:
        """Return what is newer than the cursor, and move it there."""
        page = await self.services.controller.segments_after(self.job, self.session, self.after)
        if page.segments:
            self.after = max(segment.seq for segment in page.segments)
        return page

    async def wait(self, seconds: float) -> None:
        """Return when there may be something newer, when the server closes, or after ``seconds``."""
        waiters = {
            asyncio.ensure_future(
                self.services.controller.wait_segments(self.job, self.after, seconds, self.session)
            ),
            asyncio.ensure_future(self.services.closing.wait()),
        }
        try:
            done, _ = await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
            for waiter in done:
                waiter.result()
        finally:
            for waiter in waiters:
                waiter.cancel()
            await asyncio.gather(*waiters, return_exceptions=True)


async def stream_segments(
    cursor: SegmentCursor, first: SegmentPage
) -> AsyncIterator[ServerSentEvent]:
    """Yield segments and changes of status until the stream is old, the server closes or the client leaves."""
    services = cursor.services
    ends_at = monotonic() + services.settings.stream_seconds
    status = None
    page = first
    with services.metrics.streams.track_inprogress():
        while True:
            if page.status != status:
                status = page.status
                data = f'{{"status":"{status}"}}'
                yield ServerSentEvent(event="status", data=data, retry=RETRY_MILLISECONDS)
            for segment in page.segments:
                yield _segment_event(segment)
                services.metrics.segments.labels("stream").inc()
            remaining = ends_at - monotonic()
            if services.closing.is_set() or remaining <= 0:
                break
            await cursor.wait(min(remaining, POLL_SECONDS))
            try:
                page = await cursor.read()
            except Busy:
                break  # the client comes back, from where it stands
        yield ServerSentEvent(event="reconnect", data="{}")


def _segment_event(segment: Segment) -> ServerSentEvent:
    return ServerSentEvent(
        event="segment", id=str(segment.seq), data=segment.model_dump_json(by_alias=True)
    )
