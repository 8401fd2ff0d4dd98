"""Damaged and hostile files, by every loader: a sample of what ``nox -s fuzz`` does."""

from pathlib import Path

import pytest

import trifolium as tri

from .fuzz import LOADERS, Fuzzer

LEARNING = ("model", "from_file", "run")


@pytest.mark.slow_on("strict", "torch", "jax")
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("cases", [400, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_only_sound_files_load(backend: tri.Backend, tmp_path: Path, loader: str, cases: int) -> None:
    """All loaders share the cases. Elsewhere than on NumPy a tenth of them is run, of buffers.

    Their files hardly depend on the backend.
    """
    if backend.name != "numpy" and (loader in LEARNING or cases < 2000):
        pytest.skip(
            "models are loaded by the same code, and take long to compile; fewer cases tell less"
        )
    fuzzer = Fuzzer(backend.name, tmp_path, seed=0, only=[loader])
    each = cases // len(LOADERS) + 1
    assert fuzzer.run(range(each if backend.name == "numpy" else each // 10)) == []
    assert fuzzer.counts[loader]["loaded"] > 0
    assert fuzzer.counts[loader]["CheckpointError"] > 0


def test_the_fuzzer_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a check of the cursors, the fuzzer finds what goes wrong."""
    from trifolium.replay.host.ring import Ring

    def restore(self: Ring, written: object, sizes: object) -> None:
        self.written[:], self.sizes[:] = written, sizes  # type: ignore[call-overload]

    monkeypatch.setattr(Ring, "restore", restore)
    assert Fuzzer("numpy", tmp_path, seed=0, only=["buffer"]).run(range(120, 160)) != []
