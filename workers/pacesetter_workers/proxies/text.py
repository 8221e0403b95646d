"""Text as bytes: the sources of Python's own standard library, or a folder that the worker's operator named."""

import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pacesetter_workers.errors import ParameterRefused

BLOCK_BYTES, HELD_OUT_EVERY = 8192, 20
"""Every 20th block is held out, which spreads it over all files."""
MAX_BYTES = 64 << 20
"""Read of one folder; the rest is left out."""


@dataclass(frozen=True, slots=True)
class Text:
    """Two disjoint parts of a text, each a 1-D uint8 tensor."""

    train: Tensor
    held_out: Tensor


def load_text(data: Path | None, named: str) -> Text:
    """Return a text, the same on every call in a process.

    Args:
        data: The operator's folder, or None.
        named: A folder or file in it; empty for the standard library's top-level modules.

    Raises:
        ParameterRefused: It is not in the operator's folder, or too short.
    """
    if not named:
        return _read(Path(sysconfig.get_path("stdlib")), "*.py")
    if data is None:
        raise ParameterRefused(
            f"text is {named!r} and this worker has no texts; its operator names their folder with --data"
        )
    path = (data / named).resolve()
    if not path.is_relative_to(data.resolve()) or not path.exists():
        raise ParameterRefused(
            f"text {named!r} is not in the folder that this worker's operator named with --data; expected the path of "
            "a folder or file below it"
        )
    return _read(path, "**/*")


@lru_cache(maxsize=4)
def _read(path: Path, pattern: str) -> Text:
    parts, total = [], 0
    for file in [path] if path.is_file() else sorted(path.glob(pattern)):
        if not file.is_file() or total >= MAX_BYTES:
            continue
        with file.open("rb") as opened:
            parts.append(opened.read(MAX_BYTES - total))
        total += len(parts[-1])
    if total < 2 * HELD_OUT_EVERY * BLOCK_BYTES:
        raise ParameterRefused(
            f"{path} holds {total} bytes of text; expected {2 * HELD_OUT_EVERY * BLOCK_BYTES} or more"
        )
    return _split(np.frombuffer(b"".join(parts), dtype=np.uint8))


def _split(text: "np.ndarray[tuple[int], np.dtype[np.uint8]]") -> Text:
    held_out = (np.arange(len(text)) // BLOCK_BYTES) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    return Text(
        torch.from_numpy(text[~held_out].copy()),
        torch.from_numpy(text[held_out].copy()),
    )


def windows(text: Tensor, batch: int, context: int, key: tuple[int, ...]) -> Tensor:
    """Return random windows [batch, context + 1] int64, a function of ``key`` alone."""
    starts = np.random.default_rng(key).integers(0, len(text) - context, size=batch)
    offsets = torch.from_numpy(starts)[:, None] + torch.arange(context + 1)[None, :]
    return text[offsets].long()
