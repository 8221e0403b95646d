"""What users may set of ``proxy``."""

from typing import Literal

from pydantic import Field

from pacesetter_search.strategies.zero_tuning.parameters import ZeroTuningParameters


class ProxyParameters(ZeroTuningParameters):
    """Parameters of ``proxy``: those of ``zero_tuning``, and its own."""

    probe_share: float = Field(default=1.0, ge=0.0, le=1.0)
    """Share of the overhead cap that the job may probe with before its main line begins, where it can roll back: the
    first proxies speak after an eighth of the budget, as a rule. 0: it begins at once, at what is known beforehand."""
    trust_proxies: float = Field(default=0.9, gt=0.0, le=1.0)
    """Probability that what holds for the proxies holds for the job; else their answer says nothing of it."""
    move_until: float = Field(default=0.6, gt=0.0, lt=1.0)
    """Share of the budget after which the main line is moved no more."""
    start_over: bool = True
    """Whether the job may start again from its untrained model where that pays, within its overhead cap."""
    then: Literal["schedule"] = "schedule"
    """What follows once the main line runs: the chosen schedule, moved as proxies speak."""
