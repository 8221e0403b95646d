"""Surrogates of a job's response to its learning rate.

``responses`` is NumPy only; ``gaussian_process`` and ``acquisition`` load torch and BoTorch, so import them where a
decision needs them, never at the top of a strategy.
"""

from pacesetter_search.surrogates.responses import Response, TrainingSet, finite, training_set

__all__ = ["Response", "TrainingSet", "finite", "training_set"]
