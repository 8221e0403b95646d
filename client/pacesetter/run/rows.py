"""Rows measured in a segment, kept until a report takes them as columns.

The training loop only appends; turning rows into columns is the transport's thread's work.
A scalar on an accelerator is copied into a preallocated buffer on its device, and from there to the host once a report:
nothing in the training loop waits for the device.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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


class Rows:
    """The rows of the running segment.

    Args:
        on_device: Keep tensors where they are until a report; False reads them at once, which is what a CPU wants.
    """

    def __init__(self, *, on_device: bool) -> None:
        self._on_device = on_device
        self._rows: list[dict[str, Any]] = []
        self._columns: dict[str, _DeviceColumn] = {}
        self._last: dict[str, Scalar] | None = None
        self.count = 0

    def add(self, row: dict[str, Scalar], *, report: bool) -> None:
        """Add a row, which is the rows' own from now on.

        One that need not be reported is kept until the next, in case it is the segment's last.
        """
        if not report:
            self._last = row
            return
        self._last = None
        for name, value in row.items():
            if isinstance(value, torch.Tensor):
                row[name] = self._keep(name, value)
        self._rows.append(row)
        self.count += 1

    def close(self) -> None:
        """Report the last row of a segment, whatever its turn."""
        if self._last is not None:
            last = {name: _settled(value) for name, value in self._last.items()}
            self.add(last, report=True)

    def take(self) -> TakeColumns:
        """Empty the rows; return what yields them as columns, to be called from any thread."""
        rows, self._rows = self._rows, []
        copies = {name: column.take() for name, column in self._columns.items()}
        self._columns = {}
        self.count = 0

        def resolve() -> Columns:
            names = dict.fromkeys(name for row in rows for name in row)
            columns: Columns = {name: [row.get(name) for row in rows] for name in names}
            for name, copy in copies.items():
                copy.fill(columns[name])
            return columns

        return resolve

    def _keep(self, name: str, value: torch.Tensor) -> float | None:
        if not self._on_device:
            return value.item()
        if name not in self._columns:
            self._columns[name] = _DeviceColumn(value.device)
        self._columns[name].keep(value, self.count)
        return None


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
