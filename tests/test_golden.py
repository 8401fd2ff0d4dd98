"""The first minibatches of seed 0 are pinned, and the same on every backend.

``python tests/test_golden.py`` pins them anew; a change to the file is a change of behaviour.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.testing.cases import OPTIONS, fill, made, on_host

GOLDEN = Path(__file__).parent / "golden" / "minibatches.json"
ROUNDS = 4


@pytest.mark.parametrize("name", OPTIONS)
def test_minibatches_are_the_pinned_ones(backend: tri.Backend, name: str) -> None:
    pinned = json.loads(GOLDEN.read_text())
    assert pinned.keys() == OPTIONS.keys()
    assert first_minibatches(backend, OPTIONS[name]) == pinned[name]


def first_minibatches(backend: tri.Backend, options: dict[str, Any]) -> dict[str, Any]:
    """Return the indices drawn, and a digest of all arrays, while a buffer fills and wraps."""
    buffer = made(backend, {"action_dtype": "int32"} | options)
    digest = hashlib.sha256()
    indices = []
    for part in range(ROUNDS):
        fill(buffer, 20, seed=part)
        batches = [buffer.sample(6), buffer.sample_sequences(5, 3)]
        for batch in batches:
            indices.append(batch.indices.tolist())
            for array in on_host(backend, batch)[1:]:
                digest.update(f"{array.dtype} {array.shape}".encode())
                digest.update(array.tobytes())
        if isinstance(buffer.sampler, tri.Prioritized):
            buffer.update_priorities(batches[0].indices, np.arange(6.0))
    return {"indices": indices, "sha256": digest.hexdigest()}


if __name__ == "__main__":
    numpy = tri.get_backend("numpy")
    found = {name: first_minibatches(numpy, options) for name, options in OPTIONS.items()}
    lines = [f"  {json.dumps(name)}: {json.dumps(pinned)}" for name, pinned in found.items()]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
