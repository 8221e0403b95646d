"""``pacesetter recommend``: ask what to run, and print the answer."""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from pacesetter.errors import ConfigurationError
from pacesetter.protocol import (
    Alternative,
    Evidence,
    Objective,
    Parametrization,
    Recommendation,
    Regime,
    Source,
    Sweep,
    Target,
)
from pacesetter.recommending import recommend

Writer = Callable[[str], object]

SHOWN = 5
"""Alternatives of a readable answer."""

COUNTS = {
    "parameters": "of the model, without embeddings",
    "tokens": "of the whole budget, all epochs",
    "batch-tokens": "of an optimizer step (default: chosen)",
    "max-batch-tokens": "most that the hardware takes in a step",
    "steps": "of the whole budget, where they are fixed",
    "warmup-steps": "where they are fixed",
    "width-ratio": "over the family's base width",
    "depth-ratio": "over the family's base depth",
    "epochs": "how often the data are seen",
    "momentum": "of SGD's buffer",
    "beta2": "of Adam, where it is fixed",
    "floor": "share of the peak that the schedule has to end at",
}
"""Options that are numbers, with what they say of the target."""

WORDS = {
    "family": "what code, data and tokenizer have in common",
    "optimizer": "its class (default: adamw)",
    "schedule-family": "that the schedule has to be of, such as wsd",
}


def add_parser(commands: Any) -> None:
    """Add ``recommend`` to the subcommands of an ``ArgumentParser``."""
    parser = commands.add_parser("recommend", help="what to run at a size and a token budget")
    for name, text in COUNTS.items():
        parser.add_argument(f"--{name}", type=float, metavar="N", help=text)
    for name, text in WORDS.items():
        parser.add_argument(f"--{name}", help=text)
    parser.add_argument("--regime", choices=get_args(Regime))
    parser.add_argument("--parametrization", choices=get_args(Parametrization))
    parser.add_argument("--objective", metavar="NAME", help="where it is not the loss")
    parser.add_argument("--maximize", action="store_true", help="the objective is to be large")
    parser.add_argument(
        "--extendable", action="store_true", help="the run may be made longer later"
    )
    parser.add_argument(
        "--borrow", action="store_true", help="a neighbouring regime may speak where none does"
    )
    parser.add_argument(
        "--evidence",
        type=Path,
        metavar="FILE",
        help='JSON of what was measured: {"evidence": [...], "sweeps": [...]}',
    )
    parser.add_argument("--json", action="store_true", help="print the whole answer as JSON")
    parser.add_argument("--url", help="the service (else PACESETTER_URL)")
    parser.add_argument("--token", help="a token that may read (else PACESETTER_TOKEN)")


def run(options: argparse.Namespace, write: Writer) -> int:
    """Ask and print; return the exit code: 1 where nothing is known.

    Raises:
        ConfigurationError: The target is impossible, the file cannot be read, or no service is set.
        ServiceError: The service refused the question, or did not answer.
    """
    measured = _measured(options.evidence)
    found = recommend(target_of(options), **measured, url=options.url, token=options.token)
    if options.json:
        write(found.model_dump_json(indent=2) + "\n")
    else:
        write("\n".join(lines_of(found)) + "\n")
    return 0 if found.status == "ok" else 1


def target_of(options: argparse.Namespace) -> Target:
    """Return the target that the command line describes.

    Raises:
        ConfigurationError: It is impossible.
    """
    given = {
        name.replace("-", "_"): value
        for name in (*COUNTS, *WORDS, "regime", "parametrization")
        if (value := getattr(options, name.replace("-", "_"))) is not None
    }
    if options.objective or options.maximize:
        mode = "max" if options.maximize else "min"
        given["objective"] = Objective(name=options.objective or "loss", mode=mode)
    flags = {"extendable": options.extendable, "borrow": options.borrow}
    try:
        return Target.model_validate({**given, **flags})
    except ValidationError as error:
        raise ConfigurationError(_sentences(error)) from None


