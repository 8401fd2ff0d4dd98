"""Files are whole or not there, and a bad one is a CheckpointError."""

import json
import os
import re
import signal
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import trifolium as tri
from trifolium import _json, files

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


def test_the_files_are_those_of_the_library(tmp_path: Path) -> None:
    files.write(tmp_path / "ours", "buffer", MANIFEST, ARRAYS)
    document = json.dumps({"format": files.FORMAT, "kind": "buffer", **MANIFEST})
    plain = {name: np.array(array, order="C") for name, array in ARRAYS.items()}
    theirs = safetensors.numpy.save(plain, metadata={"trifolium": document})
    assert (tmp_path / "ours").read_bytes() == theirs
    found = safetensors.numpy.load_file(tmp_path / "ours")
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in ARRAYS.items()
    }


def test_arrays_are_written_and_read_in_pieces(tmp_path: Path) -> None:
    """Neither direction holds more than a few pieces of an array of 64 MB."""
    rows = np.arange(1024, dtype=np.float32)

    def pieces() -> Any:
        for start in range(0, 1 << 14, 256):
            yield np.arange(start, start + 256, dtype=np.float32)[:, None] + rows

    array = files.PiecewiseArray((1 << 14, 1024), np.dtype("float32"), pieces)
    assert (
        np.asarray(files.PiecewiseArray((256, 1024), array.dtype, lambda: [next(pieces())])).sum() > 0
    )
    tracemalloc.start()
    files.write(tmp_path / "large", "buffer", MANIFEST, {"a": array, "b": np.arange(3)})
    with files.opened(tmp_path / "large", "buffer") as (_, arrays):
        for start in range(0, 1 << 14, 1000):
            found = arrays["a"][start : start + 1000]
            assert (found[:, 0] == np.arange(start, start + len(found))).all()
            assert (found[:, -1] == found[:, 0] + 1023).all()
        assert len(found) == (1 << 14) % 1000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


def test_an_array_that_changes_while_it_is_written(path: Path) -> None:
    before = path.read_bytes()
    short = files.PiecewiseArray((4,), np.dtype("int32"), lambda: [np.zeros(3, np.int32)])
    with pytest.raises(RuntimeError, match="changed while"):
        files.write(path, "buffer", MANIFEST, {"a": short})
    assert path.read_bytes() == before
    with pytest.raises(TypeError, match="a has dtype complex128"):
        files.write(path, "buffer", MANIFEST, {"a": np.zeros(3, complex)})


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


def test_truth_values_of_other_bytes(path: Path) -> None:
    files.write(path, "buffer", MANIFEST, {"a": np.array([True, False])})
    path.write_bytes(path.read_bytes()[:-1] + b"\2")
    assert_refused(path, "other bytes than 0 and 1")


def test_a_file_that_becomes_shorter_while_it_is_read(path: Path) -> None:
    files.write(path, "buffer", MANIFEST, {"a": np.arange(100_000.0)})
    with files.opened(path, "buffer") as (_, arrays):
        os.truncate(path, 50_000)
        with pytest.raises(tri.CheckpointError, match="cut short"):
            np.asarray(arrays["a"])


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder; expected a file"):
        files.read(tmp_path, "buffer")


