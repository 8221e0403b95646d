"""What every executor does: run trials in slots, and tell what happens in them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from pacesetter.protocol import Trial, TrialPoint

from pacesetter_workers.outcome import Ending

Handle: TypeAlias = int
"""Of one submission: the same trial submitted twice has two."""


@dataclass(frozen=True, slots=True)
class Started:
    """The trial's code begins to run."""

    handle: Handle


@dataclass(frozen=True, slots=True)
class Reported:
    """It measured something."""

    handle: Handle
    points: tuple[TrialPoint, ...]


@dataclass(frozen=True, slots=True)
class Alive:
    """It gets on, and has nothing to report."""

    handle: Handle


@dataclass(frozen=True, slots=True)
class Ended:
    """It is over, and its slot is free. Everything it reported came before."""

    handle: Handle
    ending: Ending


Event: TypeAlias = Started | Reported | Alive | Ended


class Executor(ABC):
    """Runs trials, each in a slot of its own. All methods are for one thread.

    Every submission gets exactly one :class:`Ended`, unless the executor is closed first. The same trial gives the same
    losses, bit for bit, whichever executor runs it.
    """

    proxies: ClassVar[tuple[str, ...]] = ()
    """What it can run beside the built-in proxies and the operator's own."""

    def __init__(self, slots: int) -> None:
        self.slots = slots

    @property
    @abstractmethod
    def free(self) -> int:
        """Slots that nothing runs in."""

    @abstractmethod
    def submit(self, trial: Trial) -> Handle:
        """Begin to run a trial; there must be a free slot."""

    @abstractmethod
    def poll(self, seconds: float) -> Sequence[Event]:
        """Return what happened since the last call, in order; wait up to ``seconds`` where nothing has."""

    @abstractmethod
    def cancel(self, handle: Handle) -> None:
        """Ask a trial to stop: it ends at its next report. One that has ended is left alone."""

    @abstractmethod
    def kill(self, handle: Handle) -> None:
        """End a trial that does not answer. It ends as :class:`Stopped`; one that has ended is left alone."""

    @abstractmethod
    def close(self) -> None:
        """Stop everything at once and give back what was taken."""
