"""FedHyper in the paper's form: vectors by hand, bounds, and going on from a checkpoint."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.federated import ClientLocalRate, GlobalRate, ServerLocalRate, dot

UPDATES = [(0.1, 0.2), (0.2, 0.1), (-0.3, 0.1), (3.0, 1.0)]


def as_arrays(*values: float) -> list[np.ndarray]:
    return [np.array([each]) for each in values]


def test_the_global_rate_by_hand() -> None:
    rate = GlobalRate()
    assert [rate.update(as_arrays(*each)) for each in UPDATES] == pytest.approx(
        [1.0, 1.04, 0.99, 1 / 3]
    )


def test_the_released_code_clips_elsewhere() -> None:
    """It keeps 1 + clip(sum, -.8, 4), so its last rate here is .2: no oracle for the paper."""
    rate = GlobalRate()
    assert [rate.update(as_arrays(*each)) for each in UPDATES][-1] != pytest.approx(0.2)


def test_the_servers_local_rate_by_hand() -> None:
    rate = ServerLocalRate(0.1)
    assert [rate.update(as_arrays(*each)) for each in UPDATES] == pytest.approx(
        [0.1, 0.14, 0.09, 0.01]
    )
    for _ in range(3):
        rate.update(as_arrays(1.0, 1.0))
    assert rate.rate == pytest.approx(1.0)


def test_the_clients_local_rate_by_hand() -> None:
    rate = ClientLocalRate(0.1, steps=2)
    rate.begin_round(None)
    # .1; then + (.2, .1).(.1, .2) = .04.
    assert rate.update(as_arrays(0.1, 0.2)) == pytest.approx(0.1)
    assert rate.update(as_arrays(0.2, 0.1)) == pytest.approx(0.14)
    rate.begin_round(as_arrays(0.4, -0.2))
    # A round forgets the last gradient of the one before: (.1, .1).(.4, -.2) / 2 = .01.
    assert rate.update(as_arrays(0.1, 0.1)) == pytest.approx(0.15)
    # (.1, 0).(.1, .1) + (.1, 0).(.4, -.2) / 2 = .01 + .02.
    assert rate.update(as_arrays(0.1, 0.0)) == pytest.approx(0.18)


def test_updates_may_be_tensors() -> None:
    rate = GlobalRate()
    found = [rate.update([torch.tensor(each)]) for each in UPDATES]
    assert found == pytest.approx([1.0, 1.04, 0.99, 1 / 3], rel=1e-6)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(updates=st.lists(st.tuples(st.floats(), st.floats()), max_size=20))
def test_rates_stay_within_their_bounds_whatever_the_updates(
    updates: list[tuple[float, float]],
) -> None:
    rates = GlobalRate(), ServerLocalRate(0.05)
    client = ClientLocalRate(0.05, steps=3)
    for update in updates:
        with np.errstate(all="ignore"):
            assert 1 / 3 <= rates[0].update(as_arrays(*update)) <= 3.0
            assert 0.005 <= rates[1].update(as_arrays(*update)) <= 0.5
            client.begin_round(as_arrays(*update))
            assert 0.005 <= client.update(as_arrays(*update)) <= 0.5


def test_a_product_that_is_not_finite_changes_nothing() -> None:
    rate = GlobalRate()
    rate.update(as_arrays(1.0))
    assert rate.update(as_arrays(math.nan)) == 1.0


def test_a_rate_goes_on_from_its_state() -> None:
    whole, early = GlobalRate(), GlobalRate()
    for each in UPDATES[:2]:
        whole.update(as_arrays(*each))
        early.update(as_arrays(*each))
    state = early.state_dict()
    document = json.dumps({**state, "before": [each.tolist() for each in state["before"]]})
    read = json.loads(document)
    resumed = GlobalRate()
    resumed.load_state_dict({**read, "before": [np.array(each) for each in read["before"]]})
    assert resumed.update(as_arrays(*UPDATES[2])) == whole.update(as_arrays(*UPDATES[2]))


def test_updates_that_do_not_fit_each_other_are_an_error() -> None:
    with pytest.raises(ValueError, match="keep the order"):
        dot([np.zeros(2)], [np.zeros(3)])
    with pytest.raises(ValueError, match="0 local steps"):
        ClientLocalRate(0.1, steps=0)
