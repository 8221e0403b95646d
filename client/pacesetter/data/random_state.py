"""A random state of the data pipeline's own, apart from that of the training."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.random.mtrand import get_bit_generator, set_bit_generator


class PrivateRandom:
    """Lets a loader draw from numbers that depend on its position only.

    Shuffling and augmentation in the training process draw from the global generators of Python, NumPy and torch. So
    does dropout, and a probe moves those generators by other amounts than the main line would have. Here every fetch
    runs on generators seeded from (seed, epoch, batch): the batch at a position is the same whoever asks for it, and
    fetching leaves the training's generators where they were. About 20 microseconds a batch.
    """

    def __init__(self, seed: int, stream: int = 0) -> None:
        self.seed = seed
        self._stream = stream
        self._numpy_generator = np.random.MT19937(0)

    @contextmanager
    def at(self, epoch: int, batch: int) -> Iterator[None]:
        """Run the body on the generators of this position, and put the training's own back after it."""
        digest = hashlib.sha256(f"{self.seed}/{self._stream}/{epoch}/{batch}".encode()).digest()
        number = int.from_bytes(digest[:8], "little")
        python_state = random.getstate()
        torch_state = torch.default_generator.get_state()
        # Swapping NumPy's generator takes half a microsecond, copying its state 70.
        numpy_generator = get_bit_generator()
        set_bit_generator(self._numpy_generator)
        try:
            random.seed(number)
            np.random.seed(number & 0xFFFFFFFF)
            torch.default_generator.manual_seed(number)
            yield
        finally:
            set_bit_generator(numpy_generator)
            torch.default_generator.set_state(torch_state)
            random.setstate(python_state)


def open_private_random(process_group: Any | None = None) -> PrivateRandom:
    """Derive the data pipeline's seed from torch's random state as it is now, without drawing from it.

    With a process group, ranks that were seeded alike share a stream (their sampler gives each its part of one order),
    and ranks that were seeded apart keep streams apart, also after they all loaded rank 0's checkpoint.
    """
    state = torch.default_generator.get_state()
    seed = int.from_bytes(hashlib.sha256(state.numpy().tobytes()).digest()[:7], "little")
    if process_group is None:
        return PrivateRandom(seed)
    seeds: list[int] = [0] * dist.get_world_size(process_group)
    dist.all_gather_object(seeds, seed, group=process_group)
    alike = len(set(seeds)) == 1
    return PrivateRandom(seeds[0], 0 if alike else dist.get_rank(process_group))
