"""The models in Sorrel itself: its treasure hunt, its agents, its loop. `nox -s sorrel` runs this."""

from pathlib import Path

import numpy as np
import pytest
from sorrel.action.action_spec import ActionSpec
from sorrel.examples.treasurehunt.agents import TreasurehuntAgent
from sorrel.examples.treasurehunt.entities import EmptyEntity
from sorrel.examples.treasurehunt.env import TreasurehuntEnv
from sorrel.examples.treasurehunt.world import TreasurehuntWorld
from sorrel.observation.observation_spec import OneHotObservationSpec
from sorrel.utils.logging import ConsoleLogger

import trifolium as tri

pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__")  # torch's, when Sorrel rounds a loss

ENTITIES = ["EmptyEntity", "Wall", "Gem", "Bone", "Food", "TreasurehuntAgent"]
TURNS = 40
SHAPE = (len(ENTITIES) * 5 * 5,)
PAGE = (Path(__file__).parents[3] / "docs" / "howto" / "sorrel.md").read_text()


def configured(epochs):
    world = {"height": 9, "width": 9, "spawn_prob": 0.02}
    values = {"gem_value": 10, "food_value": 5, "bone_value": -10}
    return {
        "experiment": {"epochs": epochs, "max_turns": TURNS, "record_period": 5},
        "model": {"agent_vision_radius": 2, "epsilon_decay": 0.1, "save_weights": True},
        "world": world | values,
    }


class Hunt(TreasurehuntEnv):
    """Sorrel's treasure hunt with trifolium's models."""

    def __init__(self, models, epochs):
        self.models = models
        config = configured(epochs)
        super().__init__(TreasurehuntWorld(config, EmptyEntity()), config)

    def setup_agents(self):
        actions = ActionSpec(["up", "down", "left", "right"])
        self.agents = []
        for model in self.models:
            seen = OneHotObservationSpec(ENTITIES, full_view=False, vision_radius=2)
            seen.override_input_size(SHAPE)
            self.agents.append(TreasurehuntAgent(seen, actions, model))


def models(backend, kind=tri.DDQN, **options):
    common = {"input_size": SHAPE, "action_space": 4, "memory_size": 5000, "backend": backend}
    return [kind(**common, **options, seed=seed) for seed in (0, 1)]


def rewards(models, epochs, folder):
    logger = ConsoleLogger(epochs)
    np.random.seed(0)  # Sorrel's
    Hunt(models, epochs).run_experiment(animate=False, logger=logger, output_dir=folder)
    return np.array(logger.rewards)


@pytest.mark.parametrize("kind", [tri.DDQN, tri.IQN])
@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_models_run_and_leave_what_sorrel_reads(backend, kind, tmp_path):
    options = {"n_frames": 3, "boundary": "pad", "epsilon": 0.5, "batch_size": 32}
    hunters = models(backend, kind, extras={"positions": ((2,), "int32")}, **options)
    rewards(hunters, 6, tmp_path)
    saved = sorted((tmp_path / "checkpoints").glob("*.pkl"))
    assert len(saved) >= 2
    models(backend, kind, **options)[0].load(saved[-1])
    for model in hunters:
        assert model.epsilon == pytest.approx(0.5 * 0.9**7)
        assert model.memory.size == 7 * TURNS
        positions = tri.backend.as_numpy(model.memory.extra_data["positions"])[: 7 * TURNS]
        assert positions.min() >= 1
        assert len(np.unique(positions, axis=0)) > 5


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_memories_are_generated(backend, tmp_path):
    hunters = models(backend, epsilon=1.0, extras={"positions": ((2,), "int32")})
    Hunt(hunters, 1).generate_memories(2, output_dir=tmp_path)
    with np.load(tmp_path / "memories" / "agent0.npz") as games:
        assert games["states"][:TURNS].any(axis=1).all()
        assert games["positions"][:TURNS].any()


def test_learning_earns_more_than_chance(tmp_path):
    class Eager(tri.DDQN):
        """Sorrel trains once an epoch; this one does it more often."""

        def end_epoch_action(self, **kwargs):
            for _ in range(TURNS):
                self.train_step()

    options = {"epsilon": 0.5, "learning_rate": 1e-3, "gamma": 0.9, "n_step": 3}
    learned = rewards(models("numpy", Eager, **options), 120, tmp_path)
    random = rewards(models("numpy", tri.RandomModel), 120, tmp_path)
    print(learned.round(), random.round())
    assert learned[-40:].mean() > random[-40:].mean() + 40


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_code_of_the_page_runs(backend, tmp_path):
    block = PAGE.split("```python\n")[1].split("```")[0]
    names = {}
    exec(block.replace('backend="torch"', f'backend="{backend}"'), names)
    epochs, config = 6, configured(6)
    hunt = names["Hunt"](TreasurehuntWorld(config, EmptyEntity()), config)
    logger = ConsoleLogger(epochs)
    hunt.run_experiment(animate=False, logger=logger, output_dir=tmp_path)
    assert np.isfinite(np.array(logger.losses, float)).all()
    for agent in hunt.agents:
        batch = agent.model.memory.sample(agent.model.memory.drawable)
        # the last step of each epoch has no known successor
        assert float(batch.valid.sum()) == (epochs + 1) * (TURNS - 1)
