"""How often, how long and how much: every constant of the transport in one place."""

import random
from dataclasses import dataclass, field

LONGEST_RETRY_AFTER = 300.0
"""Seconds; a service that asks for more patience than this is asked again anyway."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals in seconds and sizes of batches. The defaults suit any job; tests shorten them."""

    batch_seconds: float = 0.5
    batch_records: int = 200
    """Queued records that are sent at once, without waiting for ``batch_seconds``."""
    report_records: int = 500
    """Records in one report; the protocol allows 1000."""
    report_bytes: int = 1 << 20
    """Uncompressed size of one report, far below the 8 MiB that the service takes."""
    queue_records: int = 100_000
    memory_bytes: int = 64 << 20
    """What may wait in memory while the disk takes nothing."""
    connect_timeout: float = 5.0
    reply_timeout: float = 20.0
    stream_idle_timeout: float = 45.0
    """Three of the service's pings; a stream that is silent for longer is dead."""
    backoff: float = 0.5
    backoff_cap: float = 30.0
    slow_retry: float = 30.0
    """Between attempts that only a person can make succeed (a wrong token, a deleted job)."""
    long_poll: float = 30.0
    stream_failures: int = 2
    """Streams in a row that opened and then delivered nothing, before long polling takes over."""
    poll_for: float = 600.0
    """How long to poll before the stream is tried again."""


@dataclass(slots=True)
class Backoff:
    """Exponential backoff with full jitter: uniform in [0, min(cap, base 2^attempt)]."""

    base: float
    cap: float
    # Jitter must differ between processes even where the training code seeds the global generator.
    generator: random.Random = field(default_factory=random.SystemRandom)
    attempt: int = 0

    def delay(self, retry_after: float | None = None) -> float:
        """Return the seconds to wait before the next attempt; never less than the service asked for."""
        ceiling = min(self.cap, self.base * 2.0 ** min(self.attempt, 60))
        self.attempt += 1
        jittered = self.generator.uniform(0.0, ceiling)
        if retry_after is None:
            return jittered
        return max(jittered, min(retry_after, LONGEST_RETRY_AFTER))

    def reset(self) -> None:
        """Start over after a success."""
        self.attempt = 0
