"""What arrives from the service, handed to all ranks at the same step.

One process looks at its inbox after every step. Several ranks exchange every ``sync_every`` steps and wherever a
segment ends, which all know beforehand; between two exchanges nothing arrives.
"""

import logging
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from pacesetter.errors import ConfigurationError, RegistrationRefused
from pacesetter.protocol import JobSpec, Registration, Segment
from pacesetter.run.ranks import Ranks
from pacesetter.transport.base import Transport, UnreadableSegment

logger = logging.getLogger("pacesetter")

Order = Segment | UnreadableSegment

POLL_SECONDS = 0.02
"""Between two looks for the reply to ``SessionBegan``, which nothing announces."""


class Orders:
    """The inbox of a job.

    Args:
        transport: Used on the rank that speaks only.
        ranks: Who acts together.
        sync_every: Steps between two exchanges of several ranks.

    Attributes:
        alone: Whether there is one rank only.
        inbox: Segments that arrived and were not judged yet, in order.
        registration: The service's answer, once it is here.
        silenced: Whether a newer session of the job has taken over.
    """

    def __init__(self, transport: Transport, ranks: Ranks, sync_every: int) -> None:
        self.transport = transport
        self.ranks = ranks
        self.alone = ranks.world_size == 1
        self.sync_every = sync_every
        self.inbox: deque[Order] = deque()
        self.registration: Registration | None = None
        self.silenced = False
        self._awaiting_rewind: Registration | None = None
        self._late_orders: deque[Order] = deque()
        self._late_standing: tuple[Segment, ...] = ()
        self._shared_standing: tuple[Segment, ...] = ()
        self._shared_through = 0
        self._calls = 0

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

    def due(self, *, over: bool) -> bool:
        """Whether the ranks look for news at this step; ``over`` says that a segment ends here."""
        if self.alone:
            return True
        self._calls += 1
        return over or self._calls % self.sync_every == 0

    def arrived(self, position: int) -> bool:
        """Look for news; return whether there is any. Called where :meth:`due` says so, on every rank.

        Raises:
            ConfigurationError: This rank stands elsewhere than rank 0.
        """
        if not self.alone:
            self._exchange(position)
        else:
            self.silenced = self.transport.silenced
            # The usual case is an empty inbox: one look.
            order = self.transport.receive()
            if order is not None:
                self.inbox.append(order)
            if order is not None or self._late_orders:
                self.inbox.extend(self._arrivals())
        return bool(self.inbox or self._late_standing or self._shared_standing)

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
        self._exchange(position)
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
        awaited, kept = self._awaiting_rewind, self.transport.kept_through
        if awaited is not None and kept is not None:
            self._awaiting_rewind = None
            self._late_standing = _standing(awaited, kept)

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

    def _exchange(self, position: int) -> None:
        """Give every rank what rank 0 received, and check that all stand where it stands."""
        mine: list[Any] = []
        if self.ranks.speaks:
            standing, self._late_standing = self._late_standing, ()
            silenced = self.transport.silenced
            mine = [
                [_pack(each) for each in self._arrivals()],
                [_pack(s) for s in standing],
                silenced,
                position,
                self.registered_through,
            ]
        received, shared, self.silenced, expected, through = self.ranks.share(mine)
        self._shared_through = through
        if position != expected:
            raise ConfigurationError(
                f"this rank stands at {position} and rank 0 at {expected}; give run.step the same tokens on every "
                "rank: the count over all of them"
            )
        self.inbox.extend(_unpack(each) for each in received)
        orders = [_unpack(each) for each in shared]
        self._shared_standing += tuple(each for each in orders if isinstance(each, Segment))


def _standing(registration: Registration, kept_through: int) -> tuple[Segment, ...]:
    return tuple(each for each in registration.segments if each.seq <= kept_through)


def _pack(order: Order) -> list[Any]:
    if isinstance(order, Segment):
        return [order.model_dump_json(by_alias=True)]
    return [order.seq, order.after, order.detail]


def _unpack(packed: list[Any]) -> Order:
    if len(packed) == 1:
        return Segment.model_validate_json(packed[0])
    return UnreadableSegment(*packed)
