"""How a run behaves."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """How a run behaves; every field is an argument of :func:`pacesetter.attach`."""

    waiting_seconds: float = 30.0
    register_seconds: float = 10.0
    sync_every: int = 10
    lag_steps: int = 0
    on_device: bool = False
    buffer_batches: int = 64
    statistics: tuple[str, ...] = ()
    rollback_required: bool = False
    on_branch: Callable[[str], None] | None = None
