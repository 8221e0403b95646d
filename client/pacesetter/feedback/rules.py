"""All feedback rules, as one discriminated union. A new rule is one file, and one name here."""

from typing import Annotated, TypeAlias

from pydantic import Field

from pacesetter.feedback.base import Feedback
from pacesetter.feedback.hypergradient import Hypergradient
from pacesetter.feedback.snr import SignalToNoise

RULES: tuple[type[Feedback], ...] = (Hypergradient, SignalToNoise)

KNOWN_RULES: tuple[str, ...] = tuple(
    sorted(str(rule.model_fields["rule"].default) for rule in RULES)
)
"""Names of the rules that this client can run."""

AnyFeedback: TypeAlias = Annotated[Hypergradient | SignalToNoise, Field(discriminator="rule")]
