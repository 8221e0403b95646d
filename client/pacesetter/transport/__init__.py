"""Records to the service and segments back, in the background of a training job."""

from pacesetter.transport.base import Bell, MakeRecord, Transport, UnreadableSegment
from pacesetter.transport.http import HttpTransport
from pacesetter.transport.offline import NullTransport, OfflineTransport
from pacesetter.transport.opening import Mode, open_transport
from pacesetter.transport.timing import Timing

__all__ = [
    "Bell",
    "HttpTransport",
    "MakeRecord",
    "Mode",
    "NullTransport",
    "OfflineTransport",
    "Timing",
    "Transport",
    "UnreadableSegment",
    "open_transport",
]
