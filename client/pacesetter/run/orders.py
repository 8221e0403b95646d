"""What arrives from the service, handed to all ranks at the same step.

One process is told by the transport's bell. Several ranks exchange every ``sync_every`` steps and wherever a segment
ends, which all know beforehand. An exchange is begun at one such step and finished at the next, so that no rank waits
for a slower one; only what ends a segment waits. With it travel the losses that the ranks judge together.
"""

import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pacesetter.errors import ConfigurationError, RegistrationRefused
from pacesetter.protocol import JobSpec, Registration, Segment
from pacesetter.run.ranks import Finish, Ranks
from pacesetter.transport.base import Bell, Transport, UnreadableSegment

logger = logging.getLogger("pacesetter")

Order = Segment | UnreadableSegment

POLL_SECONDS = 0.02
"""Between two looks for the reply to ``SessionBegan``, which nothing announces."""


@dataclass(frozen=True, slots=True)
class _Exchange:
    """Control on its way between the ranks."""

    finish: Finish
    news: list[Any]
    """What rank 0 sends if it said that there is something."""
    position: int
    """Where this rank stood when it began."""


@dataclass(frozen=True, slots=True)
class Met:
    """What an exchange between ranks brought.

    Attributes:
        means: Of the values that it was begun with, over ranks.
        news: Whether something came from the service.
    """

    means: list[float] = field(default_factory=list)
    news: bool = False


