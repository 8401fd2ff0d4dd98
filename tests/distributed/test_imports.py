"""Ray is loaded when shards are to be in other processes, and no earlier."""

import subprocess
import sys

import pytest

from trifolium.distributed import ShardedBuffer


def test_ray_is_loaded_when_it_is_needed() -> None:
    made = "import sys; from trifolium.distributed import ShardedBuffer as S; S(8, (2,), address=None)"
    check = "assert 'ray' not in sys.modules and 'trifolium.distributed.cluster' not in sys.modules"
    subprocess.run([sys.executable, "-c", f"{made}; {check}"], check=True)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'trifolium\[ray\]'"):
        ShardedBuffer(8, (2,), address="auto")
