"""Says each lasting condition once, and says when it is over."""

import logging
import threading

logger = logging.getLogger("pacesetter")


class Conditions:
    """Lasting conditions of one job (service away, disk full, ...), each logged at its begin and its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: set[str] = set()

    def begin(self, code: str, message: str, *, level: int = logging.WARNING) -> None:
        """Log ``message`` unless the condition ``code`` lasts already."""
        with self._lock:
            if code in self._active:
                return
            self._active.add(code)
        logger.log(level, "%s", message)

    def end(self, code: str, message: str) -> None:
        """Log ``message`` if the condition ``code`` lasted until now."""
        with self._lock:
            if code not in self._active:
                return
            self._active.remove(code)
        logger.info("%s", message)

    def lasts(self, code: str) -> bool:
        """Return whether the condition ``code`` has begun and not ended."""
        return code in self._active
