"""Walks through a loader, epoch after epoch."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import BatchSampler

from pacesetter.data.position import DataPosition, generator_state, set_generator_state
from pacesetter.data.random_state import PrivateRandom
from pacesetter.errors import ConfigurationError, StateMismatch

logger = logging.getLogger(__name__)

_END = object()


class EpochWalk:
    """Hands out the batches of an iterable for ever, and can go to any position in it.

    Every fetch runs on the data pipeline's own random state. ``set_epoch`` is called wherever there is one: on the
    loader, its samplers and its dataset.
    """

    def __init__(self, loader: Iterable[Any], random_state: PrivateRandom) -> None:
        self._loader = loader
        self.random_state = random_state
        self.epoch = 0
        self.batch = 0
        self._generators = _generators_of(loader)
        self._epoch_generators = self._generator_states()
        self._iterator: Iterator[Any] | None = None

    @property
    def epoch_batches(self) -> int | None:
        """Batches in an epoch, where the loader knows it."""
        return length_of(self._loader)

    def fetch(self) -> Any:
        """Return the next batch from the loader.

        Raises:
            ConfigurationError: An epoch without a single batch.
        """
        batch = self._next_of_epoch()
        while batch is _END:
            if self.batch == 0:
                raise ConfigurationError(_nothing_in(self._loader, self.epoch))
            self._stand_at(self.epoch + 1, 0)
            batch = self._next_of_epoch()
        self.batch += 1
        return batch

    def position(self, loader_state: Any = None) -> DataPosition:
        """Return where the walk stands."""
        return DataPosition(
            seed=self.random_state.seed,
            epoch=self.epoch,
            batch=self.batch,
            epoch_batches=self.epoch_batches,
            generators=self._epoch_generators,
            loader=loader_state,
            generators_here=self._generator_states() if loader_state is not None else (),
        )

    def go_to(self, position: DataPosition, *, loader_is_there: bool = False) -> None:
        """Continue from ``position``.

        A loader that was not put there by its own ``load_state_dict`` is read from the start of the epoch: that costs
        as much as loading those batches did.

        Raises:
            StateMismatch: The epoch has fewer batches than that, or the loader other generators.
        """
        self._set_generators(position.generators)
        self.random_state.seed = position.seed
        self._stand_at(position.epoch, 0)
        if loader_is_there:
            self._resume(position)
        else:
            self._skip(position)

    def _resume(self, position: DataPosition) -> None:
        self._stand_at(position.epoch, position.batch)
        if _orders_late(self._loader):
            return
        with self.random_state.at(self.epoch, 0):
            self._begin_epoch()
        # The loader's constructor and its sampler draw in another order on resuming than on starting.
        self._set_generators(position.generators_here)
        self._epoch_generators = position.generators

    def _skip(self, position: DataPosition) -> None:
        wanted = position.scaled_to(self.epoch_batches)
        if wanted != position.batch:
            logger.warning(
                "an epoch has %s batches now and had %s: going on from batch %d of it, the same share",
                self.epoch_batches,
                position.epoch_batches,
                wanted,
            )
        while self.batch < wanted:
            if self._next_of_epoch() is _END:
                raise StateMismatch(
                    f"the position is batch {wanted} of epoch {position.epoch}, but the epoch ended after {self.batch} "
                    "batches; pass the loader (dataset, batch size) that the position was taken from"
                )
            self.batch += 1

    def _next_of_epoch(self) -> Any:
        if self._iterator is not None:
            with self.random_state.at(self.epoch, self.batch):
                return next(self._iterator, _END)
        # One scope for both: a sampler draws its seed in iter() or with the first batch, and the order of an epoch must
        # come from the same number either way.
        with self.random_state.at(self.epoch, 0):
            return next(self._begin_epoch(), _END)

    def _begin_epoch(self) -> Iterator[Any]:
        for target in _epoch_aware(self._loader):
            target.set_epoch(self.epoch)
        self._epoch_generators = self._generator_states()
        self._iterator = iter(self._loader)
        return self._iterator

    def _stand_at(self, epoch: int, batch: int) -> None:
        # Dropping the old iterator first lets its workers end before new ones start.
        self._iterator = None
        self.epoch, self.batch = epoch, batch

    def _generator_states(self) -> tuple[bytes, ...]:
        return tuple(generator_state(generator) for generator in self._generators)

    def _set_generators(self, states: tuple[bytes, ...]) -> None:
        if len(states) != len(self._generators):
            raise StateMismatch(
                f"the position was taken from a loader with {len(states)} generators, this one has "
                f"{len(self._generators)}; pass a loader built the same way"
            )
        for generator, state in zip(self._generators, states, strict=True):
            set_generator_state(generator, state)
        self._epoch_generators = states


def length_of(loader: object) -> int | None:
    """Return ``len(loader)``, or None where it has none."""
    try:
        return len(loader)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None


def _parts(loader: Any) -> list[Any]:
    """Return the loader and what it is made of, each once."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    found = [
        loader,
        getattr(loader, "sampler", None),
        batch_sampler,
        getattr(batch_sampler, "sampler", None),
        getattr(loader, "dataset", None),
    ]
    return list({id(part): part for part in found if part is not None}.values())


def _epoch_aware(loader: Any) -> list[Any]:
    return [part for part in _parts(loader) if callable(getattr(part, "set_epoch", None))]


def _generators_of(loader: Any) -> list[torch.Generator]:
    found = [getattr(part, "generator", None) for part in _parts(loader)]
    unique = {id(item): item for item in found if isinstance(item, torch.Generator)}
    return list(unique.values())


def _orders_late(loader: Any) -> bool:
    """Whether a resumed stateful loader asks its sampler for the order only with the first batch.

    That is so for a batch sampler of torch's own class: torchdata's subclass of it is asked in ``iter()``.
    """
    return type(getattr(loader, "batch_sampler", None)) is BatchSampler


def _nothing_in(loader: object, epoch: int) -> str:
    if isinstance(loader, Iterator):
        return (
            f"the iterator passed as loader has nothing for epoch {epoch}: an iterator can be walked through once. "
            "Pass the loader itself (an object whose iter() starts again), or an endless iterator"
        )
    return (
        f"epoch {epoch} of the loader has not a single batch; expected at least one. Check that the dataset is not "
        "empty and that drop_last does not drop its only batch"
    )
