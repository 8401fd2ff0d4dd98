"""Let every write of a run fail, one after the other, and look at what the run leaves.

``python tests/faults.py`` ends with an error unless after each fault

- the checkpoint that was there before is whole, or a newer one is, and no line of a log is torn,
- the command ended with one line that names the file, or did all that it does without a fault,
- the same run goes on without the fault, and ends as one that had none: same logs, same models.

``--every 7`` takes every seventh write, ``--kind full`` one kind of fault. Functions of Python that
change files are replaced by ones that count, in a child process.
"""

import argparse
import builtins
import contextlib
import errno
import io
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kills import contents

from trifolium import cli
from trifolium.experiment import Experiment

RUN = [
    *(
        "train",
        "CartPole-v1",
        "--seed",
        "3",
        "--hidden",
        "8",
        "--batch-size",
        "16",
        "--memory-size",
        "200",
    ),
    *(
        "--learning-starts",
        "40",
        "--checkpoint-every",
        "60",
        "--eval-every",
        "100",
        "--eval-episodes",
        "1",
    ),
    "--tensorboard",
]
FIRST, LAST = 120, 240  # steps of the run before a fault, and of the whole run
NAMES_OF_CALLS = ("fsync", "replace", "mkdir", "unlink", "rmdir", "ftruncate")


class Disk:
    """What changes files under a folder, which fails at the ``fails_at``-th time.

    Args:
        folder: other files are left alone.
        fails_at: the number of the first change that fails; 0 for none.
        kind: "full": writes fail from then on, and half of the first is written. "once": only that
            change fails. "limit": as "full", with the error of a limit on the size of files.
            "read-only": every change fails from then on.
    """

    def __init__(self, folder: Path, fails_at: int, kind: str) -> None:
        self.folder, self.fails_at, self.kind = os.fspath(folder), fails_at, kind
        self.changes = 0
        self.failed = "nothing"
        self.open = io.open

    def install(self) -> None:
        builtins.open = io.open = self.opened
        for name in NAMES_OF_CALLS:
            setattr(os, name, self.counted(name, getattr(os, name)))

    def counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def change(target: Any, *arguments: Any, **options: Any) -> Any:
            path = os.fspath(target) if not isinstance(target, int) else self.path_of(target)
            if self.is_below(path):
                self.change(path, name)
            return call(target, *arguments, **options)

        return change

    def is_below(self, path: Any) -> bool:
        return isinstance(path, str) and os.path.abspath(path).startswith(self.folder)

    @staticmethod
    def path_of(descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")

    def change(self, path: str, name: str) -> None:
        """Count a change; raise the error if it is one that fails."""
        self.changes += 1
        if self.fails_at == 0 or self.changes < self.fails_at:
            return
        first = self.changes == self.fails_at
        number = {"read-only": errno.EROFS, "limit": errno.EFBIG}.get(self.kind, errno.ENOSPC)
        if self.kind == "read-only" or first or (self.kind != "once" and name in ("write", "fsync")):
            self.failed = name if first else self.failed
            raise OSError(number, os.strerror(number), path)

    def opened(
        self, file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **options: Any
    ) -> Any:
        """Open a file as ``open`` does; what is written to it counts."""
        if isinstance(file, int) or not self.is_below(os.fspath(file)) or not set(mode) & set("wax+"):
            return self.open(file, mode, buffering, *rest, **options)
        path = os.fspath(file)
        if not os.path.exists(path):
            self.change(path, "open")
        raw = _File(path, mode.replace("b", "").replace("t", ""))
        raw.disk = self
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **options)


