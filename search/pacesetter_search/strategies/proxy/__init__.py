"""``proxy``: the peak comes from proxy runs beside the job, live; nothing is probed in the job itself."""

from pacesetter_search.strategies.proxy.strategy import ProxyStrategy

__all__ = ["ProxyStrategy"]
