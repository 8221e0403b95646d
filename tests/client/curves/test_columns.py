"""Which column is which, by the names that loggers give."""

import numpy as np
import pytest
from pacesetter import CurveError
from pacesetter.curves.columns import (
    ENOUGH_VALIDATIONS,
    Choice,
    Wanted,
    best_loss,
    find_columns,
    is_validation,
)


def found(names: str, wanted: Wanted | None = None) -> Choice:
    return find_columns(names.split(","), wanted or Wanted(), "log")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("step,lr,loss", ("step", "lr", "loss")),
        ("step,lr,val_loss", ("step", "lr", "val_loss")),
        ("Step,gpt - train/lr,gpt - train/loss", ("Step", "gpt - train/lr", "gpt - train/loss")),
        # A chart of W&B's has the band of each line beside it.
        (
            "Step,run-1 - lr,run-1 - lr__MIN,run-1 - lr__MAX,run-1 - loss,run-1 - loss__MIN",
            ("Step", "run-1 - lr", "run-1 - loss"),
        ),
        ("_step,_runtime,train/learning_rate,train/loss", (0, 2, 3)),
        ("trainer/global_step,lr-AdamW,train_loss_step,epoch", (0, 1, 2)),
        ("iter,learning rate,Training Loss", ("iter", "learning rate", "Training Loss")),
        ("global_step,lr-AdamW/pg1,lr-AdamW/pg2,loss", (0, 1, 3)),
        ("loss,learning_rate,grad_norm,epoch,step", (4, 1, 0)),
        ("step,lr_scale,lr,lm_loss", (0, 2, 3)),
    ],
)
def test_usual_names_are_found(names: str, expected: tuple[str | int, ...]) -> None:
    columns = names.split(",")
    step, lr, loss = (columns[one] if isinstance(one, int) else one for one in expected)
    assert found(names) == Choice(step, lr, (loss,))


def test_the_loss_with_the_plainest_name_comes_first() -> None:
    choice = found("step,lr,validation_loss,train/loss,loss")
    assert choice.losses == ("loss", "train/loss", "validation_loss")


def test_names_that_a_person_gave_count() -> None:
    wanted = Wanted(step="row", lr="rate of fire", loss="nats")
    assert found("row,rate of fire,nats,loss,lr,step", wanted) == Choice(
        "row", "rate of fire", ("nats",)
    )


@pytest.mark.parametrize(
    ("names", "wanted", "code", "words"),
    [
        ("step,loss", Wanted(), "NO_SUCH_COLUMN", "log has no column that is called like a learn"),
        ("step,lr,acc", Wanted(), "NO_SUCH_COLUMN", "'acc'. Name it with --loss-column"),
        ("lr,loss", Wanted(), "NO_SUCH_COLUMN", "--step-column"),
        ("step,lr,loss", Wanted(loss="perte"), "NO_SUCH_COLUMN", "log has no column 'perte'"),
        ("Step,a - lr,a - loss,b - loss", Wanted(), "SEVERAL_RUNS", "'a - loss', 'b - loss'"),
        ("Step,a - lr,b - lr,a - loss", Wanted(), "SEVERAL_RUNS", "--lr-column"),
    ],
)
def test_what_is_not_found_is_named_with_what_there_is(
    names: str, wanted: Wanted, code: str, words: str
) -> None:
    with pytest.raises(CurveError) as error:
        found(names, wanted)
    assert error.value.code == code
    assert words in str(error.value)


def test_only_what_is_asked_for_has_to_be_there() -> None:
    assert found("Step,a - lr", Wanted(parts=("lr",))) == Choice("Step", "a - lr", ())
    assert found("Step,a - loss", Wanted(parts=("loss",))) == Choice("Step", None, ("a - loss",))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val_loss", True),
        ("eval/loss", True),
        ("run 7 - Validation Loss", True),
        ("test.loss", True),
        ("loss", False),
        ("train/loss", False),
        ("interval_loss", False),
        ("evaluated_loss", False),
    ],
)
def test_losses_of_a_validation_are_known_by_their_name(name: str, expected: bool) -> None:
    assert is_validation(name) == expected


@pytest.mark.parametrize(
    ("validations", "expected"),
    [(ENOUGH_VALIDATIONS, "val_loss"), (ENOUGH_VALIDATIONS - 1, "loss")],
)
def test_a_validation_is_taken_where_it_has_enough_losses(validations: int, expected: str) -> None:
    values = np.full(1000, np.nan)
    values[:validations] = 3.0
    assert best_loss({"loss": np.ones(1000), "val_loss": values}) == expected


def test_of_training_losses_the_fullest_is_taken() -> None:
    sparse = np.where(np.arange(100) % 2, 3.0, np.nan)
    assert best_loss({"loss": sparse, "train/loss_step": np.ones(100)}) == "train/loss_step"
    assert best_loss({"val_loss": sparse[:9]}) == "val_loss"
    assert best_loss({}) is None
