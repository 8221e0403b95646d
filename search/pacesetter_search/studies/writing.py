"""A study's answer as a document, and its cells as evidence for a recommendation."""

from collections.abc import Callable
from dataclasses import asdict

from pacesetter.protocol import Evidence
from pydantic import JsonValue

from pacesetter_search.studies.cells import Cell
from pacesetter_search.studies.result import SAYS_NOTHING, CellOptimum, TransferStudy


def document(study: TransferStudy) -> dict[str, JsonValue]:
    """Return a study's answer as JSON: rates as they are, uncertainties in octaves."""
    return {
        "target": {**asdict(study.target)},
        "lr": study.lr,
        "log2_lr": study.peak.mean,
        "sd_octaves": study.peak.sd,
        "lr_50": [*study.interval_50],
        "lr_90": [*study.interval_90],
        "dominant_uncertainty": study.dominant,
        "terms": {**study.peak.terms},
        "slopes": {name: {"mean": mean, "sd": sd} for name, (mean, sd) in study.slopes.items()},
        "relative_loss_of_missing": study.relative_loss_of_missing,
        "flops": study.flops,
        "share": study.share,
        "cells": [_cell(one) for one in study.cells],
        "warnings": [*study.warnings],
    }


def _cell(one: CellOptimum) -> dict[str, JsonValue]:
    found = one.found
    return {
        **asdict(one.cell),
        "tokens": one.tokens,
        "trials": one.trials,
        "diverged": one.diverged,
        "lr": one.lr,
        "sd_octaves": None if found is None else found.sd,
        "edge": None if found is None else found.edge,
        "best_lr": one.best_lr,
        "best_loss": one.best_loss,
    }


def evidence(
    study: TransferStudy,
    parameters: Callable[[Cell], float],
    *,
    base_width: float = 1.0,
    base_depth: float = 1.0,
    experiment: str | None = None,
) -> tuple[Evidence, ...]:
    """Return the cells that say where their best rate lies, as a recommendation takes them.

    Args:
        study: Whose.
        parameters: How many a model of a cell has, without embeddings.
        base_width: Width of the family's base model, which ratios are taken over.
        base_depth: Likewise.
        experiment: Id of the experiment, where its trials are on record where the recommendation is asked for.
    """
    told = []
    for one in study.cells:
        if one.found is None or one.lr is None or one.found.sd > SAYS_NOTHING:
            continue
        told.append(
            Evidence(
                parameters=parameters(one.cell),
                tokens=one.tokens,
                batch_tokens=one.tokens / one.cell.steps,
                width_ratio=one.cell.width / base_width,
                depth_ratio=one.cell.depth / base_depth,
                lr=one.lr,
                sd_octaves=one.found.sd,
                experiment=experiment,
                name=f"width {one.cell.width:g}, depth {one.cell.depth:g}, {one.cell.steps:g} steps",
            )
        )
    return tuple(told)
