"""Answers: pydantic writes the JSON, so non-finite numbers always travel as strings."""

from typing import Any

from pacesetter.protocol import Problem
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

Responses = dict[int | str, dict[str, Any]]

_PROBLEM: dict[str, Any] = {
    "description": "A problem document.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


class Reply(BaseModel):
    """A body that the service sends. Made from the controller's views by attribute."""

    model_config = ConfigDict(from_attributes=True, frozen=True, ser_json_inf_nan="strings")


def json_reply(
    body: BaseModel, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return ``body`` as a JSON response."""
    return Response(
        body.model_dump_json(by_alias=True), status, headers, media_type="application/json"
    )


def problems(*statuses: int) -> Responses:
    """Return what ``responses=`` of a route declares: its own problems and those any route can have."""
    common = (400, 401, 403, 422, 500, 503)
    return {status: dict(_PROBLEM) for status in sorted({*common, *statuses})}


def body_of(model: type[BaseModel] | str) -> dict[str, Any]:
    """Return what ``openapi_extra=`` of a route declares: a required JSON body of ``model``."""
    name = model if isinstance(model, str) else model.__name__
    schema = {"$ref": f"#/components/schemas/{name}-Input"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


__all__ = ["Problem", "Reply", "Responses", "body_of", "json_reply", "problems"]
