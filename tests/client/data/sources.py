"""Loaders for the tests: every kind of source over the same small dataset."""

import random
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np
import torch
from pacesetter.data.base import BatchSource
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler
from torchdata.stateful_dataloader import StatefulDataLoader

SAMPLES = 40
BATCH_SIZE = 4
EPOCH_BATCHES = SAMPLES // BATCH_SIZE


class Numbers(Dataset[torch.Tensor]):
    """Sample i is (i, three random numbers): an augmentation that draws from every global generator."""

    def __init__(self, *, augment: bool = True) -> None:
        self.augment = augment

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        if not self.augment:
            return torch.tensor([float(index)])
        drawn = [random.random(), float(np.random.randn()), float(torch.rand(()))]
        return torch.tensor([float(index), *drawn])


class Windows:
    """A source in the nanoGPT style: random windows, by position."""

    def batch_at(self, position: int) -> torch.Tensor:
        return torch.cat([torch.tensor([position]), torch.randint(1000, (BATCH_SIZE,))])


class EpochWindows(Windows):
    """The same with epochs."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def __len__(self) -> int:
        return EPOCH_BATCHES

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


def stateful(data: Numbers, **options: Any) -> Any:
    with warnings.catch_warnings():
        # torchdata 0.11 calls torch.set_vital, which torch 2.13 deprecates.
        warnings.filterwarnings("ignore", message="'set_vital' is deprecated")
        size = 1 if "batch_sampler" in options else BATCH_SIZE
        return StatefulDataLoader(data, size, **options)


def make_loader(kind: str) -> Any:
    torch.manual_seed(11)
    if kind == "plain":
        return DataLoader(Numbers(), BATCH_SIZE, shuffle=True)
    if kind == "plain_generator":
        generator = torch.Generator().manual_seed(5)
        return DataLoader(Numbers(), BATCH_SIZE, shuffle=True, generator=generator)
    if kind == "plain_workers":
        return DataLoader(Numbers(augment=False), BATCH_SIZE, shuffle=True, num_workers=2)
    if kind == "stateful":
        return stateful(Numbers(), shuffle=True)
    if kind == "stateful_generator":
        generator = torch.Generator().manual_seed(5)
        return stateful(Numbers(), shuffle=True, generator=generator)
    if kind == "stateful_plain_sampler":
        data = Numbers(augment=False)
        return stateful(data, sampler=RandomSampler(data))
    if kind == "stateful_batch_sampler":
        data = Numbers(augment=False)
        batches = BatchSampler(RandomSampler(data), BATCH_SIZE, drop_last=False)
        return stateful(data, batch_sampler=batches)
    if kind == "stateful_workers":
        return stateful(Numbers(augment=False), shuffle=True, num_workers=2)
    return {"batch_at": Windows, "batch_at_epochs": EpochWindows}[kind]()


class Finite:
    """An iterable of known batches: (epoch it was started for, number)."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.starts = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        self.starts += 1
        return ((self.starts - 1, number) for number in range(self.length))


def take(source: BatchSource, count: int, *, probe: bool = False) -> list[list[float]]:
    """Return ``count`` batches as plain numbers; each draws from the training's generators, as dropout would."""
    taken = []
    for _ in range(count):
        batch = cast(torch.Tensor, source.next(probe=probe))
        taken.append(batch.flatten().tolist())
        torch.rand(3 if probe else 2), np.random.randn(), random.random()
    return taken


def numbers(batches: Iterable[tuple[int, int]]) -> list[int]:
    """Return the running number of each batch of a ``Finite`` over epochs of ten."""
    return [epoch * 10 + number for epoch, number in batches]