UNREADABLE = """
import os, sys
import trifolium as tri
from trifolium import files
if os.getuid() == 0:
    os.setuid(65534)  # who may read everything is told nothing
try:
    files.read(sys.argv[1], "buffer")
except PermissionError as error:
    assert not isinstance(error, tri.CheckpointError)
    assert sys.argv[1] in str(error)
    print("not permitted")
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_a_file_that_can_not_be_read_is_not_damaged(path: Path) -> None:
    for folder in [path.parent, *path.parent.parents][:4]:
        if folder.owner() != "root" or str(folder) != "/tmp":
            folder.chmod(folder.stat().st_mode | 0o055)
    path.chmod(0)
    done = run(UNREADABLE, path)
    path.chmod(0o600)
    assert done.stdout == "not permitted\n", done.stderr


# JSON that costs much


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 90 + "]" * 90,
        '{"a":' * 90 + "0" + "}" * 90,
        "[" + "[]," * 10**6 + "0]",
        "[" + '{"a":1},' * 10**6 + "0]",
        "[" + "1e9," * 10**6 + "0]",
        "[" + '"ab",' * 10**6 + "0]",
    ],
    ids=["unclosed", "lists", "objects", "many lists", "many objects", "many numbers", "many texts"],
)
def test_json_that_costs_much_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bomb.json").write_text(text)
    tracemalloc.start()
    with pytest.raises(tri.CheckpointError, match=r"bomb\.json holds no thing"):
        files.read_json(tmp_path / "bomb.json", "thing", allowance=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(text) + (1 << 20)


def test_json_of_many_small_numbers_is_read(tmp_path: Path) -> None:
    """So checkpoints are: they hold the actions of open episodes."""
    wanted = {"actions": [[1, 0, 17] * 20_000] * 20, "name": "x" * 10**6}
    (tmp_path / "long.json").write_text(json.dumps(wanted))
    assert files.read_json(tmp_path / "long.json", "thing", allowance=1 << 20) == wanted
    assert _json.parse("[NaN, 1e400]")[1] == float("inf")


def test_a_header_that_is_most_of_the_file(path: Path) -> None:
    size = 2 * files.HEADER_BYTES
    text = safetensors.numpy.save({}, metadata={"trifolium": "x" * size})
    path.write_bytes(text)
    tracemalloc.start()
    assert_refused(path, "its header has")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


# Processes that are killed

WRITER = """
import sys
import numpy as np
from trifolium import files

def pieces():
    yield np.zeros(1 << 20, np.uint8)
    print("writing", flush=True)
    sys.stdin.read()
    yield np.zeros(1 << 20, np.uint8)

array = files.PiecewiseArray((1 << 21,), np.dtype("uint8"), pieces)
files.write(sys.argv[1], "buffer", {}, {"a": array})
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_the_next_save_removes_what_a_killed_one_left(path: Path) -> None:
    before, folder = path.read_bytes(), path.parent
    users = [".good.12-34", ".good.99999999-1.txt", "good.trifolium", ".x.99999999-1.trifolium.old"]
    for name in users[1:]:
        (folder / name).write_bytes(b"a user's")
    child = start_writer(path)
    (left,) = [each for each in folder.iterdir() if each.name not in {"good", *users}]
    assert left.stat().st_size > 1 << 19
    files.write(path.with_name("other"), "buffer", {}, {})
    assert left.exists()  # its writer lives
    child.kill()
    child.communicate()
    assert path.read_bytes() == before
    (folder / f".other.{child.pid}-17").write_bytes(b"of version 0.1")
    files.write(path.with_name("other"), "buffer", {}, {})
    assert {each.name for each in folder.iterdir()} == {"good", "other", *users[1:]}


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_process_that_stands_still_goes_on_to_write(path: Path) -> None:
    child = start_writer(path)
    child.send_signal(signal.SIGSTOP)
    files.write(path, "buffer", {}, {"a": np.zeros(2)})
    child.send_signal(signal.SIGCONT)
    child.communicate("")
    assert child.returncode == 0
    assert files.read(path, "buffer")[1]["a"].shape == (1 << 21,)
    assert list(path.parent.iterdir()) == [path]


def start_writer(path: Path) -> "subprocess.Popen[str]":
    """Return a process that has written half of a file, and waits."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], text=True, **pipes)  # type: ignore[call-overload]
    assert child.stdout.readline() == "writing\n"
    return child  # type: ignore[no-any-return]


def run(code: str, *arguments: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def assert_refused(path: Path, why: str = "") -> None:
    with pytest.raises(tri.CheckpointError, match=re.escape(str(path))) as caught:
        files.read(path, "buffer")
    assert why in str(caught.value)
