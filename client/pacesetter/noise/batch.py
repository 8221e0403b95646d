"""What a noise scale says of the batch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchAdvice:
    """A batch size, and why."""

    critical: float
    """Samples at which steps and samples cost alike: half of the steps of a huge batch's efficiency are lost below."""
    wasted_samples: float
    """Share of the samples that a smaller batch would have saved: ``B / (B + B_noise)``."""
    extra_steps: float
    """Steps over those of an endless batch, less one: ``B_noise / B``."""
    text: str


def advise_batch(
    noise_scale: float, batch: float, standard_error: float | None = None
) -> BatchAdvice:
    """Return what the noise scale says of a batch of ``batch`` samples [McCandlish2018].

    To the same loss a run takes ``1 + B_noise / B`` times the least steps, and ``1 + B / B_noise`` times the least
    samples.

    Args:
        noise_scale: ``B_noise`` in samples.
        batch: Samples of an optimizer step, over all ranks.
        standard_error: Of the noise scale; where it is large nothing is advised.

    Raises:
        ValueError: ``batch`` is not above 0, or the noise scale is below 0.
    """
    if not (batch > 0.0 and noise_scale >= 0.0):
        raise ValueError(f"a batch of {batch} and a noise scale of {noise_scale} are impossible")
    wasted = batch / (batch + noise_scale)
    extra = noise_scale / batch
    unsure = standard_error is not None and standard_error > 0.5 * noise_scale
    if unsure:
        text = f"the noise scale is {noise_scale:.3g} +- {standard_error:.2g} samples: too uncertain to advise by"
    elif extra > 4.0:
        times = (1.0 + extra) / (1.0 + extra / 4.0)
        text = (
            f"a batch of {batch:g} is far below the noise scale of {noise_scale:.3g}: four times as large it would "
            f"take {times:.2g} times fewer steps, for {4.0 / times:.2g} times the samples"
        )
    elif wasted > 0.8:
        more = (1.0 + 2.0 * extra) / (1.0 + extra)
        text = (
            f"a batch of {batch:g} is far above the noise scale of {noise_scale:.3g}: half of it would take {more:.2g} "
            f"times the steps, for {more / 2.0:.2g} times the samples"
        )
    else:
        text = f"a batch of {batch:g} fits the noise scale of {noise_scale:.3g}"
    return BatchAdvice(noise_scale, wasted, extra, text)


def adascale_gain(noise_scale: float, batch: float, larger: float) -> float:
    """Return by how much a larger batch may raise SGD's rate: AdaScale's gain, 1 to ``larger / batch``.

    ``(var + sqr) / (var / S + sqr)`` with ``var = tr(Sigma) / batch``, ``sqr = |G|^2`` and ``S = larger / batch``
    [Johnson2020, arXiv 2007.05105]; for Adam its root is used (AdaptDL).

    Args:
        noise_scale: ``B_noise`` in samples.
        batch: Samples that the rate was tuned at.
        larger: Samples now, as many or more.

    Raises:
        ValueError: ``larger`` is below ``batch``, or one of them is not above 0.
    """
    if not 0.0 < batch <= larger:
        raise ValueError(
            f"a batch of {larger} is not above {batch}; the gain is that of a larger one"
        )
    return relative_rate(noise_scale, larger) / relative_rate(noise_scale, batch)


def relative_rate(noise_scale: float, batch: float) -> float:
    """Return the best greedy learning rate at a batch over that of an endless one, ``1 / (1 + B_noise / B)``, for SGD.

    Under Adam the power is .5 to 1 [McCandlish2018].

    Raises:
        ValueError: ``batch`` is not above 0.
    """
    if not batch > 0.0:
        raise ValueError(f"a batch of {batch} is impossible")
    return 1.0 / (1.0 + noise_scale / batch)
