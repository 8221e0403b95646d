"""Who says the learning rate of a trial's next step, and makes that step."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from pacesetter_workers.proxies.recipe import Recipe
from pacesetter_workers.running import RunningTrial

if TYPE_CHECKING:
    from pacesetter import Run


class Pace(ABC):
    """Steps one optimizer, whose groups stand at their peaks when it is made."""

    @property
    def is_over(self) -> bool:
        """Whether somebody ended the training before its last step."""
        return False

    @abstractmethod
    def multiplier(self, step: int) -> float:
        """Return the multiplier of the peaks in step number ``step``, at which the groups stand by then."""

    @abstractmethod
    def step(self, loss: Tensor) -> None:
        """Make an optimizer step with the gradients that are there."""

    def state(self) -> dict[str, Any] | None:
        """Return what a checkpoint has to keep of it."""
        return None


class RecipePace(Pace):
    """The recipe's schedule says it."""

    def __init__(self, optimizer: Optimizer, recipe: Recipe, peaks: list[float]) -> None:
        self._optimizer, self._peaks = optimizer, peaks
        self._evaluate = recipe.schedule.evaluator()

    def multiplier(self, step: int) -> float:
        """Set the groups to the recipe's rate."""
        scale = self._evaluate(step)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * scale
        return scale

    def step(self, loss: Tensor) -> None:
        """Step the optimizer."""
        del loss
        self._optimizer.step()


class JobPace(Pace):
    """The segments of the job say it that the trial runs as; the recipe's schedule is its base."""

    def __init__(self, run: "Run", optimizer: Optimizer, peaks: list[float], tokens: int) -> None:
        self._run, self._optimizer, self._peak = run, optimizer, peaks[0]
        self._tokens = tokens

    @property
    def is_over(self) -> bool:
        """Whether the job is done."""
        return self._run.done

    def multiplier(self, step: int) -> float:
        """Return what the job has set."""
        del step
        return float(self._optimizer.param_groups[0]["lr"]) / self._peak

    def step(self, loss: Tensor) -> None:
        """Step the optimizer, report the loss, and take up what the controller says."""
        self._run.step(loss.detach(), tokens=self._tokens)

    def state(self) -> dict[str, Any]:
        """Return where the job stands."""
        return self._run.state_dict()


def pace_of(
    trial: RunningTrial,
    model: nn.Module,
    optimizer: Optimizer,
    recipe: Recipe,
    peaks: list[float],
    tokens: float,
    resume: Mapping[str, Any] | None,
) -> Pace:
    """Return what steps a trial's optimizer.

    Args:
        trial: It runs as a job where its recipe asks for that.
        model: What is trained.
        optimizer: Of it.
        recipe: How.
        peaks: Of the optimizer's groups.
        tokens: Of an optimizer step.
        resume: What :meth:`Pace.state` returned in an earlier attempt.

    Raises:
        JobRefused: See :meth:`RunningTrial.attach`.
    """
    if not recipe.job:
        return RecipePace(optimizer, recipe, peaks)
    from pacesetter import Steps

    run = trial.attach(
        model,
        optimizer,
        budget=Steps(recipe.steps),
        base=recipe.schedule,
        seed=recipe.seed,
        resume=resume,
    )
    return JobPace(run, optimizer, peaks, round(tokens))