class Orders:
    """The inbox of a job.

    Args:
        transport: Used on the rank that speaks only.
        ranks: Who acts together.
        sync_every: Steps between two exchanges of several ranks.

    Attributes:
        alone: Whether there is one rank only.
        bell: Rung when one rank should look for news.
        inbox: Segments that arrived and were not judged yet, in order.
        registration: The service's answer, once it is here.
        silenced: Whether a newer session of the job has taken over.
    """

    def __init__(self, transport: Transport, ranks: Ranks, sync_every: int) -> None:
        self.transport = transport
        self.ranks = ranks
        self.alone = ranks.world_size == 1
        # Several ranks look at steps that are known beforehand, whatever arrives.
        self.bell = transport.bell if self.alone else _silent()
        self.sync_every = sync_every
        self.inbox: deque[Order] = deque()
        self.registration: Registration | None = None
        self.silenced = False
        self._awaiting_rewind: Registration | None = None
        self._late_orders: deque[Order] = deque()
        self._late_standing: tuple[Segment, ...] = ()
        self._shared_standing: tuple[Segment, ...] = ()
        self._shared_through = 0
        self._steps = 0
        self._under_way: _Exchange | None = None

    def register(self, spec: JobSpec, wait_seconds: float) -> None:
        """Register the job; afterwards ``registration`` says what came of it.

        Raises:
            RegistrationRefused: The service will not steer this job as it was described (on every rank).
        """
        answer: dict[str, Any] = {}
        if self.ranks.speaks:
            try:
                registration = self.transport.register(spec, wait_seconds)
                answer["registration"] = registration and registration.model_dump_json(
                    by_alias=True
                )
            except RegistrationRefused as error:
                answer["refused"] = [error.detail, error.code, error.status, error.hint]
        answer = self.ranks.share(answer)
        if "refused" in answer:
            message, code, status, hint = answer["refused"]
            raise RegistrationRefused(message, code=code, status=status, hint=hint)
        document = answer["registration"]
        self.registration = document and Registration.model_validate_json(document)

    def standing(self, wait_seconds: float) -> tuple[Segment, ...] | None:
        """Return the segments of earlier sessions that still stand; None for a job's first session.

        The reply to ``SessionBegan`` says which. If it does not come in time, none is taken up: the next reply may
        still supersede them, and the job's own state knows what it ran.
        """
        registration = self.registration
        if registration is None or registration.session_number <= 1:
            return None
        kept = None
        if self.ranks.speaks:
            deadline = time.monotonic() + wait_seconds
            while (kept := self.transport.kept_through) is None and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
        kept = self.ranks.share(kept)
        if kept is None:
            self._awaiting_rewind = registration
            return ()
        return _standing(registration, kept)

    @property
    def void(self) -> frozenset[int]:
        """``seq`` of what no earlier session ran, though it was sent."""
        return frozenset() if self.registration is None else frozenset(self.registration.void)

    def count(self, steps: int) -> None:
        """Count steps that were made since the last look."""
        self._steps += steps

    @property
    def steps_to_exchange(self) -> int:
        """Steps until the ranks look for news together; one rank is told by the bell."""
        return 2**62 if self.alone else self.sync_every - self._steps % self.sync_every

    def due(self, *, over: bool) -> bool:
        """Whether the ranks look for news at this step; ``over`` says that a segment ends here."""
        return self.alone or over or self._steps % self.sync_every == 0

    @property
    def has_news(self) -> bool:
        """Whether there is anything to turn to, as far as this rank has looked."""
        return bool(self.inbox or self._late_standing or self._shared_standing)

    def look(self) -> None:
        """Take what arrived for a rank that is alone; several exchange it."""
        self.bell.rung = False  # before the look: what comes meanwhile rings again
        self.silenced = self.transport.silenced
        self.inbox.extend(self._arrivals())

    def begin_exchange(self, position: int, values: list[float]) -> None:
        """Send on their way what rank 0 received, to every rank, and ``values``, for their means over ranks."""
        news: list[Any] = [[], []]
        silenced = False
        if self.ranks.speaks:
            standing, self._late_standing = self._late_standing, ()
            news = [[_pack(each) for each in self._arrivals()], [_pack(each) for each in standing]]
            silenced = self.transport.silenced
        numbers = [any(news), silenced, position, self.registered_through]
        finish = self.ranks.begin_exchange([int(n) for n in numbers], values)
        self._under_way = _Exchange(finish, news, position)

    def finish_exchange(self) -> Met:
        """Take what was sent at the last exchange, if any, and check that all stood where rank 0 stood.

        Raises:
            ConfigurationError: This rank stood elsewhere than rank 0.
        """
        exchange, self._under_way = self._under_way, None
        if exchange is None:
            return Met()
        (has_news, silenced, expected, self._shared_through), means = exchange.finish()
        if exchange.position != expected:
            raise ConfigurationError(
                f"this rank stood at {exchange.position} and rank 0 at {expected}; give run.step the same tokens on "
                "every rank: the count over all of them"
            )
        self.silenced = bool(silenced)
        if has_news:
            received, shared = self.ranks.share(exchange.news)
            self.inbox.extend(_unpack(each) for each in received)
            orders = [_unpack(each) for each in shared]
            self._shared_standing += tuple(each for each in orders if isinstance(each, Segment))
        return Met(means, bool(has_news))

    def wait(self, deadline: float, position: int) -> bool:
        """Wait until something arrives or ``deadline`` (monotonic) is over; return, on all ranks alike, if it is."""
        over = False
        if self.ranks.speaks and not self.inbox:
            if not self._hears_nobody():
                self.transport.wait(max(0.0, deadline - time.monotonic()))
            over = self._hears_nobody() or time.monotonic() >= deadline
        if self.ranks.world_size == 1:
            self.inbox.extend(self._arrivals())
            return over
        self.finish_exchange()  # the segment that its losses are of is over
        self.begin_exchange(position, [])
        self.finish_exchange()
        return bool(self.ranks.share(over))

    @property
    def registered_through(self) -> int:
        """Highest ``seq`` that the registration carried, as rank 0 knows it."""
        segments = () if self.registration is None else self.registration.segments
        return max((each.seq for each in segments), default=self._shared_through)

    def refresh(self) -> None:
        """Look for what comes outside the stream of segments; called now and then, on the rank that speaks."""
        if not self.ranks.speaks:
            return
        if self.registration is None:
            self.registration = self.transport.late_registration()
            if self.registration is not None:
                self._take_late(self.registration)
                self.bell.rung = self.alone
        awaited, kept = self._awaiting_rewind, self.transport.kept_through
        if awaited is not None and kept is not None:
            self._awaiting_rewind = None
            self._late_standing = _standing(awaited, kept, late=True)
            self.bell.rung = self.alone

    def take_standing(self) -> tuple[Segment, ...]:
        """Return, once, the segments of earlier sessions, where the answer on which of them stand came late."""
        if self.ranks.world_size == 1:
            standing, self._late_standing = self._late_standing, ()
        else:  # on the speaking rank, what came late leaves with the next exchange
            standing, self._shared_standing = self._shared_standing, ()
        return standing

    def _take_late(self, registration: Registration) -> None:
        if registration.session_number > 1:
            self._awaiting_rewind = registration
        else:
            self._late_orders.extend(registration.segments)

    def _hears_nobody(self) -> bool:
        return self.silenced or self.transport.silenced or not self.transport.steering

    def _arrivals(self) -> Iterator[Order]:
        while self._late_orders:
            yield self._late_orders.popleft()
        while (order := self.transport.receive()) is not None:
            yield order


def _silent() -> Bell:
    bell = Bell()
    bell.rung = False
    return bell


def _standing(
    registration: Registration, kept_through: int, *, late: bool = False
) -> tuple[Segment, ...]:
    """Return what earlier sessions may have run, and the newest segment of all, for which the strategy may wait.

    ``late``: other ranks see the segments alone, and could not tell that a main segment among them is void.
    """
    kept = [each for each in registration.segments if each.seq <= kept_through]
    void = set(registration.void)
    newest = kept[-1].seq if kept and not (late and kept[-1].kind == "main") else 0
    return tuple(each for each in kept if each.seq not in void or each.seq == newest)


def _pack(order: Order) -> list[Any]:
    if isinstance(order, Segment):
        return [order.model_dump_json(by_alias=True)]
    return [order.seq, order.after, order.detail]


def _unpack(packed: list[Any]) -> Order:
    if len(packed) == 1:
        return Segment.model_validate_json(packed[0])
    return UnreadableSegment(*packed)
