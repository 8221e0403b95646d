"""No search at all: the field's default, or what a published law says."""

from benchmarks.quality.engine import shaped, train
from benchmarks.quality.score import Score, scored
from benchmarks.quality.tasks.base import Task
from benchmarks.quality.tasks.language import LanguageRecipe

_LAW_PARAMETERS = (60e6, 1e9)
_LAW_TOKENS = (2e9, 100e9)
"""Where Step Law was fitted [Li2025, arXiv 2503.04715]; outside of it the law says nothing."""


def untuned(task: Task, steps: int, total: int, seed: int) -> Score:
    """Train T steps at the default rate, on a cosine."""
    del total
    return scored(train(task, shaped("cosine", steps), task.default_lr, steps, seed))


def untuned_longer(task: Task, steps: int, total: int, seed: int) -> Score:
    """Put all steps that a search may use into the untuned run."""
    del steps
    return scored(train(task, shaped("cosine", total), task.default_lr, total, seed))


def law(task: Task, steps: int, total: int, seed: int) -> Score:
    """Train T steps at the rate of a published law, decayed linearly to zero; zero probes."""
    del total
    outcome = train(task, shaped("linear", steps), law_lr(task, steps), steps, seed)
    return scored(outcome)


def law_lr(task: Task, steps: int) -> float:
    """Return Step Law's rate, 1.79 N^-.713 D^.307, inside its range; else the table of the field's defaults."""
    recipe = task.recipe
    if not isinstance(recipe, LanguageRecipe) or recipe.optimizer != "adamw":
        return task.default_lr
    parameters = sum(p.numel() for p in task.open(seed=0).model.parameters())
    tokens = steps * recipe.batch * recipe.context
    inside = _within(parameters, _LAW_PARAMETERS) and _within(tokens, _LAW_TOKENS)
    return 1.79 * parameters**-0.713 * tokens**0.307 if inside else task.default_lr


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]
