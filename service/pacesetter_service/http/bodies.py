"""Reading request bodies: bounded, unpacked, and parsed straight into protocol values.

Reports come hundreds of times a second, so bodies skip FastAPI's own path (JSON to dict to model): pydantic's parser
makes the value from the bytes. The schema still appears in the OpenAPI document, see ``openapi.py``.
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from pacesetter.protocol import Measurements, Report
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request

from pacesetter_service.http.problems import ApiProblem, validation_problem

Body = TypeVar("Body")

LARGEST_INTEGER = 2**63 - 1
"""What both databases can hold."""

JSON = "application/json"
CSV = "text/csv"
_WORDS = {
    JSON: "JSON with Content-Type: application/json",
    CSV: "CSV with Content-Type: text/csv",
}
SPLIT = (
    "Split a report, which is a run of records: send several smaller ones, in order. Anything else is small: "
    "leave out of its tags, parameters and texts what is not needed."
)


def media_type(request: Request) -> str:
    """Return the type of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(
    request: Request, limit: int, *, accepted: tuple[str, ...] = (JSON,), too_large: str = SPLIT
) -> bytes:
    """Return the unpacked bytes of a body.

    Args:
        request: Whose body.
        limit: Most bytes, as sent and as unpacked.
        accepted: Media types that are read.
        too_large: What to do about a body beyond the limit.

    Raises:
        ApiProblem: 413 beyond ``limit``, 415 for another type or encoding, 400 for broken gzip.
    """
    _check_media_type(request, accepted)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise ApiProblem(
            415,
            "UNSUPPORTED_ENCODING",
            f"Content-Encoding {encoding[:40]!r} is not supported.",
            hint="Send the body plain or with Content-Encoding: gzip.",
            headers={"Accept-Encoding": "gzip"},
        )
    larger = _too_large(limit, too_large)
    packed = await _read_bounded(request, limit, larger)
    return _gunzip(packed, limit, larger) if encoding == "gzip" else packed


def parse_body(adapter: TypeAdapter[Body], raw: bytes) -> Body:
    """Return ``raw`` as a value of the adapter's type.

    Raises:
        ApiProblem: 400 if it is not JSON in UTF-8, 422 if it does not fit the model or holds what cannot be stored.
    """
    if not raw:
        raise ApiProblem(
            400, "EMPTY_BODY", "The request has no body.", hint="Send a JSON object as the body."
        )
    _refuse_bare_non_finite(raw)
    try:
        value = adapter.validate_json(raw)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False, include_context=False)
        if errors[0]["type"] == "json_invalid":
            raise _not_json(errors[0]["msg"]) from None
        raise validation_problem(errors, "body") from None
    _refuse_unstorable(value, raw)
    return value


def refuse_repeated_names(raw: bytes) -> None:
    """Refuse a body in which an object has a name twice: every parser takes one of the two values, unasked.

    Raises:
        ApiProblem: 422, which says the name.
    """
    json.loads(raw, object_pairs_hook=_differing)


def _differing(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        repeated = next(name for name, count in counts.items() if count > 1)
        raise ApiProblem(
            422,
            "REPEATED_NAME",
            f"The body has {repeated[:200]!r} twice in one object.",
            hint="Give each name once: which of the two values counts is not said.",
        )
    return found


def _check_media_type(request: Request, accepted: tuple[str, ...]) -> None:
    if media_type(request) not in accepted:
        given = request.headers.get("content-type", "")
        raise ApiProblem(
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            f"Content-Type {given[:80]!r} is not supported.",
            hint=f"Send {' or '.join(_WORDS[each] for each in accepted)}.",
        )


async def _read_bounded(request: Request, limit: int, larger: ApiProblem) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise larger
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise larger
            chunks.append(chunk)
    except ClientDisconnect:
        raise ApiProblem(400, "INCOMPLETE_BODY", "The body ended before it was whole.") from None
    return b"".join(chunks)


def _gunzip(packed: bytes, limit: int, larger: ApiProblem) -> bytes:
    """Unpack at most ``limit`` bytes: a small body that unpacks to gigabytes costs no more than that."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        raw = unpacker.decompress(packed, limit + 1)
    except zlib.error:
        raise _broken_gzip("is not gzip") from None
    if len(raw) > limit:
        raise larger
    if not unpacker.eof:
        raise _broken_gzip("ends in the middle of its gzip stream")
    if unpacker.unused_data:
        raise _broken_gzip("has bytes after its gzip stream")
    return raw


def _refuse_bare_non_finite(raw: bytes) -> None:
    """Pydantic's parser takes bare NaN, which is not JSON; only a body that could hold one is parsed twice."""
    # One byte is sought ten times faster than a word, and a report of plain numbers has neither letter.
    if not (b"N" in raw and b"NaN" in raw) and not (b"I" in raw and b"Infinity" in raw):
        return
    try:
        from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise _not_json(
            str(error), hint='Write non-finite numbers as "NaN", "Infinity" or "-Infinity".'
        ) from None


def _refuse_unstorable(value: object, raw: bytes) -> None:
    """Refuse NUL characters and integers beyond 64 bits: no database takes them.

    The columns of measurements are floats, so a report's hot part needs no walk.
    """
    if b"\\" in raw and b"\\u0000" in raw and any("\0" in text for text in _texts(from_json(raw))):
        raise _unstorable("a NUL character (\\u0000)", "Leave NUL characters out of all texts.")
    if isinstance(value, Report):
        parts: list[object] = [value.seen, value.ledger.model_dump() if value.ledger else None]
        for record in value.records:
            if isinstance(record, Measurements):
                parts += [record.number, record.segment, record.position]
            else:
                parts.append(record.model_dump())
    else:
        parts = [from_json(raw)]
    if any(abs(number) > LARGEST_INTEGER for number in _integers(parts)):
        raise _unstorable("an integer beyond 64 bits", f"Stay within {LARGEST_INTEGER}.")


def _texts(document: object) -> Iterable[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for key, item in document.items():
            yield key
            yield from _texts(item)
    elif isinstance(document, list):
        for item in document:
            yield from _texts(item)


def _integers(document: object) -> Iterable[int]:
    if isinstance(document, int):
        yield document
    elif isinstance(document, dict):
        for item in document.values():
            yield from _integers(item)
    elif isinstance(document, (list, tuple)):
        for item in document:
            yield from _integers(item)


def _too_large(limit: int, hint: str) -> ApiProblem:
    return ApiProblem(
        413, "BODY_TOO_LARGE", f"The body exceeds {limit} bytes, as sent or unpacked.", hint=hint
    )


def _broken_gzip(what: str) -> ApiProblem:
    return ApiProblem(
        400,
        "INVALID_GZIP",
        f"The body {what}.",
        hint="Send one whole gzip stream, or drop the Content-Encoding header.",
    )


def _not_json(message: str, hint: str = "Send one JSON object, encoded as UTF-8.") -> ApiProblem:
    return ApiProblem(400, "INVALID_JSON", f"The body is not JSON: {message}.", hint=hint)


def _unstorable(what: str, hint: str) -> ApiProblem:
    return ApiProblem(422, "INVALID_REQUEST", f"The body holds {what}.", hint=hint)
