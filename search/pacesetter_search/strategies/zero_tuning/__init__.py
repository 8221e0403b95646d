"""``zero_tuning``: the peak learning rate from short runs at the start of the job."""

from pacesetter_search.strategies.zero_tuning.strategy import ZeroTuning

__all__ = ["ZeroTuning"]