def lines_of(found: Recommendation) -> Iterator[str]:
    """Return a recommendation as lines for people."""
    if found.status == "no_evidence":
        yield f"Nothing is recommended: {'; '.join(found.warnings)}."
        if found.study is not None:
            yield f"The cheapest study: {found.study.text}."
        return
    yield from _settings(found)
    yield from _loss(found)
    yield from _alternatives(found.alternatives)
    yield from _sources(found.evidence)
    for warning in found.warnings:
        yield f"! {warning}"


def _settings(found: Recommendation) -> Iterator[str]:
    yield _row("peak learning rate", found.lr, _between("50 %", found.lr_50, "90 %", found.lr_90))
    if found.dominant_uncertainty:
        yield _row("", None, found.dominant_uncertainty)
    yield _row(
        "batch, tokens",
        found.batch_tokens,
        _between("90 %", found.batch_90, "critical", found.critical_batch_tokens),
    )
    if found.weight_decay is not None:
        yield _row("weight decay", found.weight_decay, _between("90 %", found.weight_decay_90))
        yield _row("  its timescale", found.timescale, "of the run")
    if found.weight_decay_hidden is not None:
        yield _row("  of hidden matrices", found.weight_decay_hidden, "")
    if found.beta2 is not None:
        yield _row("beta2", found.beta2, "")
    if found.schedule is not None:
        yield _row("schedule", None, found.schedule.describe())


def _loss(found: Recommendation) -> Iterator[str]:
    if found.loss is not None:
        interval = _between("50 %", found.loss.interval_50, "90 %", found.loss.interval_90)
        yield _row("expected loss", found.loss.mean, f"{interval}, {found.loss.basis}")
    if found.relative_loss_of_missing is not None:
        share = f"{100 * found.relative_loss_of_missing:.2g} %"
        yield _row("missing the peak", None, f"is expected to cost {share} of the loss")


def _alternatives(alternatives: Iterable[Alternative]) -> Iterator[str]:
    shown = list(alternatives)[:SHOWN]
    if shown:
        yield "other schedules, best first:"
    for one in shown:
        yield f"  {one.rank:>2} {one.name:<16} peak {one.lr:<9.3g} {_gain(one)}".rstrip()


def _gain(one: Alternative) -> str:
    if one.gain is not None:
        return f"{100 * one.gain:+.2f} % over {one.over} is likely"
    if one.gain_range is not None:
        low, high = (100 * share for share in one.gain_range)
        return f"{low:+.2f} to {high:+.2f} % over {one.over} as published"
    return ""


def _sources(evidence: Iterable[Source]) -> Iterator[str]:
    yield "this rests on:"
    for one in evidence:
        if one.weight or one.loss_weight:
            parts = [
                f"{one.weight:.2f} octaves an octave" if one.weight else "",
                f"{one.loss_weight:.2f} of the loss" if one.loss_weight else "",
            ]
            yield f"  {one.name}: {', '.join(part for part in parts if part)}"


def _row(name: str, value: float | None, text: str) -> str:
    number = "" if value is None else f"{value:.4g}"
    return f"{name:<20} {number:<10} {text}".rstrip()


def _between(*pairs: Any) -> str:
    """Return intervals as text, from alternating labels and ranges; ranges that are None are left out."""
    found = []
    for label, interval in zip(pairs[::2], pairs[1::2], strict=True):
        if interval is not None:
            found.append(f"{label} {interval[0]:.3g} to {interval[1]:.3g}")
    return ", ".join(found)


def _measured(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read as JSON: {error}") from None
    unknown = set(document) - {"evidence", "sweeps"} if isinstance(document, dict) else {"a list"}
    if unknown:
        raise ConfigurationError(
            f"{path} has {', '.join(sorted(unknown))}; expected an object with evidence and sweeps"
        )
    try:
        return {
            "evidence": TypeAdapter(list[Evidence]).validate_python(document.get("evidence", [])),
            "sweeps": TypeAdapter(list[Sweep]).validate_python(document.get("sweeps", [])),
        }
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {_sentences(error)}") from None


def _sentences(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}".removeprefix(": ")
        for one in error.errors()
    )
