"""What a feedback rule is at work: it sees each step of the segments that name it, and says the next multiplier."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from pacesetter.run.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a regulator may look at.

    Attributes:
        parameters: Returns the parameters whose learning rate it multiplies, in the same order on every rank.
        base_lr: Returns the base learning rate of the first of their groups.
        ranks: The ranks that act as one: what a regulator decides on has to be the same on all of them.
        pass_squares: Returns this rank's mean squared norm over the step's micro-batches, that of the whole batch, and
            their number over all ranks; None where there are not two.
    """

    parameters: Callable[[], list[Tensor]]
    base_lr: Callable[[], float]
    ranks: Ranks
    pass_squares: Callable[[], tuple[float, float, int] | None] = lambda: None


class Regulator(ABC):
    """One feedback rule of one line of training.

    Attributes:
        multiplier: What the schedule is multiplied by at the step that comes.
    """

    multiplier: float
    sees_passes: ClassVar[bool] = False
    """Whether it looks at the gradient of each backward pass, by ``Surroundings.pass_squares``."""

    @abstractmethod
    def before_step(self) -> float:
        """Return the multiplier of the step that is about to be made; gradients are complete, unscaled and unclipped.

        A step with gradients that are not finite changes nothing.
        """

    def after_step(self, loss: float) -> None:
        """Learn the loss of the step that was made, on this rank. A step that a scaler skipped is not told of."""
        del loss

    def forget_weights(self) -> None:
        """Other weights were loaded: nothing that was kept of the last step fits them any more."""
        return

    @abstractmethod
    def document(self) -> dict[str, Any]:
        """Return what it knows as JSON values, to be kept with a state of the training."""

    @abstractmethod
    def load(self, document: dict[str, Any]) -> None:
        """Take over what :meth:`document` returned, with the weights of that time.

        Raises:
            KeyError: It is no such document.
        """
