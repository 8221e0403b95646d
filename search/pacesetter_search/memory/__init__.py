"""What runs that have ended say of those to come."""

from pacesetter_search.memory.records import FoundPeak, RunRecord

__all__ = ["FoundPeak", "RunRecord"]
