"""Sizes and tokens on the OLMo ladder: small models fitted, the largest predicted, on four validation sets."""

import numpy as np
from pacesetter_search.laws import FinalLoss, SizeTokenLaw

from benchmarks.public_curves import LADDER_SETS, ladder_finals
from benchmarks.reporting import Report

Z90 = 1.645
FITS = {"190M and 370M": ("190M", "370M"), "190M": ("190M",), "nothing": ()}
"""Sizes whose finals are fitted."""


def sizes_and_tokens(report: Report) -> None:
    """Add errors of the largest model's final losses at five budgets, and how often 90 % intervals hold them."""
    for words, sizes in FITS.items():
        found = np.concatenate([_judged(ladder_finals(column), sizes) for column in LADDER_SETS])
        errors, spreads = found[:, 0], found[:, 1]
        name = f"ladder, 760M from {words}"
        report.row(
            f"{name}: mean error, 5 budgets on {len(LADDER_SETS)} sets",
            float(np.mean(np.abs(errors))),
            "",
        )
        report.row(f"{name}: largest error", float(np.max(np.abs(errors))), "")
        held = 100.0 * float(np.mean(np.abs(errors) <= Z90 * spreads))
        report.row(f"{name}: 90 % interval holds it, {errors.size} finals", held, "%")
        report.row(f"{name}: width of that interval", 2.0 * Z90 * float(np.mean(spreads)), "")


def _judged(finals: list[FinalLoss], sizes: tuple[str, ...]) -> np.ndarray:
    """Return relative error and sd of each final of 760M, (n, 2)."""
    law = SizeTokenLaw().fit([one for one in finals if one.name.split("-")[0] in sizes])
    large = [one for one in finals if one.name.startswith("760M")]
    found = law.predict([one.parameters for one in large], [one.tokens for one in large])
    truth = np.array([one.loss for one in large])
    return np.column_stack([found.mean / truth - 1.0, found.sd / found.mean])
