"""``law``: the rest of the schedule is planned anew where laws of loss curves see a better end; nothing is probed."""

from pacesetter_search.strategies.law.strategy import LawStrategy

__all__ = ["LawStrategy"]
