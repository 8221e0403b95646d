"""Rules that carry settings over from one run to another, and what a batch costs."""

from dataclasses import dataclass

from pacesetter_search.transfer.published.law import PublishedLaw

ANY_REGIME = frozenset(
    {"pretrain", "continued", "finetune", "lora", "preference", "rl", "vision", "other"}
)

ROUNDING = 1e-9


def batch_rescaled(lr: float, factor: float) -> float:
    """Return the rate for a batch ``factor`` times as large by Adam's SDE rule, ``lr sqrt(factor)`` [arXiv 2205.10287].

    Its betas move as well, ``1 - beta`` by the factor. It holds while that stays well below 1 and below the best batch.
    """
    return float(lr * factor**0.5)


@dataclass(frozen=True, slots=True)
class AdamSettings:
    """What Adam is set to."""

    lr: float
    beta1: float
    beta2: float
    eps: float


def adam_rescaled(settings: AdamSettings, factor: float) -> AdamSettings:
    """Return Adam's settings for a batch ``factor`` times as large by the SDE rule [Malladi2022, arXiv 2205.10287].

    Rate by ``sqrt(factor)``, ``1 - beta`` of both by the factor, eps by its inverse root: the paths are then alike.

    Raises:
        ValueError: The factor is not above 0, or so large that an average would hold less than one step.
    """
    if not factor > 0.0:
        raise ValueError(f"a batch cannot be {factor} times as large; give a factor above 0")
    shortest = 1.0 - min(settings.beta1, settings.beta2)
    if factor * shortest > 1.0 - ROUNDING:
        raise ValueError(
            f"a batch {factor:g} times as large would need 1 - beta of {factor * shortest:g}; the rule holds for "
            f"factors well below {1.0 / shortest:g}"
        )
    return AdamSettings(
        lr=batch_rescaled(settings.lr, factor),
        beta1=1.0 - factor * (1.0 - settings.beta1),
        beta2=1.0 - factor * (1.0 - settings.beta2),
        eps=settings.eps / factor**0.5,
    )


def steps_over_least(batch: float, critical: float) -> float:
    """Return how many times the least steps a run takes at a batch, ``1 + B_c / B`` [McCandlish2018]."""
    return 1.0 + critical / batch


def tokens_over_least(batch: float, critical: float) -> float:
    """Return how many times the least tokens a run takes at a batch, ``1 + B / B_c`` [McCandlish2018]."""
    return 1.0 + batch / critical


@dataclass(frozen=True, slots=True)
class CompleteP:
    """What Adam's settings are multiplied by as a model gets wider and deeper, so that its best base rate stays.

    Table 8 of muP with depth by CompleteP, alpha = 1 [arXiv 2203.03466; arXiv 2505.01618]; at width and depth of the
    base all are 1. Embeddings, readout, biases and gains keep rate and decay.

    Attributes:
        width: Over the base width.
        depth: Over the base depth.
    """

    width: float
    depth: float = 1.0

    @property
    def hidden_lr(self) -> float:
        """Of hidden matrices."""
        return 1.0 / self.width

    @property
    def hidden_weight_decay(self) -> float:
        """Of hidden matrices, where decay is multiplied by the rate: their product stays."""
        return self.width

    @property
    def hidden_eps(self) -> float:
        """Of hidden matrices within residual branches."""
        return 1.0 / (self.width * self.depth)

    @property
    def residual(self) -> float:
        """Of what a residual branch adds."""
        return 1.0 / self.depth

    @property
    def output(self) -> float:
        """Of logits."""
        return 1.0 / self.width

    @property
    def hidden_deviation(self) -> float:
        """Of the initial standard deviation of hidden matrices."""
        return float(self.width**-0.5)


RULES = (
    PublishedLaw(
        name="adam_sde",
        source="arXiv 2205.10287",
        trust="memory",
        units="ratios of batches",
        holds="betas and eps move too (adam_rescaled); factor times 1 - beta below 1, a batch below the best one",
        parametrization="any",
        regimes=ANY_REGIME,
        carry=lambda lr, change: batch_rescaled(lr, change.batch),
    ),
    PublishedLaw(
        name="sgd_linear",
        source="arXiv 1706.02677; arXiv 2205.10287",
        trust="memory",
        units="ratios of batches",
        holds="SGD, a batch below the critical one",
        parametrization="any",
        optimizers=frozenset({"sgd"}),
        regimes=ANY_REGIME,
        carry=lambda lr, change: lr * change.batch,
    ),
    PublishedLaw(
        name="mccandlish",
        source="arXiv 1812.06162",
        trust="memory",
        units="the noise scale in the unit of the batch",
        holds="a noise scale that is measured (pacesetter.noise), or a critical batch in its place",
        parametrization="any",
        regimes=ANY_REGIME,
    ),
    PublishedLaw(
        name="complete_p",
        source="arXiv 2203.03466; arXiv 2505.01618",
        trust="second_hand",
        units="ratios of width and depth to the base model",
        holds="Adam, one budget and one batch: neither tokens, nor batch, nor weight decay transfer by it",
        parametrization="mup",
        carry=lambda lr, _: lr,
    ),
    PublishedLaw(
        name="lora",
        source="LoRA Without Regret [Schulman2025]",
        trust="second_hand",
        units="ratio to full fine-tuning of the same model and data",
        holds="adapters on all layers, alpha 32; about 10 times, 15 in very short runs",
        parametrization="any",
        regimes=frozenset({"lora"}),
        carry=lambda lr, _: 10.0 * lr,
    ),
)
