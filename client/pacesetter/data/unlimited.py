"""Sources that can return to any position: through the loader's own state, or by asking for a position."""

import copy
import logging
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from pacesetter.data.base import RewindCapability
from pacesetter.data.holding import HoldingSource
from pacesetter.data.position import DataPosition
from pacesetter.data.random_state import PrivateRandom
from pacesetter.data.walk import EpochWalk, length_of
from pacesetter.errors import ConfigurationError

logger = logging.getLogger(__name__)


@runtime_checkable
class StatefulLoader(Protocol):
    """A loader in the style of torchdata's ``StatefulDataLoader``."""

    def __iter__(self) -> Iterator[Any]:
        """Start an epoch, or go on from the loaded state."""

    def state_dict(self) -> dict[str, Any]:
        """Return the position within the epoch."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next ``iter()`` go on from there."""


@runtime_checkable
class PositionedLoader(Protocol):
    """An object that returns the batch at any position.

    With ``__len__`` it has epochs: positions run from 0 to its length, and ``set_epoch(epoch)`` is called between them
    if it is there. Without, positions run on for ever.
    """

    def batch_at(self, position: int) -> Any:
        """Return the batch at ``position``."""


class _UnlimitedSource(HoldingSource):
    """Rewinds by going to a position; a mark is nothing but a position."""

    @property
    def rewind_batches(self) -> RewindCapability:
        """Always ``"unlimited"``."""
        return "unlimited"

    @property
    def unpaired(self) -> bool:
        """Never."""
        return False

    def mark(self) -> dict[str, Any]:
        """Return the position."""
        return self.state_dict()

    def rewind(self, mark: dict[str, Any]) -> None:
        """Go to the mark's position."""
        self.load_state_dict(mark)

    def release(self, mark: dict[str, Any]) -> None:
        """Nothing is kept for a mark."""


class StatefulSource(_UnlimitedSource):
    """Rewinds through the loader's ``state_dict`` and ``load_state_dict``.

    With worker processes a rewind ends them and starts new ones. What workers draw at random (augmentation) follows
    the loader's own rules on resuming; which samples come, and in which order, is the same.
    """

    def __init__(self, loader: StatefulLoader, random_state: PrivateRandom) -> None:
        super().__init__()
        self._loader = loader
        self._walk = EpochWalk(loader, random_state)

    @property
    def epoch_batches(self) -> int | None:
        """The loader's length."""
        return self._walk.epoch_batches

    def _take(self, *, probe: bool) -> Any:  # noqa: ARG002
        return self._walk.fetch()

    def state_dict(self) -> dict[str, Any]:
        """Return the position; the loader's state is in it as the loader made it."""
        # At the start of an epoch a state would start the workers early, and nothing is in it yet.
        state = copy.deepcopy(self._loader.state_dict()) if self._walk.batch else None
        return self._walk.position(state).to_document()

    def place(self) -> dict[str, Any]:
        """Return the position without the loader's state, which takes a deep copy."""
        return self._walk.position().to_document()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position; read forward to it if the loader's state is missing or of other epochs than now."""
        self._thaw()
        position = DataPosition.from_document(state)
        same_epochs = position.scaled_to(self._walk.epoch_batches) == position.batch
        use_loader = position.loader is not None and same_epochs
        if use_loader:
            self._loader.load_state_dict(copy.deepcopy(position.loader))
        self._walk.go_to(position, loader_is_there=use_loader)


class PositionedSource(_UnlimitedSource):
    """Rewinds by asking ``batch_at`` for an earlier position."""

    def __init__(self, loader: PositionedLoader, random_state: PrivateRandom) -> None:
        super().__init__()
        self._loader = loader
        self._random_state = random_state
        self._epoch_batches = length_of(loader)
        if self._epoch_batches == 0:
            raise ConfigurationError(
                "the loader has batch_at() and length 0; expected at least one batch in an epoch"
            )
        self._epoch = 0
        self._batch = 0
        self._announce_epoch()

    @property
    def epoch_batches(self) -> int | None:
        """The loader's length, else its own ``epoch_batches``: positions may run on over data that repeat."""
        if self._epoch_batches is not None:
            return self._epoch_batches
        stated = getattr(self._loader, "epoch_batches", None)
        return stated if isinstance(stated, int) and stated > 0 else None

    def _take(self, *, probe: bool) -> Any:  # noqa: ARG002
        if self._batch == self._epoch_batches:
            self._epoch, self._batch = self._epoch + 1, 0
            self._announce_epoch()
        with self._random_state.at(self._epoch, self._batch):
            batch = self._loader.batch_at(self._batch)
        self._batch += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return the position."""
        return DataPosition(
            self._random_state.seed, self._epoch, self._batch, self._epoch_batches
        ).to_document()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position; where the epochs have another length now, to the same share of the epoch."""
        self._thaw()
        position = DataPosition.from_document(state)
        self._random_state.seed = position.seed
        self._epoch = position.epoch
        self._batch = position.scaled_to(self._epoch_batches)
        if self._batch != position.batch:
            logger.warning(
                "an epoch has %s batches now and had %s: going on from batch %d of it, the same share",
                self._epoch_batches,
                position.epoch_batches,
                self._batch,
            )
        self._announce_epoch()

    def _announce_epoch(self) -> None:
        set_epoch = getattr(self._loader, "set_epoch", None)
        if callable(set_epoch):
            set_epoch(self._epoch)
