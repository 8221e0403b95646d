"""Reads a schedule from a document that somebody else wrote."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError

from pacesetter.errors import ScheduleError
from pacesetter.schedules.families import KNOWN_FAMILIES
from pacesetter.schedules.schedule import Schedule


def parse_schedule(document: Mapping[str, Any] | str | bytes) -> Schedule:
    """Return the schedule that a document (decoded JSON, or its text) describes.

    Raises:
        ScheduleError: It describes none; the message says what is wrong with which field, and what is known.
    """
    try:
        if isinstance(document, str | bytes):
            return Schedule.model_validate_json(document)
        _check_names(document)
        return Schedule.model_validate(dict(document))
    except ValidationError as error:
        raise ScheduleError(_explain(error)) from None


def _check_names(document: object) -> None:
    if not isinstance(document, Mapping):
        raise ScheduleError(
            f"a schedule is a JSON object with 'length' and 'body', not {type(document).__name__}; "
            'write {"length": 1000, "body": {"family": "linear"}}'
        )


def _explain(error: ValidationError) -> str:
    problems = [_problem(dict(details)) for details in error.errors(include_url=False)]
    return "not a schedule: " + "; ".join(problems)


def _problem(details: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in details["loc"]) or "schedule"
    if details["type"].startswith("union_tag"):
        tag = details.get("ctx", {}).get("tag")
        wrong = "names no family" if tag is None else f"unknown family {tag!r}"
        return f"{where} {wrong}; known are {', '.join(KNOWN_FAMILIES)}"
    if where == "version":
        known = ", ".join(str(v) for v in get_args(Schedule.model_fields["version"].annotation))
        return f"unknown version {details['input']!r}; this release reads {known}, a newer one may read it"
    return f"{where}: {details['msg'].removeprefix('Value error, ')}"
