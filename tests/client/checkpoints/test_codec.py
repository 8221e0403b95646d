"""Documents of states: every value comes back with its type."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.checkpoints.codec import decode, encode
from pacesetter.checkpoints.trees import Kept
from pacesetter.errors import SnapshotError

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
keys = st.text() | st.integers()
trees = st.recursive(
    plain | st.binary() | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=20,
)


def no_tensor(*names: Any) -> Any:
    raise AssertionError("there is no tensor in it")


def through_json(tree: Any) -> Any:
    return decode(json.loads(json.dumps(encode(tree, no_tensor, "x"))), no_tensor)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and repr(one) == repr(other)


@settings(deadline=None, derandomize=True)
@given(trees)
def test_trees_come_back_with_every_type(tree: Any) -> None:
    assert same(through_json(tree), tree)


def test_what_is_not_a_number_comes_back() -> None:
    returned = through_json([float("nan"), float("inf"), -float("inf"), -0.0])
    assert math.isnan(returned[0])
    assert returned[1:3] == [math.inf, -math.inf]
    assert math.copysign(1, returned[3]) == -1


def test_a_dict_with_the_tag_of_the_format_is_no_confusion() -> None:
    assert through_json({"$": "tensor", "name": "x"}) == {"$": "tensor", "name": "x"}


def test_numpy_and_torch_values_come_back() -> None:
    array = np.array([[1, 2]], dtype=np.uint32)
    returned = through_json([array, np.float32(0.1), torch.bfloat16, torch.device("cuda", 1)])
    assert returned[0].dtype == np.uint32
    assert np.array_equal(returned[0], array)
    assert isinstance(returned[1], np.float32)
    assert returned[1] == np.float32(0.1)
    assert returned[2:] == [torch.bfloat16, torch.device("cuda", 1)]


@pytest.mark.parametrize("value", [object(), np.array([object()]), {1, 2}, len])
def test_other_values_are_refused_by_place(value: Any) -> None:
    with pytest.raises(SnapshotError, match=r"x\.a\[0\] is a .*where='memory'"):
        encode({"a": [value]}, no_tensor, "x")


@pytest.mark.parametrize(
    "document", [{"$": "code", "data": 1}, {"$": "dtype", "data": "load"}, {"no": "tag"}]
)
def test_a_document_of_other_making_runs_nothing(document: Any) -> None:
    with pytest.raises((ValueError, KeyError)):
        decode(document, no_tensor)


def test_a_tensor_is_named_and_asked_for_by_name() -> None:
    class Named(Kept):
        device = "cpu"

        def values(self) -> torch.Tensor:
            return torch.ones(1)

    tensor = Named()
    asked: list[tuple[str, str]] = []

    def called(name: str, device: str) -> Kept:
        asked.append((name, device))
        return tensor

    assert decode(encode({"w": tensor}, lambda _: "t0", "x"), called)["w"] is tensor
    assert asked == [("t0", "cpu")]
