"""Pages of lists that are ordered by when their rows were made, newest first."""

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from pacesetter_service.errors import Refused
from pacesetter_service.views import Page

MAX_PAGE = 1000

T = TypeVar("T")


def bounded(page_size: int) -> int:
    """Return a page size that can be served. Raises Refused (``BAD_PAGE_SIZE``)."""
    if page_size < 1:
        raise Refused(
            f"page_size is {page_size}", code="BAD_PAGE_SIZE", hint=f"give 1 to {MAX_PAGE}"
        )
    return min(page_size, MAX_PAGE)


def newest_first(
    query: Select[Any],
    created_at: InstrumentedAttribute[datetime],
    id_: InstrumentedAttribute[str],
    size: int,
    page_token: str,
) -> Select[Any]:
    """Return the query for one page and a row more, which tells whether another one follows.

    Raises:
        Refused: The token is none that a page before gave out (``BAD_PAGE_TOKEN``).
    """
    query = query.order_by(created_at.desc(), id_.desc()).limit(size + 1)
    if not page_token:
        return query
    at, last = _read_token(page_token)
    return query.where(or_(created_at < at, and_(created_at == at, id_ < last)))


def page_of(rows: Sequence[Any], views: Sequence[T], size: int) -> Page[T]:
    """Return a page of the views of ``rows``, whose last one may stand for those that follow."""
    more = len(rows) > size
    return Page(tuple(views[:size]), _token(rows[size - 1]) if more else "")


def _token(row: Any) -> str:
    text = json.dumps([row.created_at.isoformat(), row.id])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_token(token: str) -> tuple[datetime, str]:
    try:
        moment, last = json.loads(base64.urlsafe_b64decode(token.encode()))
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None or not isinstance(last, str) or "\x00" in last:
            raise ValueError("not written by this service")
    except (ValueError, TypeError) as error:
        raise Refused(
            "page_token cannot be read",
            code="BAD_PAGE_TOKEN",
            hint="pass the next_page_token of the page before, unchanged",
        ) from error
    return at, last
