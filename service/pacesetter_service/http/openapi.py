"""The OpenAPI document, with the request bodies that the routes parse by themselves."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pacesetter.protocol import (
    Claim,
    CurveUpload,
    ExperimentSpec,
    Heartbeat,
    JobSpec,
    Problem,
    Report,
    TrialFailure,
    TrialResult,
    TrialReturn,
)
from pacesetter_search.recommendation import Target
from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from pacesetter_service.http.curves.schemas import CurvePatch
from pacesetter_service.http.jobs.schemas import JobPatch
from pacesetter_service.http.predictions import PredictionRequest
from pacesetter_service.overrides import Override
from pacesetter_service.recommendations.applying import Application

_BODIES = (
    *(CurvePatch, CurveUpload, JobPatch, JobSpec),
    *(Application, PredictionRequest, Report, Target),
    *(Claim, ExperimentSpec, Heartbeat, TrialFailure, TrialResult, TrialReturn),
)
_INPUT_TEMPLATE = "#/components/schemas/{model}-Input"


def install_openapi(app: FastAPI) -> None:
    """Make ``app.openapi`` return the completed document, built once."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _build(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(_body_schemas())
    components["schemas"]["Problem"] = Problem.model_json_schema(mode="serialization")
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}, {}]
    return document


def _body_schemas() -> dict[str, Any]:
    _, models = models_json_schema(
        [(model, "validation") for model in _BODIES],
        by_alias=True,
        ref_template=_INPUT_TEMPLATE,
    )
    override = TypeAdapter[Override](Override).json_schema(ref_template=_INPUT_TEMPLATE)
    definitions = {**models["$defs"], **override.pop("$defs")}
    definitions["Override"] = override
    return {f"{name}-Input": schema for name, schema in definitions.items()}
