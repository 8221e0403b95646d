"""Which batch to train with: given, by law, or that of one's own evidence; and from where on it only saves steps."""

import math
from dataclasses import dataclass

from pacesetter.protocol import Source

from pacesetter_search.memory.kinds import Kind
from pacesetter_search.recommendation.gathering import Gathered
from pacesetter_search.recommendation.target import Asked, Target
from pacesetter_search.transfer.peak import Z90
from pacesetter_search.transfer.published import LAWS, PublishedLaw, best_batch

BATCH_SD = 0.3
"""Octaves of the best batch around its law [Step Law's grid]."""

EXPONENTS_APART = 0.19
"""Step Law's exponent in tokens less that of Power Lines, .571 - .383: octaves that the two part by with each octave
outside of what was fitted."""

PREFERRED, COMPARED = "step_law", ("power_lines", "deepseek", "porian")
CRITICAL = ("power_lines", "zhang")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch with what is known of it.

    Attributes:
        tokens: Of an optimizer step.
        interval: Of the best batch, 90 %; None where it was given, or no law is about it.
        critical: Between which published laws see the critical batch; None where none is about it.
        sources: Laws that speak of it.
        warnings: What is to be minded.
    """

    tokens: float
    interval: tuple[float, float] | None
    critical: tuple[float, float] | None
    sources: tuple[Source, ...]
    warnings: tuple[str, ...]


def choose_batch(target: Target, found: Gathered) -> Batch:
    """Return the batch that is given, or the best one within what the hardware takes."""
    asked, language = target.asked(), Kind.of_target(target).of_language
    critical = _critical(asked) if language else None
    warnings: list[str] = []
    interval = None
    if asked.batch is not None:
        tokens = asked.batch
    elif language:
        tokens = best_batch(asked.tokens)
        sd = BATCH_SD + EXPONENTS_APART * _outside(LAWS[PREFERRED], asked.tokens)
        interval = (tokens * 2.0 ** (-Z90 * sd), tokens * 2.0 ** (Z90 * sd))
    else:
        tokens = _of_evidence(asked, found)
        warnings.append(
            f"no law is about the best batch of {target.regime} with {target.optimizer}: this is that of your own "
            "evidence"
        )
    tokens = _within(target, asked, tokens, warnings)
    if critical is not None:
        warnings += _beyond(tokens, critical)
    return Batch(tokens, interval, critical, _sources(asked, language), tuple(warnings))


def _of_evidence(asked: Asked, found: Gathered) -> float:
    """Return the batch of the best peak whose budget is nearest."""
    nearest = min(found.optima, key=lambda one: abs(math.log2(one.tokens / asked.tokens)))
    return nearest.batch


def _within(target: Target, asked: Asked, tokens: float, warnings: list[str]) -> float:
    """Return the batch within the budget and what the hardware takes."""
    most = target.max_batch_tokens
    if asked.batch is None and most is not None and tokens > most:
        warnings.append(
            f"the best batch is {tokens:.3g} tokens and the hardware takes {most:.3g}: the peak is that of the smaller "
            "one"
        )
        tokens = most
    return min(tokens, asked.tokens)


def _critical(asked: Asked) -> tuple[float, float]:
    values = [
        law(asked.parameters, asked.tokens)
        for name in CRITICAL
        if (law := LAWS[name].critical_batch) is not None
    ]
    return min(values), max(values)


def _beyond(tokens: float, critical: tuple[float, float]) -> list[str]:
    """Warn above the critical batch: of the tokens ``B / (B + B_c)`` save nothing but steps [McCandlish2018]."""
    low, high = critical
    if tokens <= low:
        return []
    least, most = tokens / (tokens + high), tokens / (tokens + low)
    where = "above every published critical batch" if tokens > high else "near the critical batch"
    return [
        f"a batch of {tokens:.3g} tokens is {where} ({low:.2g} to {high:.2g}): {100 * least:.0f} to {100 * most:.0f} % "
        "of its samples are wasted, as they save steps alone"
    ]


def _outside(law: PublishedLaw, tokens: float) -> float:
    low, high = law.tokens
    return max(0.0, math.log2(low / tokens), math.log2(tokens / high))


def _value(law: PublishedLaw, asked: Asked) -> float | None:
    """Return the best batch by a law, else its critical one."""
    one = law.batch or law.critical_batch
    return None if one is None else one(asked.parameters, asked.tokens)


def _sources(asked: Asked, language: bool) -> tuple[Source, ...]:
    if not language:
        return ()
    names = dict.fromkeys((PREFERRED, *COMPARED, *CRITICAL))
    return tuple(
        Source(
            kind="law",
            name=f"{law.name}: {law.source}",
            about="batch",
            value=_value(law, asked),
            covers=law.covers(asked.parameters, asked.tokens),
            trust=law.trust,
            holds=law.holds,
        )
        for law in (LAWS[name] for name in names)
    )
