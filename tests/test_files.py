"""Files are whole or not there, and a bad one is a CheckpointError."""

import json
import os
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import trifolium as tri
from trifolium import files

ARRAYS = {
    "plain": np.arange(6.0).reshape(2, 3),
    "transposed": np.arange(6, dtype=np.int32).reshape(2, 3).T,
    "strided": np.arange(10, dtype=np.uint8)[::3],
    "reversed": np.arange(4, dtype=np.int64)[::-1],
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "broadcast": np.broadcast_to(np.float32(2), (2, 2)),
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
    "bool": np.array([True, False]),
    "half": np.array([0.5], np.float16),
}
MANIFEST: dict[str, Any] = {"size": 3, "state": {"counter": [1, 2]}, "name": "ü"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a good file lies."""
    files.write(tmp_path / "good", "buffer", MANIFEST, {"a": np.arange(100.0)})
    return tmp_path / "good"


def test_what_was_written_is_read(tmp_path: Path) -> None:
    files.write(tmp_path / "new" / "folder" / "file", "buffer", MANIFEST, ARRAYS)
    manifest, arrays = files.read(tmp_path / "new" / "folder" / "file", "buffer")
    assert manifest == {"format": files.FORMAT, "kind": "buffer", **MANIFEST}
    assert set(arrays) == set(ARRAYS)
    for name, expected in ARRAYS.items():
        assert arrays[name].dtype == expected.dtype, name
        assert arrays[name].shape == expected.shape, name
        np.testing.assert_array_equal(arrays[name], expected, err_msg=name)


def test_no_arrays_at_all(tmp_path: Path) -> None:
    files.write(tmp_path / "file", "model", {}, {})
    assert files.read(tmp_path / "file", "model")[1] == {}


@pytest.mark.parametrize("broken", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, error: BaseException
) -> None:
    def fail(*_: Any) -> None:
        raise error

    before = path.read_bytes()
    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(type(error)):
        files.write(path, "buffer", MANIFEST, {"a": np.zeros(5)})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_manifest_that_is_no_json_leaves_the_old_file_alone(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(TypeError, match="JSON"):
        files.write(path, "buffer", {"a": object()}, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_text_is_written_atomically_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_text(path, "one\n")
    assert path.read_text() == "one\n"
    monkeypatch.setattr(os, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        files.write_text(path, "two\n")
    assert path.read_text() == "one\n"
    assert list(path.parent.iterdir()) == [path]


def test_no_file() -> None:
    with pytest.raises(FileNotFoundError, match="no/such/file"):
        files.read("no/such/file", "buffer")


def test_another_kind(path: Path) -> None:
    with pytest.raises(tri.CheckpointError, match="holds a buffer; expected a model"):
        files.read(path, "model")


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 50, 200, -400, -1])
def test_a_truncated_file(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    assert_refused(path)


@pytest.mark.parametrize("place", [0, 3, 7, 8, 9, 20, 40])
def test_a_damaged_header(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    assert_refused(path)


def test_trailing_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")
    assert_refused(path)


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04" + bytes(60), b"\x80\x04K\x01.", b"{}", b"\xff" * 64],
    ids=["zip", "pickle", "json", "ones"],
)
def test_a_file_of_another_format(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert_refused(path)


def test_a_safetensors_file_of_somebody_else(path: Path) -> None:
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(3)}, metadata={"format": "pt"}))
    assert_refused(path, "was not written by trifolium")
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(3)}))
    assert_refused(path, "was not written by trifolium")


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F7"])
def test_a_dtype_that_numpy_lacks(path: Path, dtype: str) -> None:
    width = 2 if dtype == "BF16" else 1
    header = json.dumps({"a": {"dtype": dtype, "shape": [1], "data_offsets": [0, width]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * width)
    assert_refused(path)


@pytest.mark.parametrize(
    "document",
    ["", "{", "[]", "3", "null", '"text"', "{}", '{"kind": "buffer"}', "[" * 100_000, '{"kind": NaN}'],
    ids=lambda document: document[:12] or "empty",
)
def test_a_manifest_that_is_none(path: Path, document: str) -> None:
    path.write_bytes(safetensors.numpy.save({}, metadata={"trifolium": document}))
    assert_refused(path)


@pytest.mark.parametrize("version", [files.FORMAT + 1, 0, -1, 1.5, "1", None, True, [1]])
def test_a_version_that_is_not_ours(path: Path, version: Any) -> None:
    document = json.dumps({"kind": "buffer", "format": version})
    path.write_bytes(safetensors.numpy.save({}, metadata={"trifolium": document}))
    assert_refused(path, "format")


def test_a_newer_version_says_what_to_do(path: Path) -> None:
    document = json.dumps({"kind": "buffer", "format": files.FORMAT + 1})
    path.write_bytes(safetensors.numpy.save({}, metadata={"trifolium": document}))
    assert_refused(path, "upgrade")


def assert_refused(path: Path, why: str = "") -> None:
    with pytest.raises(tri.CheckpointError, match=re.escape(str(path))) as caught:
        files.read(path, "buffer")
    assert why in str(caught.value)
