"""Which source a loader gets, and who hears of a new epoch."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pacesetter.data import open_source
from pacesetter.errors import ConfigurationError
from torch.utils.data import DataLoader, DistributedSampler

from tests.client.data.sources import (
    BATCH_SIZE,
    EPOCH_BATCHES,
    EpochWindows,
    Numbers,
    make_loader,
    take,
)


@pytest.mark.parametrize(
    ("kind", "capability"),
    [("plain", 64), ("stateful", "unlimited"), ("batch_at", "unlimited")],
)
def test_the_capability_is_what_the_loader_allows(kind: str, capability: int | str) -> None:
    assert open_source(make_loader(kind)).rewind_batches == capability


def test_an_accelerate_loader_without_state_is_buffered() -> None:
    class Adapter:
        use_stateful_dataloader = False

        def __iter__(self) -> Iterator[int]:
            return iter([1])

        def state_dict(self) -> dict[str, Any]:
            raise AssertionError("it has none")

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            raise AssertionError("it has none")

    source = open_source(Adapter(), buffer_batches=3)
    assert source.rewind_batches == 3
    mark = source.mark()
    source.next(probe=True)
    source.rewind(mark)
    assert source.next() == 1


def test_a_distributed_sampler_is_told_the_epoch_also_after_a_rewind_across_its_end() -> None:
    def opened() -> tuple[Any, DistributedSampler[Any]]:
        data = Numbers(augment=False)
        sampler: DistributedSampler[Any] = DistributedSampler(data, 2, 1, shuffle=True, seed=3)
        return open_source(DataLoader(data, BATCH_SIZE, sampler=sampler)), sampler

    source, sampler = opened()
    first, second = take(source, 5), take(source, 5)
    assert sampler.epoch == 1
    assert first != second
    state = source.state_dict()
    resumed, _ = opened()
    resumed.load_state_dict(state)
    assert take(resumed, 5) == take(source, 5)


def test_a_positioned_source_is_told_each_epoch() -> None:
    loader = EpochWindows()
    source = open_source(loader)
    take(source, EPOCH_BATCHES - 1)
    mark = source.mark()
    take(source, 3, probe=True)
    source.rewind(mark)
    take(source, 2)
    assert loader.epochs == [0, 1, 0, 1]


def test_a_positioned_source_without_a_batch_is_refused() -> None:
    class Empty(EpochWindows):
        def __len__(self) -> int:
            return 0

    with pytest.raises(ConfigurationError, match="length 0"):
        open_source(Empty())


def test_an_error_of_the_loader_passes_and_the_training_generators_stay() -> None:
    class Broken:
        def batch_at(self, position: int) -> int:
            torch.rand(5)
            raise OSError("disk gone")

    source = open_source(Broken())
    before = torch.get_rng_state()
    with pytest.raises(OSError, match="disk gone"):
        source.next()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("kind", "batches"), [("plain", EPOCH_BATCHES), ("stateful", EPOCH_BATCHES), ("batch_at", None)]
)
def test_a_source_knows_the_length_of_an_epoch_where_its_loader_does(
    kind: str, batches: int | None
) -> None:
    assert open_source(make_loader(kind)).epoch_batches == batches


@pytest.mark.parametrize(("stated", "batches"), [(7, 7), (0, None), ("seven", None)])
def test_a_loader_without_end_may_state_when_its_data_repeat(
    stated: object, batches: int | None
) -> None:
    class Stating:
        epoch_batches = stated

        def batch_at(self, position: int) -> int:
            return position % 7

    assert open_source(Stating()).epoch_batches == batches
