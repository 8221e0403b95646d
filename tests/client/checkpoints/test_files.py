"""Files of states: whole or not there, and nothing damaged is ever restored."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pacesetter.checkpoints import CheckpointStore
from pacesetter.checkpoints.tensorfile import open_tensor_file, write_tensor_file
from pacesetter.errors import SnapshotError

from tests.client.checkpoints.trainings import Training, make_training


def kept(directory: Path) -> tuple[Training, CheckpointStore, Path]:
    training = make_training()
    store = training.store(where="disk", directory=directory)
    training.steps(1)
    store.save("left", {"step": 1})
    (path,) = directory.rglob("*.state")
    return training, store, path


def test_a_restart_lists_the_names_oldest_first_and_numbers_go_on(tmp_path: Path) -> None:
    training, store, _ = kept(tmp_path)
    store.save("a", {})
    again = training.store(where="disk", directory=tmp_path)
    again.save("b", {})
    assert training.store(where="disk", directory=tmp_path).names() == ("left", "a", "b")


def cut(raw: bytes) -> bytes:
    return raw[:-1]


def append(raw: bytes) -> bytes:
    return raw + b"x"


def flip_a_value(raw: bytes) -> bytes:
    return raw[:-100] + bytes([raw[-100] ^ 1]) + raw[-99:]


def flip_the_document(raw: bytes) -> bytes:
    return raw.replace(b"betas", b"bexas", 1)


def cut_the_header(raw: bytes) -> bytes:
    return raw[:20]


def nothing(raw: bytes) -> bytes:
    return b""


@pytest.mark.parametrize(
    "damage", [cut, append, flip_a_value, flip_the_document, cut_the_header, nothing]
)
def test_a_damaged_file_is_refused_before_anything_is_changed(tmp_path: Path, damage: Any) -> None:
    training, store, path = kept(tmp_path)
    training.steps(1)
    before = {name: tensor.clone() for name, tensor in training.tensors().items()}
    raw = path.read_bytes()
    damaged = damage(raw)
    assert damaged != raw
    path.write_bytes(damaged)
    with pytest.raises(SnapshotError, match=r"is damaged.*Delete it"):
        store.restore("left")
    assert all(torch.equal(tensor, before[name]) for name, tensor in training.tensors().items())


def test_a_file_that_is_gone_or_unreadable_is_left_out_or_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    training, store, path = kept(tmp_path)
    path.write_bytes(b"not a state at all, but long enough")
    assert training.store(where="disk", directory=tmp_path).names() == ()
    assert "cannot be read" in caplog.text
    path.unlink()
    with pytest.raises(SnapshotError, match="cannot be read"):
        store.restore("left")
    store.release("left")
    assert store.names() == ()


def test_a_state_of_a_later_format_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    training, _, path = kept(tmp_path)
    write_tensor_file(path, {"format": 99, "name": "left", "number": 1}, {})
    assert training.store(where="disk", directory=tmp_path).names() == ()
    assert "format 99" in caplog.text


def test_what_a_dead_process_left_half_written_goes_and_a_living_ones_stays(tmp_path: Path) -> None:
    training, _, path = kept(tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = os.uname().nodename
    names = [f"x.state.{host}.{dead.pid}.tmp", f"x.state.{host}.{os.getpid()}.tmp"]
    names.append(f"x.state.elsewhere.{dead.pid}.tmp")
    for name in names:
        (path.parent / name).write_bytes(b"")
    training.store(where="disk", directory=tmp_path)
    assert sorted(item.name for item in path.parent.glob("*.tmp")) == sorted(names[1:])


def test_a_failed_write_leaves_no_trace_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "there" / "x.state"
    path.mkdir(parents=True)  # a directory cannot be replaced by a file
    with pytest.raises(SnapshotError, match="could not be written"):
        write_tensor_file(path, {}, {"t": torch.ones(3)})
    assert list(path.parent.iterdir()) == [path]


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SnapshotError, match="cannot be made"):
        make_training().store(where="disk", directory=tmp_path / "file")


def test_a_value_that_no_file_can_hold_is_named_and_memory_takes_it(tmp_path: Path) -> None:
    training = make_training()
    training.optimizer.param_groups[0]["rule"] = object()
    store = training.store(where="disk", directory=tmp_path)
    with pytest.raises(SnapshotError, match=r"groups\[0\].rule is a builtins.object"):
        store.save("left", {})
    assert not list(tmp_path.rglob("*.state*"))
    training.store().save("left", {})


def test_without_a_directory_the_files_go_with_the_store() -> None:
    store = make_training().store(where="disk")
    directory = store._directory  # type: ignore[attr-defined]
    assert directory.exists()
    del store
    assert not directory.exists()


def test_the_layout_is_that_of_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {"a": torch.tensor([[1.5, -2.0]]), "b": torch.tensor(7, dtype=torch.int64)}
    write_tensor_file(path, {"x": 1}, tensors)
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    assert length % 8 == 0
    assert header["a"] == {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}
    assert header["b"] == {"dtype": "I64", "shape": [], "data_offsets": [8, 16]}
    assert raw[8 + length :] == struct.pack("<ffq", 1.5, -2.0, 7)


@pytest.mark.parametrize(
    "dtype",
    [torch.bfloat16, torch.float16, torch.float64, torch.bool, torch.uint8, torch.float8_e4m3fn],
)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_values_of_every_kind_come_back(
    tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    values = (torch.rand(shape) * 4).to(dtype)
    write_tensor_file(tmp_path / "x", {}, {"odd": torch.ones(3, dtype=torch.uint8), "t": values})
    file = open_tensor_file(tmp_path / "x")
    file.verify()
    assert file.read("t").dtype == dtype
    assert file.read("t").shape == values.shape
    assert torch.equal(file.read("t").float(), values.float())
