"""JSON as it is stored and compared."""

import json
import math
from typing import Any

from pacesetter_service.errors import Refused

_TO_TEXT = {math.inf: "Infinity", -math.inf: "-Infinity"}


def _plain(value: Any) -> Any:
    """Return ``value`` with every non-finite number as its string."""
    if isinstance(value, float) and not math.isfinite(value):
        return _TO_TEXT.get(value, "NaN")
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def canonical_json(value: Any) -> str:
    """Return ``value`` as JSON text: keys sorted, no spaces, non-finite numbers as strings.

    Raises:
        Refused: It holds a NUL character, which PostgreSQL cannot keep in text (``NUL_CHARACTER``).
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    # json writes NUL as an escape; an escaped backslash before "u0000" is not one.
    if "\\u0000" in text and "\\u0000" in text.replace("\\\\", ""):
        raise Refused(
            "a text holds a NUL character", code="NUL_CHARACTER", hint="remove U+0000 from texts"
        )
    return text
