"""The worker: takes trials from the controller, runs them, and says how they ended.

One thread runs trials. Three others talk to the controller, so that one that hangs holds up no trial: claims,
heartbeats and deliveries. Whatever happens here, the controller gives a trial whose lease runs out to somebody else.
"""

import logging
import math
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from pacesetter.leasing.calls import Last, TrialCalls
from pacesetter.leasing.delivery import Delivery
from pacesetter.leasing.heart import Heart
from pacesetter.leasing.holding import Held, Holdings
from pacesetter.protocol import TrialFailure, TrialResult, TrialReturn

from pacesetter_workers import checkpoints
from pacesetter_workers.claiming import Claiming, ahead
from pacesetter_workers.executors import Alive, Ended, Event, Executor, Handle, Reported
from pacesetter_workers.outcome import Done, Ending, Failed
from pacesetter_workers.proxies import BUILT_IN
from pacesetter_workers.site import Site

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_POLL_WITH_ROOM_SECONDS = 0.02
"""While a slot is free: a trial that was claimed does not wait for it."""
BEGIN_SECONDS = 60.0
"""What a trial is granted for imports beside its progress deadline, until its first report."""
CANCEL_SECONDS = 10.0
"""What a trial that was asked to stop is granted until its next report; then its process is killed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """What a worker grants when it stops, in seconds."""

    running: float = 5.0
    """Trials, to reach their next report."""
    delivery: float = 10.0
    """The controller, to take what has ended and what is given back."""


@dataclass(eq=False)
class _Running:
    """A trial in a slot."""

    held: Held
    began: float
    rose: float
    """When its step last rose, monotonic seconds."""
    asked: float | None = None
    """When it was asked to stop."""
    verdict: Failed | None = None
    """Why this worker ended it."""


class Worker:
    """Runs trials until it is stopped, or until nothing has come for a while.

    Args:
        name: What the controller calls it.
        site: The operator's part.
        executor: Where trials run; closed at the end.
        connect: Opens a connection to the controller.
        idle_seconds: How long to wait for a trial before ending; None: for ever.
        patience: What is granted at the end.
    """

    def __init__(
        self,
        name: str,
        site: Site,
        executor: Executor,
        connect: Callable[[], TrialCalls],
        *,
        idle_seconds: float | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.name = name
        self.stopping = threading.Event()
        self._site, self._executor = site, executor
        self._idle_seconds = math.inf if idle_seconds is None else idle_seconds
        self._patience = patience or Patience()
        self._holdings = Holdings()
        proxies = (*BUILT_IN, *executor.proxies, *site.allow)
        self._heart = Heart(connect, self._holdings)
        self._delivery = Delivery(connect, self._holdings)
        self._claiming = Claiming(
            *(connect, self._holdings, name, proxies, executor.slots),
            is_held_up=lambda: self._delivery.away,
            tell=self._heart.wake,
        )
        self._waiting: list[Held] = []
        self._running: dict[Handle, _Running] = {}

    def run(self) -> int:
        """Work until ``stopping`` is set or the worker has been idle for long; return how many ends were delivered."""
        for thread in (self._heart, self._delivery, self._claiming):
            thread.start()
        busy = monotonic()
        try:
            while not self.stopping.is_set() and monotonic() - busy < self._idle_seconds:
                self._turn()
                if len(self._holdings):
                    busy = monotonic()
        finally:
            self._wind_down()
        return self._delivery.delivered

    def _turn(self) -> None:
        for thread in (self._heart, self._delivery, self._claiming):
            thread.check()
        self._take_claimed()
        self._begin()
        patience = _POLL_WITH_ROOM_SECONDS if self._executor.free else _POLL_SECONDS
        for event in self._executor.poll(patience):
            self._take(event)
        self._look_after()

    def _take_claimed(self) -> None:
        while True:
            try:
                self._waiting.append(self._claiming.claimed.get_nowait())
            except queue.Empty:
                return

    def _begin(self) -> None:
        while self._waiting and self._executor.free:
            held = self._waiting.pop(0)
            if held.unwanted:
                self._give_back(held)
                continue
            now = monotonic()
            handle = self._executor.submit(held.trial)
            self._running[handle] = _Running(held, now, math.inf)

    def _take(self, event: Event) -> None:
        run = self._running[event.handle]
        now = monotonic()
        if isinstance(event, Ended):
            del self._running[event.handle]
            self._end(run, event.ending)
            self._claiming.reach(ahead(self._executor.slots, now - run.began))
        elif isinstance(event, Reported):
            before = run.held.step
            self._holdings.note(run.held, event.points)
            if run.held.step > before:
                run.rose = now
        elif isinstance(event, Alive):
            run.rose = max(run.rose, now)
        else:
            run.began, run.rose = now, now + BEGIN_SECONDS

    def _look_after(self) -> None:
        """Stop what nobody waits for, and what does not get on."""
        now = monotonic()
        for handle, run in self._running.items():
            limit = run.held.trial.progress_seconds
            if run.asked is not None:
                if now - run.asked > CANCEL_SECONDS:
                    self._executor.kill(handle)
                    run.asked = math.inf
            elif run.held.unwanted:
                self._executor.cancel(handle)
                run.asked = now
            elif now - run.rose > limit:
                run.verdict = Failed(
                    f"The trial's step stayed at {run.held.step} for {limit:g} s, and its worker gave it up. Expected "
                    "a report with a higher step within `progress_seconds` of the experiment: report more often, or "
                    "give it more seconds.",
                    retry=True,
                )
                self._executor.kill(handle)
                run.asked = math.inf

    def _end(self, run: _Running, ending: Ending) -> None:
        held = run.held
        if isinstance(ending, Done):
            self._deliver(held, _result(held, ending))
            checkpoints.forget(self._site.folder_of(held.trial))
            return
        failed = ending if isinstance(ending, Failed) else run.verdict
        if failed is None:
            if held.unwanted and not held.lost:
                checkpoints.forget(self._site.folder_of(held.trial))
            self._give_back(held)
            return
        logger.warning("trial %s failed: %s", held.trial.id, failed.error.splitlines()[-1])
        self._deliver(held, _failure(held, failed))
        if not failed.retry:
            checkpoints.forget(self._site.folder_of(held.trial))

    def _deliver(self, held: Held, last: Last) -> None:
        self._holdings.end(held)
        self._delivery.put(held, last)

    def _give_back(self, held: Held) -> None:
        self._deliver(held, TrialReturn(token=held.lease.token))

    def _wind_down(self) -> None:
        """Stop taking trials, let the running ones reach a report, and give back what did not end."""
        self._claiming.stop(self._patience.delivery)
        self._take_claimed()
        for held in self._waiting:
            self._give_back(held)
        self._waiting = []
        self._stop_running()
        self._executor.close()
        for run in self._running.values():
            self._give_back(run.held)
        self._running = {}
        self._heart.stop(1.0)
        if not self._delivery.stop(self._patience.delivery):
            logger.warning(
                "%d ends of trials could not be delivered: their leases run out, and the trials run again",
                len(self._delivery),
            )

    def _stop_running(self) -> None:
        for handle in self._running:
            self._executor.cancel(handle)
        until = monotonic() + self._patience.running
        while self._running and (left := until - monotonic()) > 0.0:
            for event in self._executor.poll(min(left, _POLL_SECONDS)):
                self._take(event)


def _result(held: Held, done: Done) -> Last:
    token, outcome = held.lease.token, done.outcome
    try:
        return TrialResult(
            token=token,
            loss=outcome.loss,
            metrics=dict(outcome.metrics),
            cost=done.cost,
            job=outcome.job,
            schedule=outcome.schedule,
        )
    except ValueError as error:
        # A name that is too long, say: the code of the trial is to be told, and only it can be.
        return TrialFailure(
            token=token, error=f"The proxy's outcome cannot be sent: {error}", cost=done.cost
        )


def _failure(held: Held, failed: Failed) -> Last:
    return TrialFailure(
        token=held.lease.token,
        error=failed.error or "(no message)",
        retry=failed.retry,
        cost=failed.cost,
    )
