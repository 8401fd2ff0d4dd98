"""Runs of an experiment whose actors and memory are apart, in this process."""

from pathlib import Path
from typing import Any

import pytest

import trifolium as tri
from trifolium.distributed import ShardedBuffer
from trifolium.experiment import Experiment, RunProgress, TrainOptions
from trifolium.experiment.rows import EpisodeRow, read_rows

SMALL = {"hidden": (8,), "batch_size": 16, "memory_size": 2000, "learning_starts": 64}


def options(**given: Any) -> TrainOptions:
    chosen = {"env": "CartPole-v1", "steps": 400, "actors": 2, "shards": 2, "n_envs": 2, **SMALL}
    return TrainOptions(**{**chosen, "address": "process", "lockstep": True, **given})


def trained(folder: Path, **given: Any) -> Experiment:
    run = Experiment(options(**given), folder)
    run.train()
    return run


def weights(run: Experiment) -> dict[str, list[float]]:
    return {name: array.tolist() for name, array in run.models["model"].state().items()}


@pytest.mark.slow_on("torch", "jax")  # tests of Actors learn on these
def test_lockstep_repeats_itself(learner: tri.Backend, tmp_path: Path) -> None:
    given = {"backend": learner.name, "prioritized": True, "steps": 200}
    one, two = (trained(tmp_path / name, **given) for name in ("one", "two"))
    assert weights(one) == weights(two)
    rows = [read_rows(run.out / "metrics.csv", EpisodeRow) for run in (one, two)]
    assert [row.length for row in rows[0]] == [row.length for row in rows[1]]
    assert {row.agent for row in rows[0]} == {"actor-0", "actor-1"}


@pytest.mark.parametrize("lockstep", [False, True])
def test_rows_drawn_for_each_step(tmp_path: Path, lockstep: bool) -> None:
    run = trained(tmp_path / "run", samples_per_insert=4, lockstep=lockstep)
    memory: Any = run.models["model"].memory
    assert isinstance(memory, ShardedBuffer)
    assert memory.drawn == pytest.approx(4 * (run.step - 64), abs=2 * 16)
    if lockstep:
        assert memory.steps == run.step
    else:  # what actors are ahead is bounded
        assert run.step <= memory.steps <= run.step + 2 * 3 * 64


def test_progress_says_how_fast_a_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trifolium.distributed import meter, runner

    monkeypatch.setattr(meter, "WINDOW", 0.0)
    monkeypatch.setattr(runner, "PUBLISHED", 0.0)
    run = Experiment(
        options(samples_per_insert=4, lockstep=False, policy_version=True), tmp_path / "run"
    )
    shown: list[RunProgress] = []
    run.train(on_progress=shown.append)
    last = shown[-1].traffic
    assert last is not None
    assert last.steps_per_second > 0
    assert last.updates_per_second > 0
    assert last.samples_per_insert > 0
    assert last.policy_age >= 0
    assert min(last.shard_bytes) > 10_000_000
    assert len(last.shard_bytes) == 2
    memory: Any = run.models["model"].memory
    assert memory.sample(16).extras["policy_version"].max() > 0
    assert " steps/s, " in str(last)


def test_a_run_in_one_process_has_no_traffic(tmp_path: Path) -> None:
    shown: list[RunProgress] = []
    Experiment(options(actors=0, lockstep=False), tmp_path / "run").train(on_progress=shown.append)
    assert {each.traffic for each in shown} == {None}


def test_a_run_is_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trained(folder, steps=200, keep_memory=True)
    assert (folder / "checkpoint" / "rows-0").is_dir()
    run = Experiment.resume(folder, steps=300)
    memory: Any = run.models["model"].memory
    assert (memory.steps, run.step) == (200, 200)
    assert memory.drawable > 150
    run.train()
    assert (memory.steps, run.step) == (300, 300)


def test_a_finished_run_holds_no_rows(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trained(folder, steps=200, checkpoint_every=100)
    assert not (folder / "checkpoint" / "rows-0").exists()
    assert Experiment.load(folder).evaluate(episodes=2)["agent"].shape == (2,)


def test_a_run_on_ray_is_evaluated_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    folder = tmp_path / "run"
    run = trained(folder, steps=200)
    TrainOptions.save(options(steps=200, address="local"), run.out / "config.json")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert Experiment.load(folder).evaluate(episodes=2)["agent"].shape == (2,)


def test_the_command_shows_how_fast_a_run_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trifolium.cli import main
    from trifolium.distributed import meter

    monkeypatch.setattr(meter, "WINDOW", 0.0)
    given = "--actors 2 --shards 2 --address process --steps 400 --memory-size 2000 --hidden 8"
    given += " --learning-starts 64 --batch-size 16"
    assert main(["train", "CartPole-v1", "--out", str(tmp_path / "run"), *given.split()]) == 0
    assert " steps/s, " in capsys.readouterr().err
    header, first, *_ = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert header.endswith(",agent")
    assert first.rpartition(",")[2] in ("actor-0", "actor-1")
    assert main(["report", str(tmp_path / "run")]) == 0
    assert "actor-1" in (tmp_path / "run" / "report.html").read_text()


def test_games_of_several_agents_share_a_model(tmp_path: Path) -> None:
    given = {"env": "pettingzoo:classic/tictactoe-v3", "n_envs": 1, "steps": 200, "shards": 1}
    run = trained(tmp_path / "run", **given, shared=True)
    assert run.models["model"].memory.n_streams == 4
    with pytest.raises(ValueError, match="expected shared=True"):
        Experiment(options(**given), tmp_path / "other")


def test_a_custom_model_stays_in_its_process(tmp_path: Path) -> None:
    model = tri.RandomModel(4, 2, 2000, n_streams=4)
    with pytest.raises(ValueError, match="expected models=None"):
        Experiment(options(), tmp_path / "run", models=model)


def test_without_ray_the_command_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    from trifolium.cli import main

    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["train", "CartPole-v1", "--actors", "2", "--out", str(tmp_path / "run")]) == 2
    assert "pip install 'trifolium[ray]'" in capsys.readouterr().err
