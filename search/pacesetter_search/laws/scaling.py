r"""Size and tokens: what a model of N parameters ends with after D tokens [Hoffmann2022, arXiv 2203.15556].

.. math::
    L = E + A N^{-\alpha} + B D^{-\beta}

with N without embeddings. Fitted to the final losses of whole runs, robustly on log loss, with a prior: from no finals
at all it gives what was published, with the width that other data and another tokenizer deserve, and finals narrow it.
The posterior is normal around its mode (Laplace); the terms are positive, so it falls with N and with D everywhere.

Limits: finals must share data, tokenizer and a schedule that fits its length, at about the best peak; data that are
seen again, and a peak that is off, are not in it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from pacesetter_search.laws.base import LawNotFitted, Prediction
from pacesetter_search.laws.curves import FloatArray

PUBLISHED = (1.69, 406.4, 410.7, 0.34, 0.28)
"""E, A, B, alpha and beta: approach 3 of Hoffmann et al."""

REFERENCE = (1e9, 5e10)
"""N and D in the middle of what that was fitted on (70M to 16B, 5e9 to 5e11 tokens): the prior is on the terms there,
as A and B by themselves are tied to their exponents."""

PRIOR_SD = (0.3, 0.3, 0.3, 0.15, 0.25)
"""Of the logarithms of E, of the two terms at the reference, and of the exponents. Levels differ by tens of per cent
from one data set and tokenizer to the next; a re-fit of the published runs [Besiroglu2024, arXiv 2404.10102] moves the
exponents by .02 and .27, and E by .07."""

LAW_SD = 0.0065
"""Relative error of the form itself on one final, beside the final's own sd: the scatter of ten finals of 190M and 370M
around their fit, on four validation sets of the OLMo ladder (.0052 to .0083, for the parameters that were free)."""

ROBUST = 1.5
"""Sds of a final from which on it counts in proportion and no longer squared."""

FEWEST = (1e4, 1e6)
"""Parameters and tokens below which a unit was probably left out: billions given as ones."""

FAR = 3.0
"""Ratio to what was published from which on a loss is probably none in nats a token."""

ROUNDS = 100
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class FinalLoss(BaseModel):
    """What a whole run ended with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parameters: Positive
    """Without embeddings."""
    tokens: Positive
    """Of the whole run."""
    loss: Positive
    sd: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    """Of the loss, in nats: noise of its measurement and of the seed."""
    name: str = Field(min_length=1, max_length=200)


