"""After a rewind the main line gets the batches of a run that never probed."""

import itertools
import json
import random
from typing import Any

import numpy as np
import pytest
import torch
from pacesetter.data import open_source

from tests.client.data.sources import EPOCH_BATCHES, make_loader, take

IN_PROCESS = [
    "plain",
    "plain_generator",
    "stateful",
    "stateful_generator",
    "stateful_plain_sampler",
    "stateful_batch_sampler",
    "batch_at",
    "batch_at_epochs",
]
WITH_WORKERS = ["plain_workers", "stateful_workers"]


def unprobed(kind: str, count: int) -> list[list[float]]:
    return take(open_source(make_loader(kind)), count)


@pytest.mark.parametrize("kind", IN_PROCESS + WITH_WORKERS)
def test_probes_across_an_epoch_end_leave_the_main_line_the_batches_it_would_have_had(
    kind: str,
) -> None:
    expected = unprobed(kind, 25)
    source = open_source(make_loader(kind))
    seen = take(source, 7)
    mark = source.mark()
    first = take(source, 6, probe=True)
    source.rewind(mark)
    second = take(source, 6, probe=True)
    source.rewind(mark)
    source.release(mark)
    seen += take(source, 18)
    assert seen == expected
    assert first == second == expected[7:13]
    assert not source.unpaired


@pytest.mark.parametrize("kind", IN_PROCESS)
@pytest.mark.parametrize("left_at", [0, 1, EPOCH_BATCHES - 1, EPOCH_BATCHES, EPOCH_BATCHES + 1])
def test_a_probe_may_leave_at_any_place_of_an_epoch(kind: str, left_at: int) -> None:
    expected = unprobed(kind, 24)
    source = open_source(make_loader(kind))
    seen = take(source, left_at)
    mark = source.mark()
    probe = take(source, 12, probe=True)
    source.rewind(mark)
    seen += take(source, 24 - left_at)
    assert seen == expected
    assert probe == expected[left_at : left_at + 12]


def test_a_stateful_loader_with_workers_returns_to_the_last_batch_of_an_epoch() -> None:
    expected = unprobed("stateful_workers", 14)
    source = open_source(make_loader("stateful_workers"))
    seen = take(source, EPOCH_BATCHES)
    mark = source.mark()
    take(source, 2, probe=True)
    source.rewind(mark)
    seen += take(source, 4)
    assert seen == expected


@pytest.mark.parametrize("kind", IN_PROCESS + WITH_WORKERS)
def test_a_restarted_process_goes_on_at_the_batch_that_followed_the_checkpoint(kind: str) -> None:
    expected = unprobed(kind, 20)
    source = open_source(make_loader(kind))
    take(source, 13)
    state = source.state_dict()
    torch.manual_seed(999)  # a new process has another random state
    resumed = open_source(make_loader(kind))
    resumed.load_state_dict(state)
    assert take(resumed, 7) == expected[13:]


@pytest.mark.parametrize("kind", ["plain", "plain_generator", "batch_at", "batch_at_epochs"])
def test_a_position_survives_json_where_the_loader_keeps_none_of_its_own(kind: str) -> None:
    source = open_source(make_loader(kind))
    take(source, 13)
    document: dict[str, Any] = json.loads(json.dumps(source.state_dict()))
    resumed = open_source(make_loader(kind))
    resumed.load_state_dict(document)
    assert take(resumed, 3) == take(source, 3)


@pytest.mark.parametrize("kind", ["plain", "stateful", "batch_at_epochs"])
def test_inside_a_probe_the_main_lines_mark_is_what_the_users_checkpoint_needs(kind: str) -> None:
    expected = unprobed(kind, 14)
    source = open_source(make_loader(kind))
    take(source, 8)
    mark = source.mark()
    take(source, 4, probe=True)
    resumed = open_source(make_loader(kind))
    resumed.load_state_dict(mark)
    assert take(resumed, 6) == expected[8:]


@pytest.mark.parametrize("kind", ["plain", "stateful", "batch_at"])
def test_fetching_leaves_the_generators_of_the_training_alone(kind: str) -> None:
    source = open_source(make_loader(kind))
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = (torch.rand(()).item(), np.random.rand(), random.random())
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    for _ in range(EPOCH_BATCHES + 2):
        source.next()
    assert (torch.rand(()).item(), np.random.rand(), random.random()) == expected


def test_two_epochs_are_shuffled_differently_and_hold_the_same_samples() -> None:
    source = open_source(make_loader("plain_workers"))
    first, second = take(source, EPOCH_BATCHES), take(source, EPOCH_BATCHES)
    assert first != second
    samples = [sorted(itertools.chain.from_iterable(epoch)) for epoch in (first, second)]
    assert samples == [[float(index) for index in range(40)]] * 2


def test_runs_seeded_differently_get_another_order() -> None:
    loader = make_loader("plain")
    torch.manual_seed(1)
    one = take(open_source(loader), 3)
    torch.manual_seed(2)
    assert take(open_source(loader), 3) != one


def test_a_frozen_batch_is_the_one_that_comes_next_and_siblings_freeze_the_same() -> None:
    expected = unprobed("plain", 6)
    source = open_source(make_loader("plain"))
    take(source, 2)
    mark = source.mark()
    for _ in range(2):
        source.hold(True)
        assert take(source, 3, probe=True) == [expected[2]] * 3
        source.rewind(mark)
    source.hold(False)
    assert take(source, 4) == expected[2:]


def test_holding_again_freezes_another_batch() -> None:
    expected = unprobed("batch_at", 3)
    source = open_source(make_loader("batch_at"))
    source.hold(True)
    assert take(source, 2) == [expected[0]] * 2
    source.hold(False)
    assert take(source, 1) == [expected[1]]
    source.hold(True)
    assert take(source, 2) == [expected[2]] * 2
