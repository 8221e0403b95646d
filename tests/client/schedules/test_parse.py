"""Documents that somebody else wrote."""

import json

import pytest
from pacesetter.errors import ScheduleError
from pacesetter.schedules import KNOWN_FAMILIES, WSD, Linear, Schedule, Warmup, parse_schedule


def test_known_families_are_all_of_the_union() -> None:
    assert KNOWN_FAMILIES == (
        "constant",
        "cosine",
        "cosine_restarts",
        "exponential",
        "infinite",
        "inverse_sqrt",
        "joined",
        "linear",
        "minicpm_wsd",
        "moderate_decay",
        "noam",
        "one_cycle",
        "polynomial",
        "power",
        "refined",
        "rewarm",
        "rex",
        "step",
        "table",
        "triangular",
        "uba",
        "wsd",
        "wsd_s",
        "wsdc",
    )


def test_a_written_document_names_its_version_and_family() -> None:
    schedule = Schedule(length=10, floor=0.1, warmup=Warmup(length=2), body=WSD(cooldown=0.5))

    # What services and jobs of other releases read: another key or default is another version.
    assert json.loads(schedule.model_dump_json()) == {
        "kind": "schedule",
        "version": 1,
        "unit": "relative",
        "zero": 0,
        "length": 10,
        "peak": 1.0,
        "floor": 0.1,
        "warmup": {"length": 2, "start": 0.01},
        "body": {"family": "wsd", "cooldown": 0.5, "shape": "linear", "end": None},
    }


@pytest.mark.parametrize(
    "document",
    [
        {"length": 10, "body": {"family": "linear"}},
        '{"length": 10, "body": {"family": "linear"}}',
        b'{"kind": "schedule", "version": 1, "length": 10, "body": {"family": "linear"}}',
    ],
)
def test_object_and_text_are_read_alike(document: dict[str, object] | str | bytes) -> None:
    assert parse_schedule(document) == Schedule(length=10, body=Linear())


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"length": 10, "body": {"family": "rexx"}}, "unknown family 'rexx'; known are constant, "),
        ({"length": 10, "body": {}}, "body names no family; known are constant, cosine"),
        ({"length": 10, "version": 2}, "unknown version 2; this release reads 1"),
        ({"body": {"family": "linear"}}, "length: Field required"),
        ({"length": 0}, "length: Input should be greater than 0"),
        ({"length": 10, "peak": "NaN"}, "peak: Input should be a finite number"),
        ({"length": 10, "lenght": 11}, "lenght: Extra inputs are not permitted"),
        ({"length": 5, "warmup": {"length": 5}}, "schedule: a warm-up of 5 leaves nothing"),
        ("{", "Invalid JSON"),
        ([1, 2], "a JSON object with 'length' and 'body', not list"),
        (None, "not NoneType"),
    ],
)
def test_bad_documents_say_what_is_wrong_and_what_is_known(document: object, words: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(document)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
