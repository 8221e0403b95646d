"""States of the training, kept under names and brought back bit for bit."""

from pacesetter.checkpoints.base import CheckpointStore
from pacesetter.checkpoints.opening import open_store
from pacesetter.checkpoints.rolling import RollingSnapshots

__all__ = ["CheckpointStore", "RollingSnapshots", "open_store"]
