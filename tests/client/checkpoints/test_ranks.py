"""Two real processes: every rank keeps its own part, and all succeed or none."""

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from pacesetter.checkpoints import open_store
from pacesetter.data import open_source
from pacesetter.data.buffered import BufferedSource
from pacesetter.errors import SnapshotError, SnapshotTooLarge
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import start_processes
from torch.nn.parallel import DistributedDataParallel

from tests.client.checkpoints.trainings import Net, Training, seed
from tests.support.ranks import leave_group

RANKS = 2

Body = Callable[[int, Path], None]


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Run every case on two gloo ranks, in one start of them; return the tracebacks of each case."""
    directory = tmp_path_factory.mktemp("ranks")
    start_processes(_rank, (directory,), RANKS)  # type: ignore[no-untyped-call]
    found = {}
    for case in CASES:
        reports = [directory / case / f"{rank}.txt" for rank in range(RANKS)]
        found[case] = [report.read_text() for report in reports]
    return found


def _rank(rank: int, directory: Path) -> None:
    torch.set_num_threads(1)
    for name, body in CASES.items():
        place = directory / name
        place.mkdir(exist_ok=True)
        try:
            with _group(rank, place):
                body(rank, place)
            report = ""
        except BaseException:
            report = traceback.format_exc()
        (place / f"{rank}.txt").write_text(report)


@contextmanager
def _group(rank: int, directory: Path) -> Iterator[None]:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{directory}/rendezvous",
        rank=rank,
        world_size=RANKS,
        timeout=timedelta(seconds=60),
    )
    try:
        yield
    finally:
        leave_group()


def make(kind: str) -> Training:
    seed(5)
    model: nn.Module
    if kind == "ddp":
        model = DistributedDataParallel(Net())
    else:
        model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 7), nn.Linear(7, 1))
        mesh = init_device_mesh("cpu", (RANKS,))
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if kind == "fsdp_mixed" else None)
        for layer in (model[0], model[2]):
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    # Each rank has its own data from here on.
    seed(100 + dist.get_rank())
    return Training(model, optimizer)


def leave_and_return(rank: int, directory: Path, kind: str, where: str) -> None:
    undisturbed = make(kind).steps(7)
    training = make(kind)
    store = open_store(
        training.model,
        training.optimizer,
        where=where,
        directory=directory if where == "disk" else None,
        process_group=dist.group.WORLD,
    )
    losses = training.steps(3)
    store.save("left", {"step": 3})
    addresses = [local(item).data_ptr() for item in training.model.parameters()]
    training.steps(2)
    with torch.no_grad():  # a validation leaves FSDP2's gathered copies behind
        training.model(torch.zeros(2, 6))
    assert store.restore("left") == {"step": 3}
    assert [local(item).data_ptr() for item in training.model.parameters()] == addresses
    assert losses + training.steps(4) == undisturbed
    if kind == "fsdp":
        # The generators' states, and of weights and AdamW's averages little more than a half.
        assert store.state_bytes() < 12_000


def local(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def optimizer_state_made_anew(rank: int, directory: Path, where: str) -> None:
    undisturbed = make("fsdp").steps(5)
    training = make("fsdp")
    store = open_store(
        training.model,
        training.optimizer,
        where=where,
        directory=directory if where == "disk" else None,
        process_group=dist.group.WORLD,
    )
    losses = training.steps(3)
    store.save("left", {})
    training.optimizer.state.clear()
    store.restore("left")
    averages = [state["exp_avg"] for state in training.optimizer.state.values()]
    assert all(isinstance(average, DTensor) for average in averages)
    assert losses + training.steps(2) == undisturbed


def refused_on_one(rank: int, directory: Path) -> None:
    training = make("ddp")
    store = open_store(
        training.model,
        training.optimizer,
        max_snapshot_bytes=10 if rank == 1 else None,
        process_group=dist.group.WORLD,
    )
    message = "needs" if rank == 1 else "another rank"
    with pytest.raises(SnapshotTooLarge, match=message):
        store.save("left", {})
    assert store.names() == ()


def older_sharding(rank: int, directory: Path) -> None:
    model = FullyShardedDataParallel(nn.Linear(2, 2), device_id=torch.device("cpu"))
    with pytest.raises(SnapshotError, match="expected fully_shard"):
        open_store(nn.Sequential(model), torch.optim.SGD(model.parameters(), 0.1))


def torn_on_one(rank: int, directory: Path) -> None:
    training = make("ddp")
    options: dict[str, Any] = {"where": "disk", "directory": directory}
    group = dist.group.WORLD
    store = open_store(training.model, training.optimizer, process_group=group, **options)
    store.save("left", {})
    store.save("other", {})
    training.steps(1)
    before = next(training.model.parameters()).clone()
    files = sorted(directory.glob(f"rank-{rank:05d}*/left*.state"))
    assert len(files) == 1
    if rank == 1:
        files[0].write_bytes(files[0].read_bytes()[:-1])
    with pytest.raises(SnapshotError, match="damaged" if rank == 1 else "another rank"):
        store.restore("left")
    assert torch.equal(next(training.model.parameters()), before)
    if rank == 1:
        os.unlink(files[0])
    dist.barrier()
    again = open_store(training.model, training.optimizer, process_group=group, **options)
    assert again.names() == ("other",)


def streams_of_data(rank: int, directory: Path) -> None:
    def first_numbers(number: int, state: dict[str, Any] | None = None) -> list[float]:
        seed(number)
        source = open_source(Drawing(), process_group=dist.group.WORLD)
        assert isinstance(source, BufferedSource)
        if state is not None:
            source.load_state_dict(state)
        states.append(source.state_dict())
        return [source.next() for _ in range(3)]

    states: list[dict[str, Any]] = []
    everyone: list[Any] = [None] * RANKS
    dist.all_gather_object(everyone, first_numbers(1))
    assert everyone[0] == everyone[1]  # seeded alike: one stream
    dist.all_gather_object(everyone, first_numbers(rank))
    assert everyone[0] != everyone[1]  # seeded apart: two streams,
    checkpoint: list[Any] = [states[-1]]
    dist.broadcast_object_list(checkpoint, src=0)
    dist.all_gather_object(everyone, first_numbers(50 + rank, checkpoint[0]))
    assert everyone[0] != everyone[1]  # also after both loaded rank 0's checkpoint
    mine = everyone[rank]
    assert first_numbers(rank, checkpoint[0]) == mine


class Drawing:
    def __iter__(self) -> Iterator[float]:
        while True:
            yield float(torch.rand(()))


CASES: dict[str, Body] = {
    **{
        f"leaving_and_returning_is_bit_exact-{kind}-{where}": partial(
            leave_and_return, kind=kind, where=where
        )
        for kind in ("ddp", "fsdp", "fsdp_mixed")
        for where in ("memory", "disk")
    },
    **{
        f"sharded_optimizer_state_that_is_gone_is_made_anew-{where}": partial(
            optimizer_state_made_anew, where=where
        )
        for where in ("memory", "disk")
    },
    "a_state_that_one_rank_cannot_keep_is_kept_by_none": refused_on_one,
    "older_sharding_is_refused": older_sharding,
    "a_file_torn_on_one_rank_leaves_the_state_of_every_rank_alone": torn_on_one,
    "ranks_seeded_apart_keep_drawing_apart": streams_of_data,
}


@pytest.mark.parametrize("case", list(CASES))
def test_on_two_ranks(case: str, failures: dict[str, list[str]]) -> None:
    assert not any(failures[case]), "\n".join(failures[case])
