"""Rows of a log as columns: CSV, JSON and JSONL, as trainers write them and as W&B and pandas export them.

In a CSV an empty cell is a value that was not measured, and ``nan`` one that was measured and is no number; in JSON
these are null (or an absent key) and ``NaN``.
"""

import csv
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pacesetter.curves.columns import Choice, Wanted, best_loss, find_columns
from pacesetter.errors import CurveError
from pacesetter.schedules.base import FloatArray

_ABSENT = {"", "null", "none"}

PEEKED = 100_000
"""Rows whose keys are the columns that are known: a loss that is first logged later is not found."""

_CHUNK = 20_000
_Cells = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Series:
    """Values over steps, in the order they were written."""

    steps: FloatArray
    values: FloatArray
    measured: npt.NDArray[np.bool_]
    """Where there is a value at all; it may still be NaN."""


@dataclass(frozen=True, slots=True)
class Raw:
    """What a log says of a run, not yet checked; None is what was not asked for."""

    lrs: Series | None
    losses: Series | None
    loss_name: str
    """The column that losses were taken from."""


def read_csv(lines: Iterable[str], wanted: Wanted, source: str, delimiter: str = ",") -> Raw:
    """Return the curve in a CSV with a header.

    Raises:
        CurveError: There is no header, a column is not found, or a cell is no number (``BAD_CELL``).
    """
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        names = next(reader, None)
        if not names:
            raise _empty(source)
        choice = find_columns(names, wanted, source)
        table = _Table(choice, source, "line")
        places = [names.index(name) for name in choice.names]
        for number, row in enumerate(reader, 2):
            if row:
                table.add(number, [row[at] if at < len(row) else "" for at in places])
    except csv.Error as error:
        raise CurveError(
            f"{source} is no CSV: {error}", code="BAD_TABLE", hint="separate cells by commas"
        ) from None
    return table.raw()


def read_rows(rows: Iterable[Any], wanted: Wanted, source: str) -> Raw:
    """Return the curve in rows that are mappings (of JSONL, or of a list in JSON); a key may be absent from some.

    Raises:
        CurveError: A row is no mapping, a column is not found, or a value is no number.
    """
    numbered = enumerate(rows, 1)
    peeked = list(itertools.islice(numbered, PEEKED))
    if not peeked:
        raise _empty(source)
    keys = (row.keys() for _, row in peeked if isinstance(row, dict))
    names = list(dict.fromkeys(str(key) for each in keys for key in each))
    choice = find_columns(names, wanted, source)
    table = _Table(choice, source, "row")
    for number, row in itertools.chain(peeked, numbered):
        if not isinstance(row, dict):
            raise CurveError(
                f"row {number} of {source} is no object",
                code="BAD_TABLE",
                hint='write rows such as {"step": 1, "lr": 0.001, "loss": 2.5}',
            )
        table.add(number, [row.get(name) for name in choice.names])
    return table.raw()


