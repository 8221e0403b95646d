"""The benchmark's tasks, each by its name. No constant of the search may know any of them."""

from benchmarks.quality.tasks.base import Kind, Recipe, Split, Task, Trial
from benchmarks.quality.tasks.language import LanguageRecipe
from benchmarks.quality.tasks.policy import PolicyRecipe
from benchmarks.quality.tasks.quadratic import QuadraticRecipe
from benchmarks.quality.tasks.supervised import SupervisedRecipe

_EVEN_SPLIT = 6
"""Of the digits: of the first eight seeds, the one whose splits A and B are most equally hard for a linear model."""

TASKS: tuple[Task, ...] = (
    Task(
        name="digits-mlp",
        kind="vision",
        steps=2000,
        optimizer="SGD, momentum .9",
        default_lr=0.1,
        lr_grid_center=2.0**-4,
        lm_like=False,
        recipe=SupervisedRecipe(
            "digits",
            "mlp",
            "momentum",
            batch=32,
            width=128,
            depth=2,
            weight_decay=1e-3,
            label_noise=0.15,
            data_seed=_EVEN_SPLIT,
        ),
    ),
    Task(
        name="mnist1d-cnn",
        kind="vision",
        steps=2000,
        optimizer="AdamW",
        default_lr=1e-3,
        lr_grid_center=2.0**-6,
        lm_like=False,
        recipe=SupervisedRecipe(
            "mnist1d", "cnn", "adamw", batch=64, width=25, depth=3, weight_decay=0.05
        ),
    ),
    Task(
        name="mnist1d-cnn-decay",
        kind="vision",
        steps=2000,
        optimizer="AdamW, decay .5",
        default_lr=1e-3,
        lr_grid_center=2.0**-6,
        lm_like=False,
        recipe=SupervisedRecipe(
            "mnist1d",
            "cnn",
            "adamw",
            batch=64,
            width=25,
            depth=3,
            weight_decay=0.5,
            label_noise=0.15,
        ),
    ),
    Task(
        name="bytes-lm",
        kind="language",
        steps=1500,
        optimizer="AdamW",
        default_lr=1e-3,
        lr_grid_center=2.0**-6,
        lm_like=True,
        recipe=LanguageRecipe("transformer", "adamw", batch=8, context=64, width=32, depth=2),
    ),
    Task(
        name="bytes-lm-muon",
        kind="language",
        steps=900,
        optimizer="Muon + AdamW",
        default_lr=1e-3,
        lr_grid_center=2.0**-6,
        lm_like=True,
        recipe=LanguageRecipe("transformer", "muon", batch=8, context=64, width=32, depth=2),
    ),
    Task(
        name="digits-logistic",
        kind="vision",
        steps=2000,
        optimizer="SGD",
        default_lr=0.1,
        lr_grid_center=2.0,
        lm_like=False,
        recipe=SupervisedRecipe("digits", "linear", "sgd", batch=32, data_seed=_EVEN_SPLIT),
    ),
    Task(
        name="digits-residual",
        kind="vision",
        steps=800,
        optimizer="SGD, momentum .9",
        default_lr=0.1,
        lr_grid_center=2.0**-3,
        lm_like=False,
        recipe=SupervisedRecipe(
            "digits",
            "residual",
            "momentum",
            batch=32,
            width=16,
            depth=2,
            weight_decay=5e-4,
            label_noise=0.1,
            data_seed=_EVEN_SPLIT,
        ),
    ),
    Task(
        name="bytes-gru",
        kind="sequence",
        steps=1000,
        optimizer="Adam",
        default_lr=1e-3,
        lr_grid_center=2.0**-6,
        lm_like=True,
        recipe=LanguageRecipe(
            "gru", "adam", batch=8, context=16, width=32, depth=1, weight_decay=0.0
        ),
    ),
    Task(
        name="digits-autoencoder",
        kind="vision",
        steps=2000,
        optimizer="Adam",
        default_lr=1e-3,
        lr_grid_center=2.0**-7,
        lm_like=False,
        recipe=SupervisedRecipe(
            "digits", "autoencoder", "adam", batch=32, width=128, data_seed=_EVEN_SPLIT
        ),
    ),
    Task(
        name="point-mass-policy",
        kind="policy",
        steps=800,
        optimizer="Adam",
        default_lr=1e-3,
        lr_grid_center=2.0**-6,
        lm_like=False,
        recipe=PolicyRecipe("adam", episodes=4, width=32, depth=2),
    ),
    Task(
        name="noisy-quadratic",
        kind="quadratic",
        steps=23_000,
        optimizer="SGD in expectation",
        default_lr=0.1,
        lr_grid_center=0.5,
        lm_like=False,
        recipe=QuadraticRecipe(),
    ),
)


def named(names: str) -> tuple[Task, ...]:
    """Return the tasks of a comma-separated list; all of them for ``all``.

    Raises:
        ValueError: A name is unknown; the message lists those there are.
    """
    if names == "all":
        return TASKS
    by_name = {task.name: task for task in TASKS}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in by_name]
    if unknown:
        raise ValueError(f"no task {', '.join(unknown)}; choose of {', '.join(by_name)}")
    return tuple(by_name[name] for name in wanted)


__all__ = ["TASKS", "Kind", "Recipe", "Split", "Task", "Trial", "named"]
