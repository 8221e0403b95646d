"""The text of Python's own standard library as bytes: real text that every machine already has."""

import sysconfig
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SKIPPED_FOLDERS = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
MAX_BYTES = 12_000_000


@dataclass(frozen=True)
class Corpus:
    """Three disjoint sets of files: to train on, to steer by (A), and to report on (B)."""

    train: Tensor
    validation_a: Tensor
    validation_b: Tensor


def load_corpus() -> Corpus:
    """Read the library's sources, split file by file by a checksum of the name (the same on every run)."""
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(
        path
        for path in root.rglob("*.py")
        if not SKIPPED_FOLDERS & set(path.relative_to(root).parts)
    )
    parts: dict[str, list[bytes]] = {"train": [], "a": [], "b": []}
    total = 0
    for path in files:
        data = path.read_bytes()
        bucket = zlib.crc32(path.relative_to(root).as_posix().encode()) % 20
        parts["a" if bucket == 0 else "b" if bucket == 1 else "train"].append(data)
        total += len(data)
        if total > MAX_BYTES:
            break
    if not all(parts.values()):
        raise SystemExit(
            f"too little text under {root}: found {len(files)} files; a full Python is needed"
        )
    return Corpus(*(to_tensor(b"".join(parts[key])) for key in ("train", "a", "b")))


def to_tensor(data: bytes) -> Tensor:
    """Return the bytes as a 1-D uint8 tensor."""
    return torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())


class Windows:
    """Random windows of a text. A batch is a function of (seed, position), so any position can be returned to."""

    def __init__(self, text: Tensor, batch: int, context: int, seed: int) -> None:
        self.text, self.batch, self.context, self.seed = text, batch, context, seed

    def batch_at(self, position: int) -> Tensor:
        """Return batch number ``position``: [batch, context + 1] int64, inputs and targets in one."""
        rng = np.random.default_rng([self.seed, position])
        starts = rng.integers(0, len(self.text) - self.context - 1, size=self.batch)
        offsets = torch.from_numpy(starts)[:, None] + torch.arange(self.context + 1)[None, :]
        return self.text[offsets].long()
