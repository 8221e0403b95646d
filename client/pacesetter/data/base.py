"""What the run loop needs of a source of batches."""

from abc import ABC, abstractmethod
from typing import Any, Literal

RewindCapability = int | Literal["unlimited"]


class BatchSource(ABC):
    """Hands out batches for ever, across epochs, and returns to where a probe left the main line if it can.

    A probe is bracketed by ``mark()`` and ``rewind(mark)``; several probes may rewind to the same mark. A mark is also
    a position that ``load_state_dict`` takes: inside a probe, the main line's own mark goes into the user's checkpoint.
    """

    @property
    @abstractmethod
    def rewind_batches(self) -> RewindCapability:
        """How far back it can go: ``"unlimited"``, a number of batches, or 0."""

    @property
    def epoch_batches(self) -> int | None:
        """Batches in one pass over the data; None where the loader does not know, or never repeats."""
        return None

    @abstractmethod
    def next(self, *, probe: bool = False) -> Any:
        """Return the next batch, starting a new epoch where one ends.

        Args:
            probe: True outside the main line (probes and branches). What such a call takes from the loader stays
                reserved for the main line; the main line itself is never handed a batch twice because a buffer is full.

        Raises:
            ConfigurationError: An epoch without a single batch.
        """

    @abstractmethod
    def mark(self) -> dict[str, Any]:
        """Return the current position as a document that ``rewind`` takes; starts buffering where needed."""

    @abstractmethod
    def rewind(self, mark: dict[str, Any]) -> None:
        """Return to ``mark``: the next batch is the one that followed it."""

    @abstractmethod
    def release(self, mark: dict[str, Any]) -> None:
        """Say that nobody will rewind to ``mark`` any more."""

    @abstractmethod
    def hold(self, active: bool) -> None:
        """While active, hand out one frozen batch, the next one, again and again."""

    @property
    @abstractmethod
    def unpaired(self) -> bool:
        """Whether, since the last mark or rewind, the batches were not those that followed it on the main line.

        A probe longer than the buffer is handed the buffer's batches again, so that nothing is taken from the main line
        (without a buffer it is fed from the loader); and a mark older than the buffer cannot be reached exactly.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the position in the data for the user's own checkpoint (JSON values where the loader allows it)."""

    def place(self) -> dict[str, Any]:
        """Return a position that ``load_state_dict`` takes, cheap enough for every step.

        What makes ``state_dict`` slow may be missing: going there then reads the epoch up to it.
        """
        return self.state_dict()

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position from ``state_dict``.

        Raises:
            StateMismatch: The position does not fit this source.
        """
