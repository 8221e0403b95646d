"""Files of tensors in the safetensors layout: data only, nothing in them is ever executed.

The layout is 8 bytes of header length, a JSON header, then the values. Written tensor by tensor, so that a state on a
device needs no second copy of itself in the host's memory (the safetensors library makes one). A CRC-32 of every tensor
and of the document in the header is kept, because a file may also be damaged without becoming shorter.
"""

import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pacesetter.errors import SnapshotError

_DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
    torch.bool: "BOOL",
}
_DTYPES = {name: dtype for dtype, name in _DTYPE_NAMES.items()}
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Span:
    """Where a tensor's values are in a file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int
    checksum: int


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A file that was opened: its document, and where its tensors are."""

    path: Path
    document: dict[str, Any]
    spans: dict[str, Span]

    def read(self, key: str) -> Tensor:
        """Return a tensor's values on the CPU."""
        span = self.spans[key]
        raw = bytearray(span.end - span.begin)
        with self.path.open("rb") as file:
            file.seek(span.begin)
            file.readinto(raw)
        if not raw:
            return torch.empty(span.shape, dtype=span.dtype)
        return torch.frombuffer(raw, dtype=span.dtype).reshape(span.shape)

    def verify(self) -> None:
        """Read every value once and compare the checksums.

        Raises:
            SnapshotError: A value is not what was written.
        """
        with self.path.open("rb") as file:
            for key, span in self.spans.items():
                file.seek(span.begin)
                checksum, left = 0, span.end - span.begin
                while left:
                    chunk = file.read(min(_CHUNK, left))
                    if not chunk:
                        break
                    checksum, left = zlib.crc32(chunk, checksum), left - len(chunk)
                if left or checksum != span.checksum:
                    raise _damaged(
                        self.path, f"tensor {key} does not have the values that were written"
                    )


def write_tensor_file(path: Path, document: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a document and real-valued tensors to ``path``, which appears whole or not at all.

    Raises:
        SnapshotError: The disk refused, or a dtype has no place in the layout.
    """
    temporary = path.with_name(f"{path.name}.{os.uname().nodename}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            text = json.dumps(document)
            placeholder = _header(text, tensors, [0] * len(tensors))
            file.write(placeholder)
            checksums = []
            for tensor in tensors.values():
                values = _raw(tensor)
                file.write(values)
                checksums.append(zlib.crc32(values))
            header = _header(text, tensors, checksums)
            file.seek(0)
            file.write(header)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise SnapshotError(
            f"the state could not be written to {path} ({error}); expected a directory with room. "
            "Free some or choose another directory"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _raw(tensor: Tensor) -> memoryview:
    flat = tensor.cpu().contiguous().reshape(-1)
    if flat.stride(0) != 1:  # one value of an expanded tensor
        flat = torch.empty(flat.shape, dtype=flat.dtype).copy_(flat)
    return flat.view(torch.uint8).numpy().data


def open_tensor_file(path: Path) -> TensorFile:
    """Read a file's header.

    Raises:
        SnapshotError: The file is missing, shorter than its header says, or not such a file.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size - 8:
                raise _damaged(path, f"it has {size} bytes and its header alone {length}")
            header = json.loads(file.read(length))
        metadata = header.pop("__metadata__")
        text = metadata["document"]
        if zlib.crc32(text.encode()) != int(metadata["document_crc32"], 16):
            raise _damaged(path, "its document is not what was written")
        spans = _spans(header, metadata["crc32"], 8 + length)
        document = json.loads(text)
    except OSError as error:
        raise SnapshotError(f"the state's file {path} cannot be read ({error})") from error
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    expected = max((span.end for span in spans.values()), default=8 + length)
    if size != expected:
        raise _damaged(path, f"it has {size} bytes, expected {expected}")
    return TensorFile(path, document, spans)


def _header(text: str, tensors: Mapping[str, Tensor], checksums: list[int]) -> bytes:
    entries: dict[str, Any] = {
        "__metadata__": {
            "document": text,
            "document_crc32": f"{zlib.crc32(text.encode()):08x}",
            # Fixed width: the header is written again once the values have gone by.
            "crc32": "".join(f"{checksum:08x}" for checksum in checksums),
        }
    }
    offset = 0
    for key, tensor in tensors.items():
        if tensor.dtype not in _DTYPE_NAMES:
            raise SnapshotError(
                f"tensor {key} is {tensor.dtype}, which has no place in a file of states; "
                "keep states in memory (where='memory')"
            )
        end = offset + tensor.numel() * tensor.element_size()
        entries[key] = {
            "dtype": _DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    encoded = json.dumps(entries).encode()
    encoded += b" " * (-len(encoded) % 8)
    return struct.pack("<Q", len(encoded)) + encoded


def _spans(header: dict[str, Any], checksums: str, start: int) -> dict[str, Span]:
    return {
        key: Span(
            dtype=_DTYPES[entry["dtype"]],
            shape=tuple(entry["shape"]),
            begin=start + entry["data_offsets"][0],
            end=start + entry["data_offsets"][1],
            checksum=int(checksums[8 * index : 8 * index + 8], 16),
        )
        for index, (key, entry) in enumerate(header.items())
    }


def _sync_directory(directory: Path) -> None:
    # Without it, a power cut may lose the new name although the values are on the disk.
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(path: Path, why: str) -> SnapshotError:
    return SnapshotError(
        f"the state's file {path} is damaged ({why}); it was torn or changed after it was written. "
        "Delete it, and start from another checkpoint"
    )
