"""The newest state of a trial in a file, which is there whole or not at all."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pacesetter_workers.errors import CheckpointRefused

_NAME = "state.pt"


def write(folder: Path, document: Mapping[str, Any]) -> None:
    """Replace the state in ``folder``; a reader sees the old one or the new one.

    Args:
        folder: Made where it is missing.
        document: Tensors, numbers, texts, and lists and dictionaries of them.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    # A zombie of an earlier attempt may write beside this one, so no two writers share a name.
    descriptor, name = tempfile.mkstemp(dir=folder, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            torch.save(dict(document), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, folder / _NAME)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read(folder: Path) -> dict[str, Any] | None:
    """Return the state in ``folder``; None where there is none.

    Raises:
        CheckpointRefused: The file is no state. Only tensors and plain values are read: no code runs.
    """
    path = folder / _NAME
    if not path.exists():
        return None
    import torch

    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointRefused(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}: {error}); delete it, and the trial starts "
            "from its beginning"
        ) from error
    if not isinstance(document, dict):
        raise CheckpointRefused(f"{path} holds a {type(document).__name__}; delete it")
    return document


def forget(folder: Path) -> None:
    """Delete the state and what interrupted writers left, and the folders where they are empty then."""
    for path in (*folder.glob("*.part"), folder / _NAME):
        path.unlink(missing_ok=True)
    for empty in (folder, folder.parent):
        try:
            empty.rmdir()
        except OSError:
            return
