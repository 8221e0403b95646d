"""``autolrs``: the published on-the-fly search over learning rates [Jin2021], without the release's defects."""

from pacesetter_search.strategies.autolrs.parameters import AutoLRSParameters
from pacesetter_search.strategies.autolrs.strategy import AutoLRS

__all__ = ["AutoLRS", "AutoLRSParameters"]