class _File(io.FileIO):
    disk: Disk

    def write(self, content: Any) -> int:
        try:
            self.disk.change(str(self.name), "write")
        except OSError:
            half = memoryview(content).cast("B")[: memoryview(content).nbytes // 2]
            if self.disk.kind != "read-only" and self.disk.changes == self.disk.fails_at and len(half):
                return super().write(half)  # a short write; the next one fails
            raise
        return super().write(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take every N-th write")
    parser.add_argument("--kind", choices=KINDS, help="one kind of fault")
    parser.add_argument("--at", type=int, help="one write")
    arguments = parser.parse_args()
    kinds = KINDS if arguments.kind is None else (arguments.kind,)
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for begun in (False, True):
            faults = Faults(Path(os.path.realpath(folder)) / f"{begun}", begun=begun)
            for kind in kinds:
                stopped = 0
                numbers = range(1, faults.changes + 1, arguments.every)
                for number in numbers if arguments.at is None else [arguments.at]:
                    try:
                        stopped += faults.check(number, kind)
                    except AssertionError as error:
                        failures.append(str(error))
                told = "a run that is resumed" if begun else "a new run"
                print(
                    f"{told}, {kind}: {faults.changes} writes, {len(numbers)} faults, {stopped} stops"
                )
    if failures:
        sys.exit("\n".join([*failures, f"{len(failures)} faults did harm"]))


KINDS = ("full", "once", "limit", "read-only")


class Faults:
    """A run, and the same one with faults.

    Args:
        folder: a new folder for all of it.
        begun: whether the faults are in the second half of the run, which is resumed.
    """

    def __init__(self, folder: Path, *, begun: bool) -> None:
        folder.mkdir()
        self.begun = begun
        self.whole, self.before, self.out = (folder / name for name in ("whole", "before", "out"))
        if begun:
            assert in_child(self.out, 0, "full", self.command(FIRST))[0] == 0
            shutil.copytree(self.out, self.before)
        code, said, self.changes, _ = in_child(self.out, 0, "full", self.command(LAST))
        assert code == 0, said
        self.out.rename(self.whole)
        self.expected = contents(self.whole)

    def command(self, steps: int) -> list[str]:
        if (self.out / "config.json").exists():
            return ["train", "--resume", str(self.out), "--steps", str(steps)]
        return [*RUN, "--steps", str(steps), "--out", str(self.out)]

    def check(self, number: int, kind: str) -> bool:
        """Let one write fail; return whether the run stopped."""
        where = f"{kind} at write {number} of {self.changes}, begun={self.begun}"
        shutil.rmtree(self.out, ignore_errors=True)
        if self.begun:
            shutil.copytree(self.before, self.out)
        code, said, _, failed = in_child(self.out, number, kind, self.command(LAST))
        if code:
            last = said.splitlines()[-1]
            assert code == cli.USAGE_ERROR, f"{where}: exit code {code}\n{said}"
            assert "Traceback" not in said, f"{where}\n{said}"
            assert str(self.out) in last, f"{where}: no file is named\n{said}"
            if self.begun:
                assert Experiment.load(self.out).saved_step >= FIRST, where
            code_of_resumed, said, *_ = in_child(self.out, 0, kind, self.command(LAST))
            assert code_of_resumed == 0, f"{where}: not resumed\n{said}"
        found = contents(self.out)
        different = [name for name in self.expected if found.get(name) != self.expected[name]]
        assert not different, f"{where}: {different} differ; the run said\n{said}"
        names = {str(path.relative_to(self.out)) for path in files_in(self.out)}
        wanted = {str(path.relative_to(self.whole)) for path in files_in(self.whole)}
        if failed == "unlink" and not code:  # what could not be removed stays till the next checkpoint
            names = {name for name in names if not name.startswith("checkpoint")} | (names & wanted)
        assert names == wanted, f"{where}: {sorted(names ^ wanted)}"
        return code != 0


def files_in(folder: Path) -> list[Path]:
    """Return all files but those of TensorBoard, of which each process writes its own."""
    return [path for path in folder.rglob("*") if path.is_file() and "tfevents" not in path.name]


def in_child(out: Path, fails_at: int, kind: str, command: list[str]) -> tuple[int, str, int, str]:
    """Run the command line in a child process.

    Returns:
        Its exit code, its messages, its number of changes, and the name of the first that failed.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        disk = Disk(out, fails_at, kind)
        said = io.StringIO()
        code = 255
        try:
            disk.install()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                code = cli.main(command)
        except BaseException:  # noqa: BLE001 (a child must end here)
            traceback.print_exc(file=said)
        os.write(writing, f"{disk.changes} {disk.failed}\n{said.getvalue()}".encode())
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        first, _, said_by_child = pipe.read().decode().partition("\n")
    changes, failed = first.split()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said_by_child, int(changes), failed


if __name__ == "__main__":
    main()
