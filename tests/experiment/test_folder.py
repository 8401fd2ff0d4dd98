"""What a run writes, and what it leaves alone: through the command, as a person would."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import trifolium as tri
from trifolium.cli import main, printable
from trifolium.experiment import Experiment, TrainOptions, checkpoint
from trifolium.experiment.report import write_report
from trifolium.experiment.rows import CsvFile, EpisodeRow, read_rows

from .command import check_mistake, start, trifolium

RANDOM = ("train", "CartPole-v1", "--model", "random")
PROGRAM = """
import sys
import gymnasium as gym
import numpy as np
from trifolium.cli import main


class Poisoned(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, what, at=150, render_mode=None):
        self.what, self.at, self.steps = what, at, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        poison = np.nan if self.steps >= self.at else 1.0
        if self.what == "error" and self.steps >= self.at:
            raise ValueError("the wheels came off")
        obs = np.full(2, 0.5 * (poison if self.what == "observation" else 1.0), np.float32)
        return obs, poison if self.what == "reward" else 1.0, False, self.steps % 10 == 0, {}


for what in ("observation", "reward", "error"):
    gym.register(f"Poisoned-{what}-v0", Poisoned, kwargs={"what": what})
sys.exit(main())
"""


def random_model(backend="numpy", **options):
    return tri.RandomModel(4, 2, 100, backend=backend, seed=0, **options)


def snapshot(path):
    return {each.relative_to(path): each.read_bytes() for each in path.rglob("*") if each.is_file()}


# Files of others


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint/resnet50.pt",
        "metrics.csv",
        "evaluations.csv",
        "config.json",
        "versions.json",
        "learning_curve.png",
        "model.safetensors",
        "model-wolf.safetensors",
        "tensorboard/events",
    ],
)
def test_a_folder_that_holds_others_files_is_refused(tmp_path, name, capsys):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("someone's")
    before = snapshot(tmp_path)
    assert main([*RANDOM, "--steps", "30", "--out", str(tmp_path / "out")]) == 2
    assert name.partition("/")[0] in capsys.readouterr().err
    assert snapshot(tmp_path) == before


@pytest.mark.slow
def test_a_folder_that_holds_others_files_is_refused_by_the_command(tmp_path):
    (tmp_path / "out" / "checkpoint").mkdir(parents=True)
    (tmp_path / "out" / "checkpoint" / "resnet50.pt").write_bytes(b"weights")
    (tmp_path / "out" / "metrics.csv").write_text("mine\n")
    before = snapshot(tmp_path)
    check_mistake(trifolium(*RANDOM, "--out", "out", cwd=tmp_path), "metrics.csv", "overwrite")
    assert snapshot(tmp_path) == before


def test_other_files_stay_beside_those_of_a_run(tmp_path, options):
    (tmp_path / "notes.txt").write_text("mine")
    run = Experiment(options(model="random", steps=60, checkpoint_every=20), tmp_path)

    def add(progress):
        if (tmp_path / "checkpoint").exists():
            (tmp_path / "checkpoint" / "resnet50.pt").write_text("mine too")

    run.train(on_progress=add)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "checkpoint" / "resnet50.pt").read_text() == "mine too"
    assert len(list((tmp_path / "checkpoint").glob("*.safetensors"))) == 1


def test_a_folder_that_filled_up_after_the_run_was_made_is_refused(tmp_path, options):
    run = Experiment(options(model="random", steps=20), tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.csv").write_text("someone's")
    with pytest.raises(FileExistsError, match=r"metrics\.csv"):
        run.train()
    assert (tmp_path / "run" / "metrics.csv").read_text() == "someone's"


def test_a_report_replaces_only_a_report(tmp_path, options):
    Experiment(options(model="random", steps=60), tmp_path).train()
    page = write_report(tmp_path)
    assert write_report(tmp_path) == page
    page.write_text("<html>mine</html>")
    with pytest.raises(FileExistsError, match=r"report\.html is not a report"):
        write_report(tmp_path)
    assert page.read_text() == "<html>mine</html>"


# Names


def test_agents_whose_names_are_alike_have_files_of_their_own(tmp_path):
    names = ["a/b", "a_b", "é", "ü", "Wolf", "wolf", "x" * 300, "$x"]

    class Round:
        agents = possible_agents = tuple(names)

        def reset(self, seed=None):
            self.acted = []

        def turn(self, agent):
            return tri.worlds.Turn(np.zeros(4), 1.0, False, False)

        def act(self, agent, action):
            self.acted.append(agent)

    models = {name: tri.RandomModel(4, 2, 20, seed=number) for number, name in enumerate(Round.agents)}
    options = TrainOptions(env="round", steps=20, turns=5)
    Experiment(options, tmp_path, world=Round, models=models).train()
    files = sorted(path.name.casefold() for path in tmp_path.glob("model-*.safetensors"))
    assert len(set(files)) == len(names)
    found = checkpoint.file_names(names)
    for name, model in models.items():
        again = tri.RandomModel(4, 2, 20, seed=99)
        again.load(tmp_path / f"model-{found[name]}.safetensors")
        assert again.rng.bit_generator.state["state"]["key"].tolist() == (
            model.rng.bit_generator.state["state"]["key"].tolist()
        )


# NaN


@pytest.fixture
def program(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    return [sys.executable, "program.py"]


@pytest.mark.parametrize("what", ["observation", "reward"])
def test_nan_stops_a_run_and_keeps_the_checkpoint(tmp_path, program, what):
    command = ("train", f"Poisoned-{what}-v0", "--model", "random", "--steps", "400")
    done = trifolium(
        *command, "--checkpoint-every", "40", "--out", "run", cwd=tmp_path, program=program
    )
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    for word in ("after step 149", f"the {what} of", "'agent'", "checkpoint of step 120", "--on-nan"):
        assert word in last
    assert "Traceback" not in done.stderr
    manifest = json.loads((tmp_path / "run" / "checkpoint" / "manifest.json").read_text())
    assert manifest["counters"]["step"] == 120
    done = trifolium(*command, "--on-nan", "ignore", "--out", "again", cwd=tmp_path, program=program)
    assert done.returncode == 0, done.stderr


def test_an_environments_own_error_has_a_traceback(tmp_path, program):
    command = ("train", "Poisoned-error-v0", "--model", "random", "--steps", "400", "--out", "run")
    done = trifolium(*command, cwd=tmp_path, program=program)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1] == "ValueError: the wheels came off"


class Broken(tri.RandomModel):
    """A model whose loss, or weights, become NaN after some updates."""

    what, updates = "loss", 0

    def train_step(self):
        self.updates += 1
        return np.nan if self.what == "loss" and self.updates > 60 else 1.0

    def state(self):
        is_broken = self.what == "weights" and self.updates > 60
        return {"weight": np.array([1.0, np.nan if is_broken else 0.5])}


@pytest.mark.parametrize("what", ["loss", "weights"])
def test_nan_in_a_model_stops_a_run_and_keeps_the_checkpoint(tmp_path, what, backend):
    model = Broken(4, 2, 100, backend=backend, seed=0)
    model.what = what
    options = TrainOptions(
        env="CartPole-v1", steps=300, learning_starts=0, train_every=1, checkpoint_every=20
    )
    run = Experiment(options, tmp_path, models=model)
    with pytest.raises(tri.NanError, match=f"after step .*the {what} .*'model'.* step .* is whole"):
        run.train()
    saved = checkpoint.read(tmp_path / "checkpoint")
    assert saved.step == run.saved_step <= 60
    again = Broken(4, 2, 100, backend=backend, seed=0)
    checkpoint.restore_models(tmp_path / "checkpoint", saved, {"model": again})


# Two processes


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.slow
def test_a_second_process_is_kept_out_and_a_killed_one_leaves_no_lock(tmp_path):
    long = (*RANDOM, "--steps", "10000000", "--checkpoint-every", "100", "--out", "run")
    process = start(*long, cwd=tmp_path)
    try:
        manifest = tmp_path / "run" / "checkpoint" / "manifest.json"
        wait_for(manifest.exists, process)
        other = trifolium("train", "--resume", "run", cwd=tmp_path)
        assert other.returncode == 2
        assert "error: another process trains in 'run'" in other.stderr.splitlines()[-1]
        check_mistake(trifolium(*long, cwd=tmp_path), "holds a run")
        assert trifolium("evaluate", "run", "--episodes", "1", cwd=tmp_path).returncode == 0
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    process = start("train", "--resume", "run", cwd=tmp_path)
    before = manifest.read_bytes()
    wait_for(lambda: manifest.read_bytes() != before, process)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130


def test_one_process_at_a_time_trains_in_a_folder(tmp_path, options):
    run = Experiment(options(model="random", steps=60), tmp_path / "run")
    code = (
        "import sys, time; from trifolium.experiment.folder import RunFolder\n"
        "folder = RunFolder('run'); folder.make()\n"
        "with folder.locked(): print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(tri.FolderInUse, match="another process trains"):
            run.train()
        assert list((tmp_path / "run").iterdir()) == []
    finally:
        other.kill()
        other.communicate()
    run.train()
    assert run.step == 60


def test_a_run_that_another_object_went_on_with_is_not_gone_on_with(tmp_path, options):
    chosen = options(model="random", steps=80, checkpoint_every=20)

    def fail(progress):
        if progress.step > 30:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        Experiment(chosen, tmp_path).train(on_progress=fail)
    first, second = Experiment.resume(tmp_path), Experiment.resume(tmp_path)
    first.train()
    before = snapshot(tmp_path)
    with pytest.raises(RuntimeError, match="another process has trained"):
        second.train()
    assert snapshot(tmp_path) == before


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_read_again(tmp_path, options, monkeypatch):
    Experiment(options(model="random", steps=80), tmp_path).train()
    current = checkpoint.read(tmp_path / "checkpoint")
    outdated = checkpoint.Checkpoint(
        {**current.counters, "step": 40}, current.runner, current.logs, {"model": "gone.safetensors"}
    )
    found = iter([outdated, current])
    monkeypatch.setattr(checkpoint, "read", lambda _: next(found))
    assert Experiment.load(tmp_path).saved_step == 80


# Disks


def test_a_line_that_can_not_be_written_whole_is_taken_back(tmp_path):
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from trifolium.experiment.rows import CsvFile, EpisodeRow\n"
        "log = CsvFile(Path('a.csv'), EpisodeRow, agents=False)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
        "for number in range(100):\n"
        "    try: log.append(EpisodeRow(number, number, 1.0, 1, 0.5, 0.25))\n"
        "    except OSError as error: print(number, error); break\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    written = int(done.stdout.split()[0])
    assert "a.csv" in done.stdout
    assert "lines are whole" in done.stdout
    assert (tmp_path / "a.csv").read_text().endswith("\n")
    assert len(read_rows(tmp_path / "a.csv", EpisodeRow)) == written > 2


def test_a_torn_last_line_is_removed_with_a_warning(tmp_path):
    path = tmp_path / "a.csv"
    log = CsvFile(path, EpisodeRow, agents=False)
    log.append(EpisodeRow(1, 1, 1.0, 1, 0.5, 0.25))
    size = log.size()
    log.append(EpisodeRow(2, 2, 1.0, 1, 0.5, 0.25))
    log.close()
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.warns(RuntimeWarning, match="not written whole"):
        CsvFile(path, EpisodeRow, agents=False, size=size).close()
    assert len(path.read_bytes()) == size
    with pytest.raises(tri.CheckpointError, match="no line that ends"):
        CsvFile(path, EpisodeRow, agents=False, size=size - 2)


def test_a_manifest_without_logs_does_not_wipe_them(tmp_path, options):
    Experiment(options(model="random", steps=80), tmp_path).train()
    path = tmp_path / "checkpoint" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"logs": {}}))
    before = (tmp_path / "metrics.csv").read_bytes()
    with pytest.raises(tri.CheckpointError, match=r"no size of metrics\.csv"):
        Experiment.resume(tmp_path).train()
    assert (tmp_path / "metrics.csv").read_bytes() == before


def test_a_full_disk_says_what_is_intact(tmp_path):
    code = (
        "import resource, sys\n"
        "import trifolium.cli\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))\n"
        "sys.exit(trifolium.cli.main())"
    )
    command = (*RANDOM, "--memory-size", "400", "--steps", "300", "--checkpoint-every", "50")
    program = [sys.executable, "-c", code]
    done = trifolium(*command, "--out", "run", cwd=tmp_path, program=program)
    assert done.returncode == 2, done.stderr
    line = done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    for word in ("150-memory-0-model.safetensors can't be written", "checkpoint of step 100 is whole"):
        assert word in line
    assert len(list((tmp_path / "run" / "checkpoint").iterdir())) == 2
    done = trifolium("train", "--resume", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path / "run" / "metrics.csv", EpisodeRow)) > 3


def test_a_memory_that_can_not_be_allocated_is_one_line(tmp_path):
    code = (
        "import resource, sys\n"
        "import trifolium.cli, trifolium.experiment\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        "sys.exit(trifolium.cli.main())"
    )
    command = (*RANDOM, "--memory-size", "2000000000", "--out", "run")
    done = trifolium(*command, cwd=tmp_path, program=[sys.executable, "-c", code])
    check_mistake(done, "memory_size=2000000000", "GiB", "smaller memory_size")


# Files that are not trusted


def module_in(tmp_path):
    (tmp_path / "evil.py").write_text(
        "from pathlib import Path; Path('imported').touch()\n"
        "import gymnasium as gym\n"
        "gym.register('Evil-v0', 'gymnasium.envs.classic_control:CartPoleEnv', max_episode_steps=20)\n"
    )


def test_a_file_names_no_code_to_import_unless_it_is_trusted(tmp_path):
    Experiment(TrainOptions(env="CartPole-v1", model="random", steps=30), tmp_path / "run").train()
    module_in(tmp_path)
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"env": "evil:Evil-v0"}))
    (tmp_path / "run.toml").write_text('env = "evil:Evil-v0"\nout = "other"\nmodel = "random"\n')
    for command in (
        ("evaluate", "run"),
        ("train", "--resume", "run"),
        ("train", "--config", "run.toml"),
    ):
        check_mistake(trifolium(*command, cwd=tmp_path), "evil", "--trust")
    assert not (tmp_path / "imported").exists()
    done = trifolium("evaluate", "run", "--trust", "--episodes", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "imported").exists()


def test_an_environment_on_the_command_line_is_trusted(tmp_path):
    module_in(tmp_path)
    command = ("train", "evil:Evil-v0", "--model", "random", "--steps", "30", "--out", "run")
    assert trifolium(*command, cwd=tmp_path).returncode == 0


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"env": "\x1b]0;owned\x07", "steps": 3}))
    assert main(["evaluate", str(tmp_path)]) == 2
    (tmp_path / "config.json").write_text(json.dumps({"\x1b[31m": 1}))
    assert main(["evaluate", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "\\x1b" in shown.err
    assert printable("plain é") == "plain é"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 100_000, id="deep"),
        *('{"format": 1}', "[]", '{"format": 2}', '"x"', "{", "null", "\ud800"),
    ],
)
def test_a_hostile_manifest_is_a_checkpoint_error(tmp_path, text):
    Experiment(TrainOptions(env="CartPole-v1", model="random", steps=30), tmp_path).train()
    (tmp_path / "checkpoint" / "manifest.json").write_text(text, errors="surrogatepass")
    with pytest.raises(tri.CheckpointError, match=r"manifest\.json"):
        Experiment.load(tmp_path)
    (tmp_path / "config.json").write_text(text, errors="surrogatepass")
    with pytest.raises(tri.CheckpointError, match=r"config\.json"):
        Experiment.load(tmp_path)
