"""``autolrs`` with ``objective="horizon"``: candidates are scored by the loss predicted at the end of the budget."""

from pacesetter_search.strategies.horizon.parameters import HorizonParameters
from pacesetter_search.strategies.horizon.strategy import Horizon

__all__ = ["Horizon", "HorizonParameters"]
