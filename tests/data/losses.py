"""Writes the losses that models of earlier versions have today: ``python -m tests.data.losses``.

They follow from the rows that are drawn, and are written anew where a version draws in another way.
"""

from pathlib import Path

import numpy as np

import trifolium as tri
from tests.data import format1, format2


def main() -> None:
    found = {}
    for name in [f"{writer}-{kind}" for kind in format1.MODELS for writer in format1.BACKENDS]:
        writer, _, kind = name.partition("-")
        path = format1.FOLDER / "models" / f"{name.replace(' ', '_')}.safetensors"
        found[name] = format1.load_model(kind, path, tri.get_backend(writer))
    for writer, network in format1.NETWORKS.items():
        path = format1.FOLDER / "models" / f"{writer}-network.safetensors"
        found[f"{writer}-network"] = format1.load_model(
            "ddqn", path, tri.get_backend(writer), network()
        )
    write(format1.FOLDER, found)
    found = {}
    for name in [f"{writer}-{kind}" for kind in format2.MODELS for writer in format2.LEARNERS]:
        cls, _ = format2.MODELS[name.partition("-")[2]]
        found[name] = cls.from_file(format2.FOLDER / "models" / f"{name}.safetensors")  # type: ignore[attr-defined]
    write(format2.FOLDER, found)


def write(folder: Path, found: dict[str, tri.BaseModel]) -> None:
    losses = {f"{name}/losses": format1.use_model(model)["losses"] for name, model in found.items()}
    np.savez_compressed(folder / "expected" / "losses.npz", **losses)


if __name__ == "__main__":
    main()
