"""What a worker tells its processes."""

from dataclasses import dataclass
from typing import TypeAlias

from pacesetter.protocol import Trial

from pacesetter_workers.executors.base import Handle


@dataclass(frozen=True, slots=True)
class Run:
    """An order to run a trial."""

    handle: Handle
    trial: Trial


@dataclass(frozen=True, slots=True)
class Cancel:
    """An order to stop one at its next report."""

    handle: Handle


Order: TypeAlias = Run | Cancel
