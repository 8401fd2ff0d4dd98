"""Checkpoints: one replaces the other at once, and what is damaged is named."""

import json

import pytest

import trifolium as tri
from trifolium.experiment import checkpoint


@pytest.fixture
def models(backend):
    return {
        name: tri.RandomModel(2, 3, 50, backend=backend, seed=seed)
        for seed, name in enumerate(("wolf/grey", "wolf grey"))
    }


def write(folder, models, step, *, memory=True):
    return checkpoint.write(
        folder, models, counters={"step": step}, runner={"episodes": 2}, logs={"x": 3}, memory=memory
    )


def test_what_is_written_comes_back(tmp_path, models, backend):
    for model in models.values():
        model.memory.add([0.0, 1.0], 1, 1.0, done=False)
        model.take_action(None)
    written = write(tmp_path, models, 7)
    found = checkpoint.read(tmp_path)
    assert found == written
    assert (found.counters, found.runner, found.logs) == ({"step": 7}, {"episodes": 2}, {"x": 3})
    others = {name: tri.RandomModel(2, 3, 50, backend=backend, seed=9) for name in models}
    checkpoint.restore_models(tmp_path, found, others)
    for name, other in others.items():
        assert len(other.memory) == 1
        assert [other.take_action(None) for _ in range(9)] == [
            models[name].take_action(None) for _ in range(9)
        ]


def test_one_replaces_the_other(tmp_path, models):
    write(tmp_path, models, 7)
    left = (
        ".8-memory-0-wolf_grey.safetensors.123-456",
        ".manifest.json.9-8",
        "7-final-0-a.safetensors",
    )
    for name in (*left, "resnet50.pt", "7-memory.txt"):
        (tmp_path / name).write_bytes(b"left by a process that was killed, or a user's")
    write(tmp_path, models, 8)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "7-memory.txt",
        "8-memory-0-wolf_grey.safetensors",
        "8-memory-1-wolf_grey-2.safetensors",
        "manifest.json",
        "resnet50.pt",
    ]


@pytest.mark.parametrize("failing", [0, 1])
def test_one_that_fails_leaves_the_other(tmp_path, models, failing, monkeypatch):
    write(tmp_path, models, 7)
    before = checkpoint.read(tmp_path)
    model = list(models.values())[failing]
    monkeypatch.setattr(model, "state", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path, models, 8)
    monkeypatch.undo()
    assert checkpoint.read(tmp_path) == before
    checkpoint.restore_models(tmp_path, before, models)


def test_none_yet(tmp_path):
    assert checkpoint.read(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:20],
        lambda text: "[]",
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"runner"', '"walker"'),
        lambda text: text.replace('{"episodes": 2}', "3"),
    ],
)
def test_damaged_manifest_is_named(tmp_path, models, damage):
    write(tmp_path, models, 7)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(damage(manifest.read_text()))
    with pytest.raises(tri.CheckpointError, match=r"manifest\.json"):
        checkpoint.read(tmp_path)


def test_missing_model_is_named(tmp_path, models):
    found = write(tmp_path, models, 7)
    next(tmp_path.glob("*-0-*")).unlink()
    with pytest.raises(tri.CheckpointError, match="missing"):
        checkpoint.restore_models(tmp_path, found, models)
    with pytest.raises(tri.CheckpointError, match="expected fox"):
        checkpoint.restore_models(tmp_path, found, {"fox": models["wolf/grey"]})


def test_manifest_names_no_file_elsewhere(tmp_path, models):
    write(tmp_path / "run", models, 7)
    manifest = tmp_path / "run" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["models"] = {name: f"../{file}" for name, file in document["models"].items()}
    manifest.write_text(json.dumps(document))
    for path in (tmp_path / "run").glob("*.safetensors"):
        path.rename(tmp_path / path.name)
    with pytest.raises(tri.CheckpointError, match="missing"):
        checkpoint.restore_models(tmp_path / "run", checkpoint.read(tmp_path / "run"), models)