class SizeTokenLaw:
    """Fits the law to finals of one data set; none at all give the prior.

    Args:
        mean: E, A, B, alpha and beta that are expected.
        sd: Of the logarithms of E, of the two terms at 1e9 parameters and 5e10 tokens, and of alpha and beta.
    """

    def __init__(
        self,
        mean: tuple[float, float, float, float, float] = PUBLISHED,
        sd: tuple[float, float, float, float, float] = PRIOR_SD,
    ) -> None:
        floor, size, data, alpha, beta = mean
        terms = size * REFERENCE[0] ** -alpha, data * REFERENCE[1] ** -beta
        self.mean: FloatArray = np.log([floor, *terms, alpha, beta])
        self.sd = np.array(sd)

    def fit(self, finals: Sequence[FinalLoss] = ()) -> "FittedSizeToken":
        """Return the posterior after ``finals``.

        Raises:
            LawNotFitted: Two of them share a name.
        """
        names = [final.name for final in finals]
        if len(set(names)) < len(names):
            raise LawNotFitted(
                "two finals share a name, by which their influence is told; name them apart"
            )
        observed = np.array([(f.parameters, f.tokens, f.loss, f.sd) for f in finals]).reshape(-1, 4)
        theta = self._mode(observed)
        weights, off, jacobian = self._weighted(theta, observed)
        data = jacobian.T @ (weights[:, None] * jacobian)
        covariance = np.linalg.inv(np.diag(self.sd**-2.0) + data)
        used = float(np.trace(covariance @ data))
        excess = _excess(off * np.sqrt(weights), used)
        # One Newton step from another loss: what each relative change of a final does to the parameters.
        pulls = covariance @ (weights[:, None] * jacobian).T
        return FittedSizeToken(
            parameters=tuple(float(value) for value in theta),
            covariance=tuple(tuple(float(value) for value in row) for row in excess * covariance),
            law_sd=float(LAW_SD * np.sqrt(excess)),
            pulls={
                name: tuple(float(value) for value in pull)
                for name, pull in zip(names, pulls.T, strict=True)
            },
            warnings=tuple(_warnings(finals)),
        )

    def _mode(self, observed: FloatArray) -> FloatArray:
        from scipy.optimize import least_squares

        logs = np.log(observed[:, 2])
        scale = _scale(observed)

        def residuals(theta: FloatArray) -> FloatArray:
            found = (np.log(_loss(theta, observed[:, 0], observed[:, 1])[0]) - logs) / scale
            return np.append(_robust(found), (theta - self.mean) / self.sd)

        found = least_squares(residuals, self.mean, x_scale=self.sd, max_nfev=ROUNDS)
        theta: FloatArray = found.x
        return theta

    def _weighted(
        self, theta: FloatArray, observed: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return how much each final counts at the mode, its residual of log loss, and the derivatives, (n, 5)."""
        losses, gradient = _loss(theta, observed[:, 0], observed[:, 1])
        scale = _scale(observed)
        off = np.log(losses) - np.log(observed[:, 2])
        weights = np.minimum(1.0, ROBUST * scale / np.maximum(np.abs(off), 1e-12)) * scale**-2.0
        return weights, off, gradient / losses[:, None]


class FittedSizeToken(BaseModel):
    """The posterior, as logarithms of E, of the two terms at the reference, and of alpha and beta."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha", "beta")

    kind: Literal["size_token"] = "size_token"
    parameters: tuple[float, float, float, float, float]
    covariance: tuple[tuple[float, float, float, float, float], ...]
    law_sd: float = Field(ge=0.0)
    """Relative error of the form on one run: the usual one, or more where the finals scatter more."""
    pulls: dict[str, tuple[float, float, float, float, float]]
    """How far the parameters move with the logarithm of each final, by its name."""
    warnings: tuple[str, ...] = ()

    @property
    def coefficients(self) -> dict[str, float]:
        """E, A, B, alpha and beta as published laws print them."""
        floor, size, data, alpha, beta = np.exp(self.parameters)
        values = floor, size * REFERENCE[0] ** alpha, data * REFERENCE[1] ** beta, alpha, beta
        return {name: float(value) for name, value in zip(self.names, values, strict=True)}

    def predict(self, parameters: ArrayLike, tokens: ArrayLike) -> Prediction:
        """Return mean and sd of the final loss of a run, the law's own error in it.

        Args:
            parameters: (n,) sizes without embeddings.
            tokens: (n,) tokens of the whole run; the two are broadcast.

        Raises:
            ValueError: A size or a number of tokens is not above zero.
        """
        mean, gradient = self._at(parameters, tokens)
        relative = np.einsum("ni,ij,nj->n", gradient, np.array(self.covariance), gradient)
        return Prediction(mean, mean * np.sqrt(relative + self.law_sd**2))

    def influence(self, parameters: float, tokens: float) -> Mapping[str, float]:
        """Return by which share of itself the prediction moves, per share that each final moves by, by its name.

        Raises:
            ValueError: The size or the number of tokens is not above zero.
        """
        _, gradient = self._at(parameters, tokens)
        return {name: float(gradient[0] @ np.array(pull)) for name, pull in self.pulls.items()}

    def _at(self, parameters: ArrayLike, tokens: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return losses (n,) and derivatives of their logarithms (n, 5)."""
        sizes, data = np.broadcast_arrays(
            np.atleast_1d(np.asarray(parameters, dtype=np.float64)),
            np.atleast_1d(np.asarray(tokens, dtype=np.float64)),
        )
        if not np.all((sizes > 0.0) & (data > 0.0) & np.isfinite(sizes) & np.isfinite(data)):
            raise ValueError(
                "parameters and tokens must be above zero and finite; give the size without embeddings, "
                "and the tokens of the whole run"
            )
        mean, gradient = _loss(np.array(self.parameters), sizes, data)
        return mean, gradient / mean[:, None]


def _loss(theta: FloatArray, sizes: FloatArray, data: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return losses (n,) and their derivatives by the five logarithms (n, 5)."""
    floor, size, tokens, alpha, beta = np.exp(theta)
    logs = np.log(sizes / REFERENCE[0]), np.log(data / REFERENCE[1])
    by_size, by_data = size * np.exp(-alpha * logs[0]), tokens * np.exp(-beta * logs[1])
    columns = [
        np.full_like(by_size, floor),
        by_size,
        by_data,
        -alpha * logs[0] * by_size,
        -beta * logs[1] * by_data,
    ]
    return floor + by_size + by_data, np.column_stack(columns)


def _scale(observed: FloatArray) -> FloatArray:
    """Return the sd of each final's log loss around the law, (n,)."""
    result: FloatArray = np.hypot(observed[:, 3] / observed[:, 2], LAW_SD)
    return result


def _excess(residuals: FloatArray, used: float) -> float:
    """Return by how much the squares of standard residuals (n,) exceed what they should be; 1 where they do not."""
    free = residuals.size - used
    return max(1.0, float(np.sum(residuals**2)) / free) if free >= 1.0 else 1.0


def _robust(residuals: FloatArray) -> FloatArray:
    """Return what has Huber's cost as its square."""
    size = np.abs(residuals)
    grown = np.sqrt(np.maximum(2.0 * ROBUST * size - ROBUST**2, ROBUST**2))
    return np.where(size <= ROBUST, residuals, np.sign(residuals) * grown)


def _oddities(final: FinalLoss) -> list[str]:
    floor, size, data, alpha, beta = PUBLISHED
    expected = floor + size * final.parameters**-alpha + data * final.tokens**-beta
    if final.parameters < FEWEST[0] or final.tokens < FEWEST[1]:
        return [
            f"{final.name} has {final.parameters:g} parameters and {final.tokens:g} tokens: are both in units of one?"
        ]
    if not 1.0 / FAR < final.loss / expected < FAR:
        return [
            f"{final.name} ended at {final.loss:g}, and {expected:.2g} is what was published for its size and tokens: "
            "is it in nats a token?"
        ]
    return []


def _warnings(finals: Sequence[FinalLoss]) -> list[str]:
    if not finals:
        return ["no final loss is known; this is what was published for other data"]
    found = [odd for final in finals for odd in _oddities(final)]
    for what, values in (
        ("size", [final.parameters for final in finals]),
        ("number of tokens", [final.tokens for final in finals]),
    ):
        if max(values) < 1.5 * min(values):
            found.append(
                f"all finals are of one {what}, so how the loss depends on it is what was published"
            )
    return found
