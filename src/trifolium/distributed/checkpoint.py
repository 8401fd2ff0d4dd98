"""Save a ShardedBuffer to a folder: a file of each shard, and a manifest that is written last."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from trifolium import files
from trifolium.backend import Backend
from trifolium.distributed.group import ShardGroup
from trifolium.distributed.transport import ProcessLost
from trifolium.errors import CheckpointError
from trifolium.replay import Prioritized, Sampler
from trifolium.replay.io import file as saving
from trifolium.replay.schema import BufferSpec

__all__ = ["SavedMemory", "read", "save"]

TRIES = 3  # of a save, in each of which a shard dies

_MANIFEST, _KIND, _PREFIX = "memory.safetensors", "sharded memory", "shard-"


def save(
    path: str | os.PathLike[str],
    group: ShardGroup,
    manifest: Mapping[str, Any],
    rng: np.random.Generator,
    sampler: Sampler,
    number: int,
) -> None:
    """Write the shards' files, then the manifest; then remove the files of earlier saves.

    Args:
        path: the folder.
        group: the shards.
        manifest: the options of the memory, in JSON's types.
        rng: the driver's generator.
        sampler: the driver's.
        number: of this save, different from those of earlier ones in the folder.
    """
    folder = os.path.abspath(path)
    os.makedirs(folder, exist_ok=True)
    names = [f"{_PREFIX}{shard}-{number}.safetensors" for shard in range(len(group.statuses))]
    paths = [os.path.join(folder, name) for name in names]
    for tries_left in reversed(range(TRIES)):
        try:
            group.ask_all("save", [(each,) for each in paths])
            break
        except ProcessLost:
            if not tries_left:
                raise ConnectionError(
                    f"shards died while they wrote to {folder}, {TRIES} times; an earlier save there "
                    "still holds. Save again"
                ) from None
            group.refresh()  # hear from the one that takes its place
    document = dict(manifest) | {
        "files": names,
        "number": number,
        "generator": saving.generator_state(rng),
        "incarnations": list(group.incarnations),
        "largest": group.largest,
        "steps": group.steps,
    }
    files.write(os.path.join(folder, _MANIFEST), _KIND, document, sampler.state())
    group.checkpoints[:] = paths
    for name in os.listdir(folder):
        if name.startswith(_PREFIX) and name not in names:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))


def read(path: str | os.PathLike[str]) -> SavedMemory:
    """Return what :func:`save` wrote, but for the shards' files, which the shards read."""
    manifest, arrays = files.read(os.path.join(path, _MANIFEST), _KIND)
    return SavedMemory(os.path.abspath(path), manifest, arrays)


@dataclass(frozen=True)
class SavedMemory:
    """A memory in a folder."""

    folder: str
    manifest: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def backend(self) -> str:
        """Name of the backend that the memory was on."""
        with saving.sound(self.folder, "memory"):
            return str(self.manifest["backend"])

    @property
    def drawn(self) -> int:
        """Rows that were drawn from the memory."""
        with saving.sound(self.folder, "memory"):
            return int(self.manifest["drawn"])

    def options(self, backend: Backend) -> dict[str, Any]:
        """Return the arguments of the memory, for a backend."""
        with saving.sound(self.folder, "memory"):
            return saving.buffer_options(self.manifest, backend) | {"shards": self.manifest["shards"]}

    def check_options(self, spec: BufferSpec, shards: int, sampler: Sampler) -> None:
        """Raise CheckpointError if a memory of other options was saved."""
        with saving.sound(self.folder, "memory"):
            found = self.manifest["spec"], self.manifest["shards"], self.manifest["sampler"]
        wanted = spec.options(), shards, type(sampler).__name__
        for name, one, other in zip(("spec", "shards", "sampler"), found, wanted, strict=True):
            if json.loads(json.dumps(other)) != one:
                raise CheckpointError(f"{self.folder} has {name}={one}; this memory has {other}")

    def restore(self, group: ShardGroup, rng: np.random.Generator, sampler: Sampler) -> int:
        """Restore the shards, the generator and the sampler; return the number of the save."""
        with saving.sound(self.folder, "memory"):
            names = [os.path.basename(name) for name in self.manifest["files"]]
            if len(names) != len(group.statuses):
                raise ValueError(f"{len(names)} files of {len(group.statuses)} shards")
            paths = [os.path.join(self.folder, name) for name in names]
            missing = [each for each in paths if not os.path.isfile(each)]
            if missing:
                raise CheckpointError(f"{self.folder} lacks the file {os.path.basename(missing[0])}")
            generator = saving.checked_generator(self.manifest["generator"])
            group.ask_all("restore", [(each,) for each in paths])
            group.checkpoints[:] = paths
            group.incarnations[:] = map(int, self.manifest["incarnations"])
            group.steps_before = int(self.manifest["steps"])
            group.largest = float(self.manifest["largest"])
            rng.bit_generator.state = generator
            if isinstance(sampler, Prioritized):
                nothing: Any = None  # the driver's sampler has no rows
                sampler.restore(nothing, self.arrays)
            return int(self.manifest["number"])
