"""What cells tell of each other: slopes as the parametrisation has them, and pairs settled by neighbours."""

import math

import numpy as np
import pytest
from pacesetter.protocol import ExperimentSpec, Range, Workload
from pacesetter_search.studies.believing import DOUBT, Family, parametrization_of
from pacesetter_search.studies.cells import Cell
from pacesetter_search.studies.optima import Density

from tests.search.studies.specs import LR, spec

GRID = np.arange(-13.0, 0.0, 1 / 16)
BASE, WIDE, LONG = Cell(32.0, 1.0, 300.0), Cell(256.0, 1.0, 300.0), Cell(32.0, 1.0, 1200.0)


def normal(place: float, sd: float) -> Density:
    return Density(GRID, np.exp(-0.5 * np.square((GRID - place) / sd)))


def family(parametrization: str) -> Family:
    of = spec(workload=Workload.model_validate({"parametrization": parametrization}))
    return Family.of(of, LR)


def test_the_prior_is_the_middle_of_the_rates_that_are_searched() -> None:
    assert family("mup").anchor == (-6.5, 3.5)
    assert Family.of(spec(), Range(low=2.0**-6, high=2.0**-4)).anchor == (-5.0, 3.0)


@pytest.mark.parametrize(("parametrization", "moved"), [("mup", 0.0), ("standard", -3.0)])
def test_width_moves_the_best_rate_as_the_parametrisation_has_it(
    parametrization: str, moved: float
) -> None:
    model = family(parametrization).model({BASE: (-5.0, 0.1)}, WIDE)
    found = model.predict(family(parametrization).place(WIDE))
    assert found.mean == pytest.approx(-5.0 + moved, abs=0.1)
    slope_sd = 0.10 if parametrization == "mup" else 0.25
    assert found.sd > 3.0 * slope_sd


def test_the_horizon_moves_it_by_the_published_slope_doubted_below_the_sizes_it_is_known_of() -> (
    None
):
    small = family("mup")
    found = small.model({BASE: (-5.0, 0.1)}, LONG).predict(small.place(LONG))
    assert found.mean == pytest.approx(-5.58, abs=0.05)
    large = Family("mup", large=True, anchor=(-6.5, 3.5))
    assert small.slopes()[1] == pytest.approx((-0.29, DOUBT * 0.06))
    assert large.slopes()[1] == (-0.29, 0.06)
    (below,), (above,) = [(each.slopes()[2][1],) for each in (large, small)]
    assert above == pytest.approx(DOUBT * below)


def test_where_data_repeat_nobody_knows_where_the_horizon_moves_it() -> None:
    once, twice = (Family.of(spec(workload=Workload(epochs=passes)), LR) for passes in (1.9, 2.0))
    assert once.slopes()[1] == family("standard").slopes()[1]
    assert twice.slopes()[1] == (-0.05, 0.2)
    found = twice.model({BASE: (-5.0, 0.1)}, LONG).predict(twice.place(LONG))
    assert found.mean == pytest.approx(-5.1, abs=0.02)


def test_a_workload_of_published_size_is_believed_and_a_batch_saturates() -> None:
    of = spec(workload=Workload(parameters=1e8), regime="pretrain")
    assert Family.of(of, LR).large
    assert not Family.of(spec(workload=Workload(parameters=1e8)), LR).large
    assert not Family.of(spec(regime="pretrain"), LR).large


def test_a_pair_that_leaves_two_rates_open_is_settled_by_a_neighbour() -> None:
    open_ = normal(-5.0, 0.3).likelihood + normal(-9.0, 0.3).likelihood
    both = {BASE: normal(-5.1, 0.15), LONG: Density(GRID, open_)}
    told = family("mup").told(both, LONG)
    assert told[LONG][0] == pytest.approx(-5.0, abs=0.1)
    assert told[LONG][1] == pytest.approx(0.3, rel=0.15)
    # Alone the two remain open: what it tells is wide.
    alone = family("mup").told({LONG: Density(GRID, open_)}, LONG)
    assert alone[LONG][1] > 1.5


def test_a_cell_that_says_nothing_is_left_out() -> None:
    told = family("mup").told({BASE: Density(GRID, np.ones_like(GRID))}, LONG)
    assert told == {}


def test_what_trials_are_given_is_their_parametrisation() -> None:
    assert parametrization_of(spec(fixed={"parametrization": "mup"})) == "mup"
    assert parametrization_of(spec(fixed={"parametrization": "sp"})) == "standard"
    assert parametrization_of(spec(workload=Workload(parametrization="mup"))) == "mup"
    stored = spec(fixed={"parametrization": "mup"}).model_dump_json()
    assert parametrization_of(ExperimentSpec.model_validate_json(stored)) == "mup"
    of = spec(fixed={"parametrization": "sp"}, workload=Workload(parametrization="mup"))
    with pytest.raises(ValueError, match="say the same in both"):
        parametrization_of(of)


def test_a_place_is_in_tokens() -> None:
    place = Family("mup", large=False, anchor=(-6.0, 3.0), unit=64.0).place(
        Cell(64.0, 2.0, 300.0, 16.0), (-5.0, 0.2)
    )
    assert (place.tokens, place.batch) == (300 * 16 * 64, 16 * 64)
    assert (place.width, place.depth, place.lr, place.sd) == (64.0, 2.0, 2.0**-5, 0.2)
    assert math.isclose(place.parameters, 1.0)
