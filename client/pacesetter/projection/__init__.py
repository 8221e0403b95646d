"""Normalise and project (NaP): weights held at their initial norm, so that the learning rate is the effective one.

Behind a normalisation layer only the direction of a weight matters, and a step turns it by the learning rate over its
norm (squared, for SGD). A norm that grows is thus a decay of the learning rate that nobody planned. Projection takes it
away: what the schedule says is what the layers get [Lyle2024, arXiv 2407.01800].
"""

from pacesetter.projection.effective import effective_learning_rates
from pacesetter.projection.invariance import LayerScaling, scale_invariance
from pacesetter.projection.projecting import NormProjection

__all__ = ["LayerScaling", "NormProjection", "effective_learning_rates", "scale_invariance"]
