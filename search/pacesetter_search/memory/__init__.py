"""What runs that have ended say of those to come."""

from pacesetter_search.memory.groups import LawGroup, fitted_of, law_key, obstacle
from pacesetter_search.memory.recorded import Recorded
from pacesetter_search.memory.recording import Known, record_of
from pacesetter_search.memory.records import CurveSource, FoundPeak, RunRecord

__all__ = [
    "CurveSource",
    "FoundPeak",
    "Known",
    "LawGroup",
    "Recorded",
    "RunRecord",
    "fitted_of",
    "law_key",
    "obstacle",
    "record_of",
]
