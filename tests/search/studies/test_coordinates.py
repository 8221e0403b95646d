"""What a study says of carrying rates over widths, by the check of coordinates that it has or lacks."""

from dataclasses import replace

import pytest
from pacesetter_search.studies import TransferStudy, transfer_study
from pacesetter_search.studies.cells import Place
from pacesetter_search.studies.coordinates import Coordinates, check_warnings

from tests.search.studies.test_result import study_spec, trials
from tests.search.studies.truth import Truth

PASSED = Coordinates((32, 64, 256), True, {"blocks.0": 0.03})


@pytest.fixture(scope="module")
def study() -> TransferStudy:
    """Of widths 32 and 64, asked for 256."""
    ran = trials(Truth(), [(32, 300), (64, 300)])
    return transfer_study(study_spec(), ran, Place(width=256, steps=300))


def said(study: TransferStudy, found: Coordinates | None) -> str:
    return "; ".join(check_warnings(study, found))


def test_a_rate_that_is_carried_to_a_wider_model_wants_a_check(study: TransferStudy) -> None:
    assert "nobody has checked that rates carry over widths" in said(study, None)
    assert not said(replace(study, target=replace(study.target, width=64.0)), None)
    assert not said(study, PASSED)


def test_a_check_that_failed_names_the_module_that_is_furthest_out(study: TransferStudy) -> None:
    failed = Coordinates((32, 256), False, {"a": 0.1, "blocks.1": -0.62, "blocks.2": 0.4})
    for asked in (study, replace(study, target=replace(study.target, width=64.0))):
        assert said(asked, failed).startswith(
            "activations do not keep their size over widths 32 to 256 (those of blocks.1 go with "
            "width^-0.62), so rates do not carry"
        )
    for slopes in ({}, {"readout": 0.02}):
        unnamed = said(study, replace(failed, slopes=slopes))
        assert "256 (some vanish or are no numbers), so rates do not carry" in unnamed


def test_a_check_of_narrower_widths_than_the_target_says_how_far_it_went(
    study: TransferStudy,
) -> None:
    short = replace(PASSED, widths=(32, 128))
    assert "checked up to width 128, and the target's is 256" in said(study, short)
    narrow = replace(study, target=replace(study.target, width=64.0))
    assert not said(narrow, replace(PASSED, widths=(16, 32)))


def test_a_check_that_says_nothing_says_why(study: TransferStudy) -> None:
    unknown = Coordinates((32, 256), None, problem="its trial failed: KeyError")
    assert said(study, unknown) == (
        "the check of coordinates says nothing: its trial failed: KeyError"
    )
