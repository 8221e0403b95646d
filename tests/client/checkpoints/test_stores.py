"""Names, bounds, buffers, and what cannot be kept: both stores alike."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from pacesetter.checkpoints import CheckpointStore, open_store
from pacesetter.checkpoints.memory import MemoryStore
from pacesetter.errors import ConfigurationError, SnapshotError, SnapshotTooLarge
from torch import Tensor, nn

from tests.client.checkpoints.trainings import make_training, with_everything

WHERE = ["memory", "disk"]
each_store = pytest.mark.parametrize("where", WHERE)


def store_of(model: nn.Module, where: str = "memory", **options: Any) -> CheckpointStore:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return open_store(model, optimizer, where=where, **options)


@each_store
def test_names_come_oldest_first_and_go_when_released(where: str) -> None:
    store = make_training().store(where=where)
    for name in ("b", "a", "c"):
        store.save(name, {"name": name})
    store.save("b", {"name": "again"})
    assert store.names() == ("a", "c", "b")
    assert store.position("b") == {"name": "again"}
    store.release("c")
    store.release("never there")
    assert store.names() == ("a", "b")


@each_store
def test_an_unknown_name_says_which_there_are(where: str) -> None:
    store = make_training().store(where=where)
    store.save("here", {})
    for missing in (store.restore, store.position):
        with pytest.raises(SnapshotError, match=r"no state called 'gone'.*here"):
            missing("gone")


@each_store
def test_names_of_any_kind_are_kept_apart(where: str) -> None:
    store = make_training().store(where=where)
    names = ["a/b", "A/B", "../up", "", "ü " * 90, "ü " * 91, "x.state"]
    for number, name in enumerate(names):
        store.save(name, {"number": number})
    assert [store.position(name)["number"] for name in names] == list(range(len(names)))


@each_store
def test_the_position_is_a_copy_both_ways_and_keeps_its_types(where: str) -> None:
    store = make_training().store(where=where)
    position = {"list": [1, 2.5], "loader": {3: torch.arange(4)}, "none": None, "pair": (1, "x")}
    store.save("left", position)
    position["list"].append(3)  # type: ignore[union-attr]
    store.position("left")["list"].append(4)
    returned = store.restore("left")
    assert returned["list"] == [1, 2.5]
    assert returned["pair"] == (1, "x")
    assert torch.equal(returned["loader"][3], torch.arange(4))


@each_store
def test_too_large_a_state_is_refused_and_what_was_kept_stays(where: str) -> None:
    training = with_everything()
    training.steps(2)
    store = training.store(where=where)
    before = training.tensors()["first.weight"].clone()
    store.save("kept", {"step": 2})
    message = r"(?s)keeping 'more' needs .*B; .* are held \(kept\) and max_snapshot_bytes allows"
    store.max_snapshot_bytes = int(1.9 * store.state_bytes())  # type: ignore[attr-defined]
    with pytest.raises(SnapshotTooLarge, match=message):
        store.save("more", {})
    assert store.names() == ("kept",)
    training.steps(1)
    assert store.restore("kept") == {"step": 2}
    assert torch.equal(training.tensors()["first.weight"], before)


def test_memory_is_not_touched_before_a_state_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    training = make_training()
    store = training.store(max_snapshot_bytes=10)

    def forbidden(*args: Any, **options: Any) -> Tensor:
        raise AssertionError("allocated")

    monkeypatch.setattr(torch, "empty_like", forbidden)
    with pytest.raises(SnapshotTooLarge, match=r"where='disk'"):
        store.save("left", {})


def test_probes_after_the_first_allocate_nothing() -> None:
    training = with_everything()
    training.steps(1)
    store = training.store()
    assert isinstance(store, MemoryStore)

    def addresses() -> set[int]:
        snapshot = store._snapshots["left"]
        return {buffer.data_ptr() for buffer in snapshot.buffers if buffer.numel()}

    store.save("left", {})
    first = addresses()
    for _ in range(3):
        training.steps(1)
        store.restore("left")
        store.release("left")
        store.save("left", {})
        assert addresses() == first


def test_tied_weights_count_once_and_adams_state_is_foreseen() -> None:
    training = make_training()
    parameters = sum(item.numel() for item in training.model.parameters())
    store = training.store()
    foreseen = store.state_bytes()
    training.steps(1)
    # One float a parameter for each of Adam's two averages; its step counters are not foreseen.
    counters = 4 * len(list(training.model.parameters()))
    assert store.state_bytes() == foreseen + counters
    assert foreseen > 3 * 4 * parameters


def test_gradients_are_zeroed_in_place_where_they_existed_and_dropped_where_not() -> None:
    model = nn.Linear(2, 1)
    store = store_of(model)
    model.weight.grad = torch.ones(1, 2)
    address = model.weight.grad.data_ptr()
    store.save("left", {})
    model.bias.grad = torch.ones(1)
    store.restore("left")
    assert model.weight.grad.data_ptr() == address
    assert model.weight.grad.tolist() == [[0.0, 0.0]]
    assert model.bias.grad is None


class Cache(nn.Module):
    grown: Tensor | None
    wide: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("grown", torch.arange(3.0))
        self.register_buffer("late", None)
        self.register_buffer("wide", torch.zeros(1).expand(5))


@each_store
def test_buffers_that_grew_came_or_went_are_what_they_were(where: str) -> None:
    model = Cache()
    store = store_of(model, where)
    store.save("left", {})
    model.grown, model.late = torch.arange(7.0), torch.ones(1)
    model.wide[:1] = 4.0
    store.restore("left")
    assert model.grown.tolist() == [0.0, 1.0, 2.0]
    assert [name for name, _ in model.named_buffers()] == ["grown", "wide"]
    assert model.wide.tolist() == [0.0] * 5
    model.grown = None
    store.restore("left")
    assert torch.equal(model.get_buffer("grown"), torch.arange(3.0))


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: dict[str, Any] = {"steps": 1, "scale": torch.ones(2)}

    def get_extra_state(self) -> dict[str, Any]:
        return self.seen

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.seen = state


@each_store
def test_extra_states_of_modules_come_back(where: str) -> None:
    model = nn.Sequential(Counting(), nn.Linear(1, 1))
    store = store_of(model, where)
    store.save("left", {})
    counting = model[0]
    assert isinstance(counting, Counting)
    counting.seen["steps"] = 9
    counting.seen["scale"].mul_(3)
    store.restore("left")
    assert counting.seen["steps"] == 1
    assert counting.seen["scale"].tolist() == [1.0, 1.0]


class Shadow:
    """An average in the style of torch_ema: ``state_dict`` returns its tensors themselves."""

    def __init__(self) -> None:
        self.shadow = [torch.ones(3)]
        self.updates = 0
        self.loads = 0

    def state_dict(self) -> dict[str, Any]:
        return {"shadow": self.shadow, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loads += 1
        self.shadow = state["shadow"]
        self.updates = state["updates"]


@each_store
def test_an_objects_live_tensors_are_filled_in_place_and_its_numbers_loaded(where: str) -> None:
    shadow = Shadow()
    store = store_of(nn.Linear(1, 1), where, extras={"shadow": shadow})
    address = shadow.shadow[0].data_ptr()
    store.save("left", {})
    shadow.shadow[0].zero_()
    store.restore("left")
    assert (shadow.shadow[0].tolist(), shadow.loads) == ([1.0] * 3, 0)
    shadow.shadow[0].zero_()
    shadow.updates = 5
    store.restore("left")
    assert (shadow.shadow[0].tolist(), shadow.updates, shadow.loads) == ([1.0] * 3, 0, 1)
    assert shadow.shadow[0].data_ptr() == address


@each_store
def test_generators_of_the_trainings_own_are_extras(where: str) -> None:
    extras = {
        "torch": torch.Generator().manual_seed(1),
        "numpy": np.random.default_rng(1),
        "python": random.Random(1),
    }
    store = store_of(nn.Linear(1, 1), where, extras=extras)

    def draw() -> tuple[float, ...]:
        generator: Any = extras["numpy"]
        source: Any = extras["python"]
        return float(torch.rand((), generator=extras["torch"])), generator.random(), source.random()  # type: ignore[call-overload]

    store.save("left", {})
    first = draw()
    draw()
    store.restore("left")
    assert draw() == first


def test_an_optimizer_inside_another_is_found() -> None:
    class Outer(torch.optim.Optimizer):
        def __init__(self, inner: torch.optim.Optimizer) -> None:
            super().__init__(inner.param_groups[0]["params"], {})
            self.inner = inner

    training = make_training()
    inner = training.optimizer
    store = open_store(training.model, Outer(inner))
    training.steps(2)
    store.save("left", {})
    state = next(iter(inner.state.values()))["exp_avg"].clone()
    training.steps(1)
    store.restore("left")
    assert torch.equal(next(iter(inner.state.values()))["exp_avg"], state)


def test_a_learning_rate_that_became_a_tensor_is_filled_in_place() -> None:
    training = make_training()
    store = training.store()
    store.save("left", {})
    rate = torch.tensor(0.5)
    training.optimizer.param_groups[0]["lr"] = rate
    store.restore("left")
    assert training.optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(0.01)


def test_nothing_is_changed_when_the_model_or_the_groups_changed_since() -> None:
    training = make_training()
    store = training.store()
    store.save("left", {})
    training.steps(1)
    before = training.tensors()["first.weight"].clone()
    moved = training.optimizer.param_groups[0]["params"].pop()
    with pytest.raises(SnapshotError, match=r"groups have \[8\] parameters now and had \[9\]"):
        store.restore("left")
    training.optimizer.param_groups[0]["params"].append(moved)
    training.model.get_submodule("out").register_parameter("more", nn.Parameter(torch.ones(1)))
    with pytest.raises(SnapshotError, match=r"parameters changed.*0\.out\.more"):
        store.restore("left")
    assert torch.equal(training.tensors()["first.weight"], before)


def test_a_group_added_since_stays_without_the_state_that_it_has_gathered() -> None:
    training = make_training()
    store = training.store()
    store.save("left", {})
    before = training.tensors()["first.weight"].clone()
    added = nn.Parameter(torch.ones(1))
    training.optimizer.add_param_group({"params": [added], "lr": 0.007})
    added.grad = torch.ones(1)
    training.steps(1)
    assert training.optimizer.state[added]
    store.restore("left")
    assert torch.equal(training.tensors()["first.weight"], before)
    assert training.optimizer.param_groups[1]["lr"] == 0.007
    assert added not in training.optimizer.state


def test_another_dtype_is_refused() -> None:
    model = nn.Linear(2, 2)
    store = store_of(model)
    store.save("left", {})
    model.double()
    with pytest.raises(SnapshotError, match="float64"):
        store.restore("left")


class Holds(nn.Module):
    def __init__(self, buffer: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.register_buffer("held", buffer)


@each_store
@pytest.mark.parametrize(
    ("buffer", "message"),
    [
        (torch.eye(3).to_sparse(), "sparse_coo"),
        (torch.empty(3, device="meta"), "meta device"),
    ],
)
def test_what_cannot_be_copied_in_place_is_refused_by_name(
    where: str, buffer: Tensor, message: str
) -> None:
    with pytest.raises(SnapshotError, match=rf"models.buffers.0.held is .*{message}"):
        store_of(Holds(buffer), where).save("left", {})


def test_a_model_without_its_shapes_yet_is_refused() -> None:
    model = nn.LazyLinear(3)
    store = open_store(model, torch.optim.SGD(model.parameters(), 0.1))
    with pytest.raises(SnapshotError, match="not initialised yet"):
        store.save("left", {})


def test_an_extra_without_a_state_is_refused() -> None:
    with pytest.raises(SnapshotError, match=r"extra 'x' is a object without state_dict"):
        store_of(nn.Linear(1, 1), extras={"x": object()})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "tape"}, "where is 'tape'"),
        ({"max_snapshot_bytes": 0}, "max_snapshot_bytes is 0"),
    ],
)
def test_arguments_that_cannot_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        store_of(nn.Linear(1, 1), **options)
