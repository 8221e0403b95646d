"""``recommend``: ask the service what to run."""

import os
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from pydantic import ValidationError

from pacesetter.errors import ConfigurationError
from pacesetter.protocol import Evidence, Question, Recommendation, Sweep, Target
from pacesetter.transport.calls import Calls
from pacesetter.transport.opening import find_service
from pacesetter.transport.timing import Timing


def recommend(
    target: Target,
    *,
    evidence: Iterable[Evidence] = (),
    sweeps: Iterable[Sweep] = (),
    url: str | None = None,
    token: str | None = None,
) -> Recommendation:
    """Return what to run: a peak with its interval, batch, weight decay, warm-up, schedule and expected loss.

    Pass it to :func:`pacesetter.attach` as ``recommendation``. On several ranks ask on one of them and share the
    answer: it changes with what the service knows.

    Args:
        target: What is to be trained: at least ``parameters`` and ``tokens``.
        evidence: Best peaks that were measured for its family.
        sweeps: Complete runs that differ in their peak alone, whose best one is to be worked out.
        url: Address of the service, or ``local`` (else ``PACESETTER_URL``).
        token: One that may read (else ``PACESETTER_TOKEN``).

    Raises:
        ConfigurationError: What was passed is no target, or no service is set.
        ServiceUnavailable: The service did not answer.
        ServiceError: It refused the question; the message says why, and what to do.
    """
    question = _question(target, evidence, sweeps)
    _, locate = find_service(url)
    bearer = token or os.environ.get("PACESETTER_TOKEN") or None
    with closing(Calls(locate, bearer, Timing())) as calls:
        return calls.recommend(question)


def _question(
    target: Target, evidence: Iterable[Evidence], sweeps: Iterable[Sweep]
) -> dict[str, Any]:
    if not isinstance(target, Target):
        raise ConfigurationError(
            f"target is {target!r:.200}; expected pacesetter.Target(parameters=..., tokens=...)"
        )
    try:
        question = Question(
            **{name: getattr(target, name) for name in Target.model_fields},
            evidence=tuple(evidence),
            sweeps=tuple(sweeps),
        )
    except ValidationError as error:
        raise ConfigurationError(f"this cannot be asked: {error}") from error
    whole = question.model_dump(mode="json", by_alias=True)
    # An older service need not know what was left as it is.
    defaults = {name: field.default for name, field in Question.model_fields.items()}
    return {
        name: value for name, value in whole.items() if getattr(question, name) != defaults[name]
    }
