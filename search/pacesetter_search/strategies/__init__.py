"""Strategies, by name. Adding one is one file and one line here.

Modules are imported when they are asked for, and none imports torch or BoTorch at its top: the API process knows every
strategy and loads no tensor library.
"""

from importlib import import_module

from pacesetter.errors import PacesetterError

from pacesetter_search.contract import JobFacts, Strategy

_STRATEGIES = {
    "autolrs": "pacesetter_search.strategies.autolrs:AutoLRS",
    "fedhyper": "pacesetter_search.strategies.fedhyper:FedHyper",
    "fixed": "pacesetter_search.strategies.fixed:Fixed",
    "hypergradient": "pacesetter_search.strategies.hypergradient:HypergradientStrategy",
    "law": "pacesetter_search.strategies.law:LawStrategy",
    "manual": "pacesetter_search.strategies.manual:Manual",
    "proxy": "pacesetter_search.strategies.proxy:ProxyStrategy",
    "refinement": "pacesetter_search.strategies.refinement:Refinement",
    "snr": "pacesetter_search.strategies.snr:SNR",
    "wsd_branch": "pacesetter_search.strategies.wsd_branch:WSDBranch",
    "zero_tuning": "pacesetter_search.strategies.zero_tuning:ZeroTuning",
}


class UnknownStrategy(PacesetterError, LookupError):
    """No strategy has this name."""


def strategy_names() -> tuple[str, ...]:
    """Return the names of all strategies, sorted."""
    return tuple(sorted(_STRATEGIES))


def get_strategy(name: str) -> type[Strategy]:
    """Return the strategy called ``name``.

    Raises:
        UnknownStrategy: There is none; the message lists those there are.
    """
    if name not in _STRATEGIES:
        raise UnknownStrategy(
            f"there is no strategy {name!r}; choose one of {', '.join(strategy_names())}"
        )
    module, _, attribute = _STRATEGIES[name].partition(":")
    strategy: type[Strategy] = getattr(import_module(module), attribute)
    return strategy


def default_strategy(job: JobFacts) -> str:
    """Return the strategy for a job that names none.

    One that names proxies listens to them. Else always ``fixed``, for now: no search here has yet been shown to end
    better than a published schedule at the same total number of steps, and a default has to.
    """
    return "fixed" if job.proxies is None else "proxy"


__all__ = ["UnknownStrategy", "default_strategy", "get_strategy", "strategy_names"]