def read_json(text: str, wanted: Wanted, source: str) -> Raw:
    """Return the curve in a JSON document: rows, columns, or a Trainer's state with its ``log_history``.

    Raises:
        CurveError: It is no JSON, or holds no rows.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise CurveError(
            f"{source} is no JSON: {error}", code="BAD_TABLE", hint="one document, or JSONL rows"
        ) from None
    if isinstance(document, Mapping):
        document = document.get("log_history", document)
    if isinstance(document, Mapping):
        document = list(_rows_of(document, source))
    if not isinstance(document, list):
        raise CurveError(
            f"{source} holds neither rows nor columns",
            code="BAD_TABLE",
            hint="write a list of rows, or an object of columns",
        )
    return read_rows(document, wanted, source)


def read_jsonl(lines: Iterable[str], wanted: Wanted, source: str) -> Raw:
    """Return the curve in JSON rows, one a line.

    Raises:
        CurveError: A line is no JSON object.
    """

    def rows() -> Iterator[Any]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except ValueError as error:
                raise CurveError(
                    f"{source}, line {number} is no JSON: {error}",
                    code="BAD_TABLE",
                    hint="write one JSON object a line",
                ) from None

    return read_rows(rows(), wanted, source)


class _Table:
    """The columns of a choice as numbers.

    Args:
        choice: Columns of one table.
        source: What they are of.
        unit: What rows are counted as in errors: ``line`` or ``row``.
    """

    def __init__(self, choice: Choice, source: str, unit: str) -> None:
        self._choice = choice
        self._source = source
        self._unit = unit
        self._numbers: list[int] = []
        self._rows: list[_Cells] = []
        self._parts: list[list[_Column]] = []

    def add(self, number: int, cells: _Cells) -> None:
        """Take a row. Raises CurveError for a cell that is no number, now or with a later row."""
        self._numbers.append(number)
        self._rows.append(cells)
        if len(self._rows) >= _CHUNK:
            self._convert()

    def raw(self) -> Raw:
        """Return the curve, of the loss that is best."""
        self._convert()
        if not self._parts:
            raise _empty(self._source)
        joined = [
            _Column(*(np.concatenate(each) for each in zip(*parts, strict=True)))
            for parts in zip(*self._parts, strict=True)
        ]
        columns = dict(zip(self._choice.names, joined, strict=True))
        # A row without a step belongs to nothing: Lightning writes some for epochs.
        steps, kept = joined[0]

        def series(name: str | None) -> Series | None:
            if name is None:
                return None
            return Series(steps[kept], columns[name].values[kept], columns[name].present[kept])

        loss = best_loss({name: columns[name].values for name in self._choice.losses})
        return Raw(series(self._choice.lr), series(loss), loss or "")

    def _convert(self) -> None:
        """Turn the rows that wait into numbers: many at a time, which is ten times faster than one by one."""
        if not self._rows:
            return
        cells = zip(*self._rows, strict=True)
        named = zip(self._choice.names, cells, strict=True)
        self._parts.append([self._column(name, column) for name, column in named])
        self._numbers, self._rows = [], []

    def _column(self, name: str, cells: _Cells) -> "_Column":
        try:
            values = np.array(cells, dtype=np.float64)
            if not np.isnan(values).any():
                return _Column(values, np.ones(values.size, dtype=np.bool_))
        except (TypeError, ValueError):
            pass  # an empty cell, or one that is no number: looked at one by one
        present = np.array([not _is_absent(cell) for cell in cells], dtype=np.bool_)
        values = np.full(len(cells), np.nan)
        for at in np.flatnonzero(present).tolist():
            try:
                values[at] = float(cells[at])
            except (TypeError, ValueError):
                raise CurveError(
                    f"{self._source}, {self._unit} {self._numbers[at]}, column {name!r}: "
                    f"{str(cells[at])[:40]!r} is no number",
                    code="BAD_CELL",
                    hint="leave a cell empty where nothing was measured",
                ) from None
        return _Column(values, present)


class _Column(NamedTuple):
    values: FloatArray
    present: npt.NDArray[np.bool_]


def _is_absent(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in _ABSENT)


def _rows_of(columns: Mapping[str, Any], source: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of an object of columns: lists, or pandas' objects of row numbers."""
    lists = {
        name: list(column.values()) if isinstance(column, Mapping) else column
        for name, column in columns.items()
        if isinstance(column, list | Mapping)
    }
    lengths = {len(column) for column in lists.values()}
    if len(lengths) != 1:
        raise CurveError(
            f"{source} has columns of {sorted(lengths)} values",
            code="COLUMNS_DIFFER",
            hint="give all columns one length; null where nothing was measured",
        )
    for values in zip(*lists.values(), strict=True):
        yield dict(zip(lists, values, strict=True))


def _empty(source: str) -> CurveError:
    return CurveError(
        f"{source} has no rows",
        code="TOO_FEW_POINTS",
        hint="give a table with a header and one row a step",
    )
