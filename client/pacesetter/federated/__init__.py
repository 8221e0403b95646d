"""Learning rates of federated rounds that follow the agreement of successive updates."""

from pacesetter.federated.rates import ClientLocalRate, GlobalRate, ServerLocalRate, dot

__all__ = ["ClientLocalRate", "GlobalRate", "ServerLocalRate", "dot"]
