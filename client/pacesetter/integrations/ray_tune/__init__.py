"""Ray Tune: its trials as jobs of the service, and the service as its search algorithm."""

try:
    import ray.tune  # noqa: F401
except ImportError as error:
    raise ImportError(
        'pacesetter.integrations.ray_tune needs Ray Tune, which is not installed: pip install "pacesetter[ray]"'
    ) from error

from pacesetter.integrations.ray_tune.callback import PacesetterCallback
from pacesetter.integrations.ray_tune.searcher import PacesetterSearcher

__all__ = ["PacesetterCallback", "PacesetterSearcher"]
