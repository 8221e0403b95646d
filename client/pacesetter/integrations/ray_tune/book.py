"""Which trial of Tune runs which trial of the service, and the lease of each."""

import atexit
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pacesetter.integrations.ray_tune.asking import Asking, Wanted
from pacesetter.integrations.ray_tune.results import Numbers
from pacesetter.leasing.calls import Last, TrialCalls
from pacesetter.leasing.delivery import Delivery
from pacesetter.leasing.heart import Heart
from pacesetter.leasing.holding import Held, Holdings
from pacesetter.protocol import Lease, Trial, TrialFailure, TrialResult, TrialReturn

CLOSE_SECONDS = 10.0
"""What the end of the process waits for the service to take the last results."""
_ENDING_SECONDS = 1.0
"""What the other threads are granted then."""


@dataclass(eq=False)
class Entry:
    """A trial that Tune runs."""

    held: Held
    last: Numbers | None = None
    """What it reported last."""


class TrialBook:
    """Holds the leases of the trials that Tune runs. Its methods are for one thread, and wait for nothing.

    Args:
        connect: Opens a connection to the service.
        worker: What the service calls this search.
        wanted: The experiment to register, or the id of one that there is.
        entries: Trials that a search before this one was running, by Tune's ids.
    """

    def __init__(
        self,
        connect: Callable[[], TrialCalls],
        worker: str,
        wanted: Wanted,
        entries: dict[str, Entry],
    ) -> None:
        self._holdings = Holdings()
        for entry in entries.values():
            self._holdings.add(entry.held)
        self._entries = entries
        self._delivery = Delivery(connect, self._holdings)
        self._heart = Heart(connect, self._holdings)
        self._asking = Asking(connect, self._holdings, worker, wanted, self._heart.wake)
        for thread in (self._heart, self._delivery, self._asking):
            thread.start()
        atexit.register(self.close)

    @property
    def experiment(self) -> str | None:
        """Id of the experiment; None while it is not registered."""
        return self._asking.experiment

    @property
    def is_over(self) -> bool:
        """Whether the experiment has no more trials for anybody."""
        return self._asking.is_over

    def take(self, trial_id: str) -> Trial | None:
        """Return the trial of the service that Tune's is to run; None where there is none yet, and one is asked for.

        Raises:
            PacesetterError: There will be none before a person has put something right.
        """
        for thread in (self._heart, self._delivery, self._asking):
            thread.check()
        if self._asking.problem is not None:
            raise self._asking.problem
        while self._asking.claimed:
            held = self._asking.claimed.popleft()
            if held.lost:
                self._holdings.remove(held)
                continue
            self._entries[trial_id] = Entry(held)
            return held.trial
        self._asking.ask()
        return None

    def running(self, trial_id: str) -> Trial | None:
        """Return the trial of the service that Tune's runs."""
        entry = self._entries.get(trial_id)
        return None if entry is None else entry.held.trial

    def note(self, trial_id: str, numbers: Numbers) -> None:
        """Keep what a trial reported, for its next heartbeat."""
        entry = self._entries.get(trial_id)
        if entry is None:
            return
        entry.last = numbers
        point = numbers.point()
        # What Tune repeats after a failure was told before.
        if point is not None and point.step > entry.held.step:
            self._holdings.note(entry.held, (point,))

    def end(self, trial_id: str, problem: str | None) -> None:
        """Say how a trial ended: by what it reported last, or by a problem."""
        entry = self._entries.pop(trial_id, None)
        if entry is None:
            return
        self._holdings.end(entry.held)
        self._delivery.put(entry.held, _last(entry, problem))

    def document(self) -> dict[str, Any]:
        """Return what another process needs to go on with the same trials, as JSON has it."""
        return {
            "experiment": self.experiment,
            "trials": {name: _kept(entry) for name, entry in self._entries.items()},
        }

    def close(self) -> None:
        """Send the last results and give back what Tune did not begin; trials that run can be restored."""
        atexit.unregister(self.close)
        self._asking.stop(_ENDING_SECONDS)
        while self._asking.claimed:
            held = self._asking.claimed.popleft()
            self._holdings.end(held)
            self._delivery.put(held, TrialReturn(token=held.lease.token))
        self._delivery.stop(CLOSE_SECONDS)
        self._heart.stop(_ENDING_SECONDS)


def read_entries(document: dict[str, Any]) -> dict[str, Entry]:
    """Return the trials that were running when ``document`` was made."""
    return {name: _read(kept) for name, kept in document["trials"].items()}


def _last(entry: Entry, problem: str | None) -> Last:
    token, numbers = entry.held.lease.token, entry.last
    if problem is None and (numbers is None or numbers.loss is None):
        problem = "The trial ended in Ray Tune without having reported its objective."
    if problem is not None or numbers is None:
        cost = {} if numbers is None else {"cost": numbers.cost}
        return TrialFailure(token=token, error=problem or "", **cost)
    return TrialResult(token=token, loss=numbers.loss, metrics=numbers.metrics, cost=numbers.cost)


def _kept(entry: Entry) -> dict[str, Any]:
    return {
        "lease": json.loads(entry.held.lease.model_dump_json()),
        "step": entry.held.step,
        "last": None if entry.last is None else json.loads(entry.last.model_dump_json()),
    }


def _read(kept: dict[str, Any]) -> Entry:
    held = Held(Lease.model_validate(kept["lease"]), step=kept["step"])
    last = kept["last"]
    return Entry(held, None if last is None else Numbers.model_validate(last))
