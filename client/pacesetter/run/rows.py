"""Rows measured in a segment, kept until a report takes them as columns.

The training loop only appends; turning rows into columns is the transport's thread's work.
A scalar on an accelerator is copied into a preallocated buffer on its device, and from there to the host once a report:
nothing in the training loop waits for the device.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Scalar = float | torch.Tensor | None
Columns = dict[str, list[float | None]]
TakeColumns = Callable[[], Columns]

CAPACITY = 256
"""Rows that a device buffer holds; reports take at most 200."""


@dataclass(frozen=True, slots=True)
class _HostCopy:
    """A buffer's rows on their way to the host."""

    values: torch.Tensor
    rows: tuple[int, ...]
    event: torch.cuda.Event | None

    def fill(self, column: list[float | None]) -> None:
        """Write the values into their rows; waits for the copy, so it belongs in the transport's thread."""
        if self.event is not None:
            self.event.synchronize()
        for row, value in zip(self.rows, self.values.tolist(), strict=True):
            column[row] = value


class _DeviceColumn:
    """One named scalar of a device, kept there until a report."""

    def __init__(self, device: torch.device) -> None:
        self._buffer = torch.empty(CAPACITY, dtype=torch.float32, device=device)
        self._rows: list[int] = []

    def keep(self, value: torch.Tensor, row: int) -> None:
        """Copy the value for ``row``, without waiting for the device."""
        self._buffer[len(self._rows)].copy_(value.detach().reshape(()), non_blocking=True)
        self._rows.append(row)

    def take(self) -> _HostCopy:
        """Empty the column; return its values on their way to the host."""
        rows, self._rows = tuple(self._rows), []
        return _to_host(self._buffer[: len(rows)], rows)


Row = tuple[int, int, Scalar, float, float, int | None, Mapping[str, Scalar]]
"""Position, step of the session, loss, learning rate and multiplier of the first group, tokens, what was measured."""

_NAMES = ("position", "step", "loss", "lr", "multiplier", "tokens")


class Rows:
    """The rows of the running segment.

    Args:
        on_device: Keep tensors where they are until a report. False: every scalar in a row has been read already.

    Attributes:
        add: Adds the row of a step: a bare append where that is all there is to do.
    """

    def __init__(self, *, on_device: bool) -> None:
        self._on_device = on_device
        self._columns: dict[str, _DeviceColumn] = {}
        self._last: Row | None = None
        self._rows: list[Row] = []
        self.begin(1)

    def __len__(self) -> int:
        """Return how many rows the next report has."""
        return len(self._rows)

    def begin(self, every: int) -> None:
        """Report every ``every``-th row from now on."""
        self._every, self._seen = every, 0
        self.add: Callable[[Row], None] = self._rows.append
        if self._on_device or every > 1:
            self.add = self._add

    def close(self) -> None:
        """Report the last row of a segment, whatever its turn."""
        last, self._last = self._last, None
        if last is not None:
            self._keep(last)

    def take(self) -> TakeColumns:
        """Empty the rows; return what yields them as columns, to be called from any thread."""
        rows, self._rows = self._rows, []
        if self.add != self._add:
            self.add = self._rows.append
        copies = {name: column.take() for name, column in self._columns.items()}
        self._columns = {}
        return lambda: _columns(rows, copies)

    def _add(self, row: Row) -> None:
        """Keep the row if it is to be reported; else until the next one, in case it is the segment's last."""
        self._seen += 1
        if self._seen % self._every:
            self._last = _detached(row)
            return
        self._last = None
        self._keep(row)

    def _keep(self, row: Row) -> None:
        position, step, loss, lr, multiplier, tokens, measured = row
        loss = self._host("loss", loss)
        measured = {name: self._host(name, value) for name, value in measured.items()}
        self._rows.append((position, step, loss, lr, multiplier, tokens, measured))

    def _host(self, name: str, value: Scalar) -> float | None:
        """Return a value of the host; one of a device goes into its column's buffer, and its place stays empty."""
        if not isinstance(value, torch.Tensor):
            return value
        if name not in self._columns:
            self._columns[name] = _DeviceColumn(value.device)
        self._columns[name].keep(value, len(self._rows))
        return None


def _columns(rows: list[Row], copies: Mapping[str, _HostCopy]) -> Columns:
    """Return rows as columns, without those that are empty."""
    columns: Columns = dict(zip(_NAMES, map(list, zip(*rows, strict=True)), strict=False))
    if not any(row[5] is not None for row in rows):
        columns.pop("tokens", None)
    for name in dict.fromkeys(name for row in rows for name in row[6]):
        columns[name] = [_number(row[6].get(name)) for row in rows]
    for name, copy in copies.items():
        copy.fill(columns[name])
    return columns


def _number(value: Scalar) -> float | None:
    assert not isinstance(value, torch.Tensor)
    return value


def _detached(row: Row) -> Row:
    position, step, loss, lr, multiplier, tokens, measured = row
    kept = {name: _settled(value) for name, value in measured.items()}
    return position, step, _settled(loss), lr, multiplier, tokens, kept


def _settled(value: Scalar) -> Scalar:
    return value.detach() if isinstance(value, torch.Tensor) else value


def _to_host(buffer: torch.Tensor, rows: tuple[int, ...]) -> _HostCopy:
    on_cuda = buffer.device.type == "cuda"
    # clone() on the host: on a CPU the buffer is overwritten while the transport's thread reads.
    host = torch.empty(buffer.shape, dtype=buffer.dtype, pin_memory=on_cuda)
    host.copy_(buffer, non_blocking=True)
    event = None
    if on_cuda:
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
    return _HostCopy(host, rows, event)
