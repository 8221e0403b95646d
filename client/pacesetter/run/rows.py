"""Rows measured in a segment, kept as columns until a report takes them.

A scalar on an accelerator is copied into a preallocated buffer on its device, and from there to the host once a report:
nothing in the training loop waits for the device.
"""

from collections.abc import Callable
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


class Column:
    """One named scalar a row.

    Args:
        on_device: Keep tensors where they are until :meth:`take`; False reads them at once, which is what a CPU wants.
    """

    def __init__(self, *, on_device: bool) -> None:
        self.on_device = on_device
        self._values: list[float | None] = []
        self._buffer: torch.Tensor | None = None
        self._rows: list[int] = []

    def append(self, value: Scalar) -> None:
        """Add the next row's value."""
        if isinstance(value, torch.Tensor):
            if self.on_device:
                self._keep(value)
                return
            value = value.item()
        self._values.append(value)

    def _keep(self, value: torch.Tensor) -> None:
        if self._buffer is None:
            self._buffer = torch.empty(CAPACITY, dtype=torch.float32, device=value.device)
        self._buffer[len(self._rows)].copy_(value.detach().reshape(()), non_blocking=True)
        self._rows.append(len(self._values))
        self._values.append(None)

    def take(self) -> Callable[[], list[float | None]]:
        """Empty the column; return what yields its values, to be called from any thread."""
        values, self._values = self._values, []
        if self._buffer is None or not self._rows:
            return lambda: values
        copy = _to_host(self._buffer[: len(self._rows)], tuple(self._rows))
        self._rows = []

        def resolve() -> list[float | None]:
            copy.fill(values)
            return values

        return resolve


class Rows:
    """The rows of the running segment."""

    def __init__(self, *, on_device: bool) -> None:
        self._on_device = on_device
        self._columns: dict[str, Column] = {}
        self._last: dict[str, Scalar] | None = None
        self.count = 0

    def add(self, row: dict[str, Scalar], *, report: bool) -> None:
        """Add a row; one that need not be reported is kept until the next, in case it is the segment's last."""
        if not report:
            self._last = row
            return
        self._last = None
        columns = self._columns
        if columns.keys() != row.keys():
            self._match(row)
        for name, value in row.items():
            columns[name].append(value)
        self.count += 1

    def close(self) -> None:
        """Report the last row of a segment, whatever its turn."""
        if self._last is not None:
            last = {name: _settled(value) for name, value in self._last.items()}
            self.add(last, report=True)

    def take(self) -> TakeColumns:
        """Empty the rows; return what yields them as columns, to be called from any thread."""
        pending = {name: column.take() for name, column in self._columns.items()}
        self.count = 0
        self._columns = {}
        return lambda: {name: resolve() for name, resolve in pending.items()}

    def _match(self, row: dict[str, Scalar]) -> None:
        """Give every name a column, and every column a value in ``row``."""
        for name in row.keys() - self._columns.keys():
            column = Column(on_device=self._on_device)
            for _ in range(self.count):
                column.append(None)
            self._columns[name] = column
        for name in self._columns.keys() - row.keys():
            row[name] = None


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
