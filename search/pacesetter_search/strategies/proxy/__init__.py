"""``proxy``: the peak comes from proxy runs beside the job, live, after a look of the job's own."""

from pacesetter_search.strategies.proxy.strategy import ProxyStrategy

__all__ = ["ProxyStrategy"]
