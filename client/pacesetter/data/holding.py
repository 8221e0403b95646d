"""What all sources share: the frozen batch."""

from abc import abstractmethod
from typing import Any

from pacesetter.data.base import BatchSource

_NOTHING = object()


class HoldingSource(BatchSource):
    """A source that can freeze a batch; subclasses say how the next one is taken."""

    def __init__(self) -> None:
        self._holding = False
        self._frozen: Any = _NOTHING

    @abstractmethod
    def _take(self, *, probe: bool) -> Any:
        """Return the next batch and move past it."""

    def next(self, *, probe: bool = False) -> Any:
        """Return the next batch, or the frozen one."""
        if not self._holding:
            return self._take(probe=probe)
        if self._frozen is _NOTHING:
            self._frozen = self._take(probe=probe)
        return self._frozen

    def hold(self, active: bool) -> None:
        """Freeze the batch that comes next, or let go of it."""
        self._holding = active
        self._frozen = _NOTHING

    def _thaw(self) -> None:
        """Forget the frozen batch because the position moved: siblings freeze the same one again."""
        self._frozen = _NOTHING
