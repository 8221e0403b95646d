"""What is trained: what evidence of other runs is compared by."""

from typing import Annotated, Literal

from pydantic import Field

from pacesetter.protocol.base import Message, Name
from pacesetter.schedules.families import AnyFamily

Regime = Literal["pretrain", "continued", "finetune", "lora", "preference", "rl", "vision", "other"]
Parametrization = Literal["standard", "mup"]

Count = Annotated[float, Field(ge=1.0, le=1e15, allow_inf_nan=False)]
Ratio = Annotated[float, Field(ge=1e-4, le=1e4, allow_inf_nan=False)]
Family = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")]
StepCount = Annotated[int, Field(le=10**15)]


class Objective(Message):
    """What the training is for. The loss is not always it: in RL it is not."""

    name: Name = "loss"
    mode: Literal["min", "max"] = "min"
    noise: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None = None
    """Standard deviation of one evaluation, in its own unit; None: not known."""


class Workload(Message):
    """What is trained, as far as a job cannot find out by itself."""

    family: Family = ""
    """What code, data and tokenizer have in common: losses compare within a family, and a best rate of another family
    counts for less."""
    parameters: Count | None = None
    """Without embeddings; None: all that the optimizer holds."""
    width_ratio: Ratio = 1.0
    """Over the family's base width."""
    depth_ratio: Ratio = 1.0
    parametrization: Parametrization = "standard"
    batch_tokens: Count | None = None
    """Tokens (or samples) of an optimizer step, over all ranks; None: as measured."""
    epochs: Annotated[float, Field(gt=0.0, le=1e9, allow_inf_nan=False)] | None = None
    """How often the data are seen; None: not known."""
    objective: Objective = Objective()


class Target(Workload):
    """A workload at a budget: what a recommendation is asked for, with what is fixed already."""

    tokens: Count | None = None
    """Of the whole budget, all epochs."""
    optimizer: Name = "adamw"
    regime: Regime = "pretrain"
    extendable: bool = False
    """Whether the run may be made longer later: then the schedule keeps a plateau until its last part."""
    steps: Annotated[StepCount, Field(gt=0)] | None = None
    """Optimizer steps of the whole budget, where they are fixed: the batch follows from them."""
    max_batch_tokens: Count | None = None
    """Most that the hardware takes in a step."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Of SGD's buffer: the best rate is lower by ``1 - momentum``."""
    beta2: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Adam's, where it is fixed."""
    warmup_steps: Annotated[StepCount, Field(ge=0)] | None = None
    """Where they are fixed."""
    schedule_family: Name | AnyFamily | None = None
    """What the schedule has to be: a family by its name, or with its parameters."""
    floor: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the peak that the schedule has to end at."""
    borrow: bool = False
    """Whether a neighbouring regime may speak where none of this one does, as full fine-tuning for LoRA."""

    def workload(self) -> Workload:
        """Return what of it a job declares."""
        return Workload(**{name: getattr(self, name) for name in Workload.model_fields})
