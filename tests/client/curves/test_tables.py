"""CSV, JSON and JSONL as columns: what is empty, what is NaN, and what is no number."""

import json
import math
from typing import Any

import numpy as np
import pytest
from pacesetter import CurveError
from pacesetter.curves import tables
from pacesetter.curves.columns import Wanted
from pacesetter.curves.tables import Raw, Series, read_csv, read_json, read_jsonl

ROWS: list[dict[str, Any]] = [
    {"step": 1, "lr": 0.1, "loss": 3.0},
    {"step": 2, "lr": None, "loss": None},
    {"step": 3, "lr": 0.3, "loss": math.nan},
]


def csv(text: str, **named: str) -> Raw:
    return read_csv(text.splitlines(), Wanted(**named), "log.csv")  # type: ignore[arg-type]


def shown(series: Series | None) -> list[tuple[float, float | None]]:
    """Return steps with what was measured there; None where nothing was."""
    assert series is not None
    return [
        (step, value if measured else None)
        for step, value, measured in zip(
            series.steps.tolist(), series.values.tolist(), series.measured.tolist(), strict=True
        )
    ]


def is_the_curve(raw: Raw) -> None:
    assert shown(raw.lrs) == [(1.0, 0.1), (2.0, None), (3.0, 0.3)]
    first, second, (step, value) = shown(raw.losses)
    assert (first, second, step) == ((1.0, 3.0), (2.0, None), 3.0)
    assert value is not None and math.isnan(value)
    assert raw.loss_name == "loss"


def test_a_csv_tells_an_empty_cell_from_nan() -> None:
    is_the_curve(csv("step,lr,loss\n1,0.1,3\n2,,\n\n3,0.3,nan\n"))
    is_the_curve(csv("step,lr,loss,note\n1, 0.1,3,x\n2,null,None,y\n3,0.3,NaN,z\n"))


def test_json_rows_columns_and_a_trainers_state_are_one() -> None:
    documents: list[Any] = [
        ROWS,
        {name: [row[name] for row in ROWS] for name in ROWS[0]},
        # As pandas writes a frame.
        {name: {str(at): row[name] for at, row in enumerate(ROWS)} for name in ROWS[0]},
        # As the Trainer does, with rows of other things between them.
        {"best_metric": None, "log_history": [*ROWS, {"train_runtime": 5.0}], "epoch": 1.0},
    ]
    for document in documents:
        is_the_curve(read_json(json.dumps(document), Wanted(), "log.json"))


def test_jsonl_rows_may_lack_keys_that_others_have() -> None:
    lines = [
        '{"step": 1, "lr": 0.1, "loss": 3.0}',
        "",
        '{"step": 2, "eval_accuracy": 0.5}',
        '{"step": 3, "lr": 0.3, "loss": "NaN"}',
    ]
    is_the_curve(read_jsonl(lines, Wanted(), "log.jsonl"))


def test_many_rows_are_turned_into_numbers_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_CHUNK", 7)
    monkeypatch.setattr(tables, "PEEKED", 5)
    rows = [{"step": at, "lr": 0.1, "loss": 3.0 / at} for at in range(1, 101)]
    raw = read_jsonl(map(json.dumps, rows), Wanted(), "log")
    assert raw.losses is not None
    assert raw.losses.steps.tolist() == list(range(1, 101))
    assert raw.losses.values.tolist() == [3.0 / at for at in range(1, 101)]
    lines = ["step,lr,loss", *(f"{at},0.1,{'' if at == 50 else 2}" for at in range(1, 101))]
    by_csv = read_csv(lines, Wanted(), "log.csv").losses
    assert by_csv is not None
    assert np.flatnonzero(~by_csv.measured).tolist() == [49]


def test_a_row_without_a_step_belongs_to_nothing() -> None:
    assert shown(csv("step,lr,loss\n1,0.1,3\n,,2.9\n2,0.1,2.8\n").losses) == [
        (1.0, 3.0),
        (2.0, 2.8),
    ]


def test_rows_of_validations_stand_between_those_of_training() -> None:
    lines = ["step,lr,loss,val_loss"]
    for step in range(1, 41):
        lines += [f"{step},0.1,{3 / step},", f"{step},,,{4 / step}"]
    raw = csv("\n".join(lines))
    assert raw.loss_name == "val_loss"
    assert [one for one in shown(raw.losses) if one[1] is not None][:2] == [(1.0, 4.0), (2.0, 2.0)]
    assert csv("\n".join(lines), loss="loss").loss_name == "loss"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "TOO_FEW_POINTS", "log.csv has no rows"),
        ("step,lr,loss\n", "TOO_FEW_POINTS", "log.csv has no rows"),
        (
            "step,lr,loss\n1,0.1,3\n2,0.1,high\n",
            "BAD_CELL",
            "log.csv, line 3, column 'loss': 'high'",
        ),
        ("step,lr,loss\n1,0.1\n2,0,1;5\n", "BAD_CELL", "line 3, column 'loss': '1;5' is no number"),
        ("1;2;3\n", "NO_SUCH_COLUMN", "'1;2;3'"),
    ],
)
def test_a_csv_that_cannot_be_read_names_the_line(text: str, code: str, words: str) -> None:
    with pytest.raises(CurveError) as error:
        csv(text)
    assert error.value.code == code
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("{", "BAD_TABLE", "log.json is no JSON"),
        ("3", "BAD_TABLE", "neither rows nor columns"),
        ("[]", "TOO_FEW_POINTS", "has no rows"),
        ("[1, 2]", "NO_SUCH_COLUMN", "no column"),
        ('[{"step": 1, "lr": 1, "loss": 1}, 2]', "BAD_TABLE", "row 2 of log.json is no object"),
        (
            '{"step": [1, 2], "lr": [1], "loss": [1, 2]}',
            "COLUMNS_DIFFER",
            "columns of [1, 2] values",
        ),
        ('[{"step": 1, "lr": {}, "loss": 1}]', "BAD_CELL", "row 1, column 'lr'"),
    ],
)
def test_json_that_cannot_be_read_says_why(text: str, code: str, words: str) -> None:
    with pytest.raises(CurveError) as error:
        read_json(text, Wanted(), "log.json")
    assert error.value.code == code
    assert words in str(error.value)


def test_a_line_that_is_no_json_is_named() -> None:
    with pytest.raises(CurveError, match=r"log.jsonl, line 2 is no JSON"):
        read_jsonl(['{"step": 1, "lr": 1, "loss": 1}', "oops"], Wanted(), "log.jsonl")
