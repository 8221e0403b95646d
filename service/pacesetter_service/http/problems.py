"""RFC 9457 problem documents: the one shape that every error of the API has.

A document says what was wrong (``detail``), what to do (``hint``) and carries a stable word for programs (``code``).
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pacesetter.protocol import Problem
from pydantic import JsonValue, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pacesetter_service.errors import Busy, ControllerError, StorageError, StrategyRefused

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20
"""Single errors listed in one document; a body can have a wrong value in every row."""

ErrorList = tuple[dict[str, JsonValue], ...]

logger = structlog.get_logger(__name__)

_CODES = {
    404: ("UNKNOWN_PATH", "GET /openapi.json lists the paths of this API."),
    405: ("METHOD_NOT_ALLOWED", "The Allow header names the methods of this path."),
}


class ApiProblem(Exception):
    """An error that the HTTP edge found itself, before the controller saw the request."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        hint: str = "",
        errors: ErrorList = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        self.errors = errors
        self.headers = dict(headers or {})


def problem_response(path: str, problem: ApiProblem) -> Response:
    """Return the document for ``problem`` as it came up while answering ``path``."""
    document = Problem(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        instance=path,
        code=problem.code,
        hint=problem.hint,
        errors=problem.errors,
    )
    return Response(
        document.model_dump_json(),
        status_code=problem.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def validation_problem(errors: Sequence[Any], where: str) -> ApiProblem:
    """Return the 422 that puts pydantic's errors in words; input values are not echoed."""
    listed = tuple(
        {"at": _location(error["loc"]), "message": error["msg"], "type": error["type"]}
        for error in errors[:MAX_ERRORS]
    )
    words = "; ".join(f"{error['at']}: {error['message']}" for error in listed[:3])
    more = len(errors) - min(len(errors), 3)
    detail = f"The {where} is not valid: {words}" + (f"; and {more} more" if more else "") + "."
    return ApiProblem(
        422,
        "INVALID_REQUEST",
        detail,
        hint="Correct the fields named in errors; /openapi.json has the schema.",
        errors=listed,
    )


def unexpected_problem(request_id: str) -> ApiProblem:
    """Return the 500: it tells nothing of the cause, which is in the server's log under the request id."""
    return ApiProblem(
        500,
        "INTERNAL_ERROR",
        "The service failed to answer this request.",
        hint=f"Look for request id {request_id} in the service's log, or try again.",
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error that reaches the router's edge a problem document."""
    app.add_exception_handler(ApiProblem, _on_api_problem)
    app.add_exception_handler(ControllerError, _on_controller_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameters)
    app.add_exception_handler(ValidationError, _on_invalid_value)
    app.add_exception_handler(HTTPException, _on_http_exception)


def _location(parts: Sequence[object]) -> str:
    """``("records", 0, "measurements", "columns")`` -> ``records[0].measurements.columns``."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            # A misspelt field may be any text; what cannot be encoded must not break the answer.
            name = str(part).encode("utf-8", "backslashreplace").decode("utf-8")[:200]
            text += f".{name}" if text else name
    return text or "body"


async def _on_api_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiProblem)
    return problem_response(request.url.path, error)


async def _on_controller_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ControllerError)
    if isinstance(error, StorageError):
        # Its message may name paths and drivers: that is for the log.
        logger.error("storage failed", error=str(error), code=error.code)
        problem = ApiProblem(503, error.code, "The database cannot be used.", hint="Try again.")
    else:
        errors = _strategy_errors(error) if isinstance(error, StrategyRefused) else ()
        problem = ApiProblem(
            error.status, error.code, error.message, hint=error.hint, errors=errors
        )
    if isinstance(error, Busy):
        problem.headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return problem_response(request.url.path, problem)


def _strategy_errors(error: StrategyRefused) -> ErrorList:
    obstacles: list[dict[str, JsonValue]] = [
        {"at": "strategy", "message": text} for text in error.obstacles
    ]
    fitting: list[dict[str, JsonValue]] = [
        {"at": "strategy", "fits": name} for name in error.fitting
    ]
    return (*obstacles, *fitting)


async def _on_invalid_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(request.url.path, validation_problem(error.errors(), "request"))


async def _on_invalid_value(request: Request, error: Exception) -> Response:
    """A value that only the domain could judge, such as a strategy's parameters."""
    assert isinstance(error, ValidationError)
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    return problem_response(request.url.path, validation_problem(errors, "request"))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    code, hint = _CODES.get(error.status_code, (phrase.upper().replace(" ", "_"), ""))
    detail = f"{request.method} {request.url.path}: {phrase}."
    problem = ApiProblem(error.status_code, code, detail, hint=hint, headers=error.headers)
    return problem_response(request.url.path, problem)
