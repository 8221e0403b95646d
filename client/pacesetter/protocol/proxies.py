"""Proxy runs beside a job: what its peak learning rate is taken from while it trains."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pacesetter.protocol.base import Message, Name
from pacesetter.protocol.choices import StrategyChoice
from pacesetter.protocol.experiments import MAX_PARAMETERS, MAX_TRIALS, Parameter, Proxy, Value

Dimension = Literal["width", "depth", "steps", "batch"]
"""What best learning rates are compared over."""

Size = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class ProxySearch(Message):
    """A search over proxy runs that a job listens to: an experiment that there is, or one that begins with the job."""

    experiment: Name | None = None
    """Id of an experiment of the project. None: one begins with the job, and ends with it."""
    proxy: Proxy | None = None
    """What workers run then: a built-in proxy, or an entry point that their operators allow."""
    space: dict[Name, Parameter] = Field(default_factory=dict, max_length=MAX_PARAMETERS)
    """What is searched. Without ``lr``: rates around the job's own. Without ``steps`` here or in ``fixed``: a
    sixteenth, an eighth and a quarter of the job's."""
    fixed: dict[Name, Value] = Field(default_factory=dict, max_length=MAX_PARAMETERS)
    """What every trial is given as it is."""
    strategy: StrategyChoice = StrategyChoice()
    """No name: ``rungs`` where the space has learning rate and steps alone, else ``fidelity``."""
    max_trials: int = Field(default=24, ge=1, le=MAX_TRIALS)
    max_flops: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    target: dict[Dimension, Size] = Field(default_factory=dict)
    """Where the job stands in the proxy's own parameters, such as ``{"width": 256}``. Steps: the job's own."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.experiment is None) == (self.proxy is None):
            raise ValueError(
                "give either `experiment`, the id of one that there is, or `proxy`, what workers shall run beside the "
                "job"
            )
        if self.experiment is not None:
            fields = type(self).model_fields
            own = [
                name
                for name in ("space", "fixed", "strategy", "max_trials", "max_flops")
                if getattr(self, name) != fields[name].get_default(call_default_factory=True)
            ]
            if own:
                raise ValueError(
                    f"{', '.join(own)} belongs to an experiment that begins with the job; {self.experiment!r} "
                    "has its own"
                )
        return self
