"""``refinement``: a schedule from gradient norms, taken where it measures better than the base schedule."""

from pacesetter_search.strategies.refinement.strategy import Refinement

__all__ = ["Refinement"]
