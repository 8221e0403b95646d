"""Every law goes into JSON and comes back as what it was."""

import json

import numpy as np
import pytest
from pacesetter.schedules import WSD
from pacesetter_search.laws import (
    FittedConvexBound,
    FittedFunctional,
    FittedLaw,
    FittedMultiPower,
    parse_law,
)
from pydantic import ValidationError

from tests.search.support.loss_curves import LAWS, STEPS, rates, usual_curves

GIVEN: dict[str, FittedLaw] = {
    "convex bound": FittedConvexBound.of(2.5, 0.3, 10.0, 0.4),
    "functional": FittedFunctional.of(2.5, 0.6, 0.45, 5e4, 120.0, 1.6),
    "multi-power": FittedMultiPower.of(3.0, 0.5, 0.5, 360.0, 2.0, 0.6, 0.64),
}


@pytest.mark.parametrize("name", LAWS)
def test_a_fitted_law_predicts_the_same_bits_after_json(name: str) -> None:
    law = LAWS[name]().fit(usual_curves(name))
    document = law.model_dump_json()
    again = parse_law(document)
    assert type(again) is type(law)
    assert again == law
    lrs = rates(WSD(cooldown=0.4))
    places = [STEPS // 2, STEPS - 0.5, STEPS]
    before, after = law.predict(lrs, places), again.predict(lrs, places)
    assert before.mean.tolist() == after.mean.tolist()
    assert before.sd.tolist() == after.sd.tolist()
    assert again.losses(lrs[:300]).tolist() == law.losses(lrs[:300]).tolist()


@pytest.mark.parametrize("name", LAWS)
def test_a_document_is_small_and_finite_and_says_what_it_was_fitted_to(name: str) -> None:
    law = LAWS[name]().fit(usual_curves(name))
    document = law.model_dump_json()
    assert len(document) < 20_000
    plain = json.loads(document, parse_constant=lambda value: pytest.fail(f"{value} in JSON"))
    assert plain["kind"]
    assert plain["hull"]["longest"] == STEPS
    assert plain["hull"]["curves"] == 3
    assert np.isclose(plain["hull"]["peaks"][-1], 3e-4)


@pytest.mark.parametrize("name", GIVEN)
def test_a_law_of_given_parameters_survives_as_well(name: str) -> None:
    law = GIVEN[name]
    again = parse_law(law.model_dump_json().encode())
    assert again == law
    assert again.hull is None


def test_kinds_are_all_different() -> None:
    kinds = [LAWS[name]().fit(usual_curves(name)).model_dump()["kind"] for name in LAWS]
    assert len(set(kinds)) == len(LAWS)


@pytest.mark.parametrize(
    "document",
    ['{"kind": "tea_leaves"}', "{}", '{"kind": "baseline", "parameters": [1.0]}', "not json"],
)
def test_what_is_no_law_is_refused(document: str) -> None:
    with pytest.raises(ValidationError):
        parse_law(document)
