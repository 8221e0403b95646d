"""Curves as they are sent: short, with what they are of."""

import hashlib
from typing import Any

import numpy as np
from pydantic import ValidationError

from pacesetter.curves.averaging import averaged
from pacesetter.curves.reading import Recording
from pacesetter.errors import ConfigurationError
from pacesetter.protocol import CurveUpload


def upload_of(recording: Recording, about: dict[str, Any]) -> CurveUpload:
    """Return the body of an upload.

    Args:
        recording: The curve; a long one is averaged in blocks.
        about: Fields of :class:`~pacesetter.protocol.CurveAbout`; ``name`` and ``validated`` are the recording's where
            they are not given.

    Raises:
        ConfigurationError: A field has a value that cannot be.
    """
    points = averaged(recording.points)
    columns = {
        "steps": points.steps.tolist(),
        "lrs": points.lrs.tolist(),
        "losses": [None if np.isnan(loss) else loss for loss in points.losses.tolist()],
    }
    own = {"name": recording.name, "validated": recording.validated, "warmup": points.warmup}
    try:
        return CurveUpload.model_validate({**own, **about, **columns})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the description"
        raise ConfigurationError(f"{place}: {first['msg']}") from None


def key_of(body: bytes) -> str:
    """Return an ``Idempotency-Key`` that is the same whenever the same curve is sent."""
    return hashlib.sha256(body).hexdigest()
