"""Loaders that fail in the middle of a run, or have nothing to give."""

from collections.abc import Iterator
from typing import Any

import pacesetter
import pytest
import torch
from pacesetter.errors import ConfigurationError
from pacesetter.protocol import Finished, Measurements, SegmentEnded
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tests.support.service import ScriptedTransport, after_end, constant, segment
from tests.support.training import Noisy, Regression, attach, start

Batch = tuple[Tensor, Tensor]
EPOCH = 6


class Samples(Dataset[Batch]):
    """Six batches an epoch; fetching one of them fails as often as ``failures`` says."""

    def __init__(self, bad: int = -1, failures: int = 0) -> None:
        self.bad, self.failures = bad, failures

    def __len__(self) -> int:
        return EPOCH

    def __getitem__(self, number: int) -> Batch:
        if number == self.bad and self.failures:
            self.failures -= 1
            raise OSError("disk gone")
        return Regression().batch_at(number)


class Positioned:
    """The same batches by position."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return EPOCH

    def batch_at(self, position: int) -> Batch:
        return self.samples[position]


def loader_of(kind: str, samples: Samples) -> Any:
    if kind == "positioned":
        return Positioned(samples)
    return DataLoader(samples, batch_size=None, shuffle=False)


def losses(run: pacesetter.Run, model: Noisy, loader: Any) -> Iterator[float]:
    for inputs, targets in run.batches(loader):
        loss = ((model(inputs) - targets) ** 2).mean()
        loss.backward()
        run.step(loss)
        yield loss.item()


def without_dropout() -> tuple[Noisy, torch.optim.SGD]:
    model = Noisy()
    model.dropout.p = 0.0  # what these tests save holds no random state
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


@pytest.mark.parametrize("kind", ["plain", "positioned"])
def test_an_error_in_the_second_epoch_loses_no_row_and_a_resumed_run_goes_on_at_that_batch(
    kind: str,
) -> None:
    model, optimizer = without_dropout()
    whole = attach(model, optimizer, ScriptedTransport())
    expected = list(losses(whole, model, loader_of(kind, Samples())))

    samples = Samples()
    transport = ScriptedTransport()
    model, optimizer = without_dropout()
    run = attach(model, optimizer, transport)
    seen = []
    with pytest.raises(OSError, match="disk gone"), run:
        for loss in losses(run, model, loader_of(kind, samples)):
            seen.append(loss)
            if len(seen) == EPOCH:
                samples.bad, samples.failures = 3, 1
    assert seen == expected[: EPOCH + 3]
    (rows,) = transport.of(Measurements)
    assert rows.columns["loss"] == seen
    (finished,) = transport.of(Finished)
    assert (finished.completed, finished.detail) == (False, "left by OSError")

    state = run.state_dict()
    resumed = attach(model, optimizer, ScriptedTransport(), resume=state)
    assert resumed.position == EPOCH + 3
    assert list(losses(resumed, model, loader_of(kind, samples))) == expected[EPOCH + 3 :]
    assert resumed.finish().completed


@pytest.mark.parametrize("kind", ["plain", "positioned"])
def test_an_error_inside_a_probe_gives_the_main_line_back(kind: str) -> None:
    probe = segment(2, 1, kind="probe", start=2, length=8, policy=constant(3.0), data="rewind")
    transport = ScriptedTransport(segments=[segment(1, 0, when="now", length=2), probe])
    model, optimizer = without_dropout()
    run = attach(model, optimizer, transport)
    left: list[Tensor] = []
    with pytest.raises(OSError, match="disk gone"), run:
        for step, _ in enumerate(losses(run, model, loader_of(kind, Samples(4, failures=1)))):
            if step == 1:
                left = [parameter.detach().clone() for parameter in model.parameters()]
    assert (run.on_main_line, run.position) == (True, 2)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), left, strict=True))
    probed = transport.of(Measurements)[-1].columns["position"]
    assert probed == [2, 3]
    ended = transport.of(SegmentEnded)[-1]
    assert (ended.segment, ended.outcome, ended.steps) == (2, "interrupted", 2)


class Drained:
    """Has batches in its first epoch only."""

    def __init__(self) -> None:
        self.epochs = 0

    def __iter__(self) -> Iterator[Batch]:
        self.epochs += 1
        return iter([Regression().batch_at(0)] * 3 if self.epochs == 1 else [])


@pytest.mark.parametrize(
    ("loader", "steps", "message"),
    [
        ([], 0, "epoch 0 of the loader has not a single batch"),
        (DataLoader(Samples(), batch_size=8, drop_last=True), 0, "drop_last"),
        (Drained(), 3, "epoch 1 of the loader has not a single batch"),
        (iter([Regression().batch_at(0)]), 1, "pass the loader itself|Pass the loader itself"),
    ],
)
def test_a_loader_that_has_nothing_says_so_after_the_steps_it_could_feed(
    loader: Any, steps: int, message: str
) -> None:
    transport = ScriptedTransport()
    run, model, _ = start(transport)
    with pytest.raises(ConfigurationError, match=message), run:
        list(losses(run, model, loader))
    assert run.position == steps
    positions = [p for rows in transport.of(Measurements) for p in rows.columns["position"]]
    assert positions == list(range(steps))
    assert transport.of(Finished)[-1].completed is False
    assert transport.closed


def test_positions_of_length_0_are_refused_before_the_first_step() -> None:
    class Nothing(Positioned):
        def __len__(self) -> int:
            return 0

    run, model, _ = start(ScriptedTransport())
    with pytest.raises(ConfigurationError, match="length 0; expected at least one batch"):
        list(losses(run, model, Nothing(Samples())))
    assert not run.finish().completed


def test_a_length_of_0_with_batches_all_the_same_is_only_a_wrong_length() -> None:
    class Understated:
        def __len__(self) -> int:
            return 0

        def __iter__(self) -> Iterator[Batch]:
            return (Regression().batch_at(number) for number in range(4))

    transport = ScriptedTransport(
        after_end({2: segment(3, 2, start=3, length=17)}),
        [
            segment(1, 0, when="now", length=3),
            segment(2, 1, kind="probe", start=3, length=3, policy=constant(3.0), data="rewind"),
        ],
    )
    run, model, _ = start(transport)
    assert len(list(losses(run, model, Understated()))) == 23
    assert run.finish().completed
