import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter_search.surrogates import Response, training_set
from pacesetter_search.surrogates.responses import CENSORED_MARGIN


def stage(losses: list[float], index: int = 0, variance: float = 0.0) -> list[Response]:
    return [Response(index, i / 10, loss, variance) for i, loss in enumerate(losses)]


def test_a_stage_is_centred_on_its_median_and_divided_by_its_spread() -> None:
    data = training_set(stage([1.0, 2.0, 3.0]))
    spread = np.std([1.0, 2.0, 3.0])
    np.testing.assert_allclose(data.losses, np.array([-1.0, 0.0, 1.0]) / spread)


def test_stages_of_different_size_come_out_alike() -> None:
    data = training_set([*stage([10.0, 20.0, 30.0]), *stage([0.1, 0.2, 0.3], 1)])
    np.testing.assert_allclose(data.losses[:3], data.losses[3:])


def test_a_young_stage_borrows_the_spread_of_the_one_before() -> None:
    data = training_set([*stage([1.0, 2.0, 3.0]), *stage([0.5, 0.7], 1)])
    np.testing.assert_allclose(data.losses[3:], np.array([-0.1, 0.1]) / np.std([1.0, 2.0, 3.0]))


def test_a_diverged_probe_is_one_unit_worse_than_the_worst_finite_one() -> None:
    given = [*stage([1.0, 2.0, 3.0]), Response(0, 0.9, status="diverged")]
    data = training_set(given)
    assert data.losses[3] == pytest.approx(data.losses[2] + CENSORED_MARGIN)
    assert data.variances[3] == 1.0


def test_an_almost_diverged_probe_does_not_set_the_scale() -> None:
    plain = training_set(stage([1.0, 1.1, 1.2, 1.3, 1.4]))
    spoiled = training_set(stage([1.0, 1.1, 1.2, 1.3, 1e6]))
    assert spoiled.losses[1] - spoiled.losses[0] == pytest.approx(
        plain.losses[1] - plain.losses[0], rel=0.5
    )


def test_errors_common_to_all_siblings_are_not_counted_against_each() -> None:
    data = training_set(stage([1.0, 1.1, 1.2, 1.3], variance=100.0))
    assert data.variances == pytest.approx(np.full(4, 0.5))


def test_small_errors_are_taken_as_stated() -> None:
    data = training_set(stage([1.0, 2.0, 3.0, 4.0], variance=0.01))
    assert data.variances == pytest.approx(np.full(4, 0.01 / np.var([1.0, 2.0, 3.0, 4.0])))


@given(
    st.lists(
        st.builds(
            Response,
            stage=st.integers(0, 5),
            x=st.floats(0, 1),
            mean=st.floats(-1e140, 1e140),
            variance=st.floats(0, 1e300),
            status=st.sampled_from(["finite", "diverged"]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_any_responses_give_bounded_finite_data(given: list[Response]) -> None:
    data = training_set(given)
    assert np.isfinite(data.losses).all()
    assert (data.variances >= 1e-4).all()
    assert (data.variances <= 1e2).all()
