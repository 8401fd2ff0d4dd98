"""Arrays stay on the device that was asked for, with two devices forced on the host."""

import os
import subprocess
import sys

import pytest

PRELUDE = """
import copy, pickle
import jax, numpy as np
import trifolium as tri
from trifolium import replay
first, second = jax.devices()
def on(value):
    found = {device for leaf in jax.tree.leaves(value) if isinstance(leaf, jax.Array)
             for device in leaf.devices()}
    assert len(found) == 1, found
    return found.pop()
def fill(memory):
    for step in range(40):
        memory.add(np.full(2, step, np.float32), step % 2, 1.0, step % 9 == 8)
"""
CASES = {
    "a memory": """
for n_frames in (1, 3):
    buffer = tri.Buffer(64, (2,), n_frames, backend="jax", device="cpu:1", seed=0)
    fill(buffer)
    assert on(buffer.sample(8)) == on(buffer.sample_sequences(4, 2)) == second
    assert on([buffer.current_state(), buffer.states]) == on(buffer.state()) == second
    with jax.default_device(first):
        assert on(buffer.sample(8)) == second
""",
    "a device of its own": """
backend = copy.copy(type(tri.get_backend("jax"))("cpu:1"))
backend.shares_host_memory = False
buffer = tri.Buffer(64, (2,), 3, backend=backend, seed=0)
fill(buffer)
assert on(buffer.sample(8)) == on(buffer.states) == second
""",
    "the functional form": """
state = replay.init(64, (2,), backend="jax", device="cpu:1")
assert on(state) == second
""",
    "a learner": """
for network in (None, (lambda key, x: {"w": jax.random.normal(key, (2, 2))}, lambda p, x: x @ p["w"])):
    model = tri.DDQN(2, 2, 100, backend="jax", device="cpu:1", batch_size=8, seed=0, network=network)
    fill(model.memory)
    assert on(model.progress.learned.params) == second
    assert on(model.train_step()) == second
    assert on(model.progress.learned) == second
    model.take_action(np.zeros(2, np.float32))
""",
    "a default that is set later": """
before = tri.get_backend("jax")
buffer = tri.Buffer(64, (2,), backend=before, seed=0)
jax.config.update("jax_default_device", second)
after = tri.get_backend("jax")
assert (before.device, after.device) == (first, second)
assert tri.get_backend("jax", device="cpu:0") is before
assert after.devices() == ["cpu:1", "cpu:0"]
other = tri.Buffer(64, (2,), backend="jax", seed=0)
for each in (buffer, other):
    fill(each)
assert (on(buffer.sample(8)), on(other.sample(8))) == (first, second)
with jax.default_device(first):
    assert tri.get_backend("jax") is before
""",
    "copies": """
backend = tri.get_backend("jax", device="cpu:1")
assert pickle.loads(pickle.dumps(backend)) is copy.deepcopy(backend) is backend
assert backend is not tri.get_backend("jax")
""",
    "a loss": """
from trifolium.models.loss_value import normalised_loss
backend = tri.get_backend("jax", device="cpu:1")
assert on(normalised_loss([jax.numpy.ones(()), 2.0], backend)[0]) == second
""",
}


QUICK = ("a memory", "a learner")


@pytest.mark.parametrize(
    "case", [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_arrays_stay_on_the_second_device(case: str) -> None:
    flags = f"--xla_force_host_platform_device_count=2 {os.environ.get('XLA_FLAGS', '')}"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", PRELUDE + CASES[case]],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


SETTINGS = {
    "jax_disable_jit": True,
    "jax_numpy_rank_promotion": "raise",
    "jax_debug_nans": True,
}
RUNS = {
    "learners": """
for kind, options in ((tri.DDQN, {"dueling": True, "noisy": True}), (tri.IQN, {"action_quantiles": 4}),
                      (tri.DDQN, {"polyak": 0.1, "max_grad_norm": 1.0, "sampler": tri.Prioritized()}),
                      (tri.DDQN, {"input_size": (6, 6), "convolutions": [(3, 3, 1)], "n_frames": 2})):
    shape = options.get("input_size", (2,))
    model = kind(**{"input_size": shape, "action_space": 2, "memory_size": 100, "batch_size": 8,
                    "hidden": (6, 4), "backend": "jax", "seed": 0} | options)
    for step in range(40):
        model.memory.add(np.full(shape, step / 9, np.float32), step % 2, 1.0, step % 9 == 8)
    for _ in range(3):
        loss = float(model.train_step())
    assert np.isfinite(loss)
    model.take_action(np.zeros((model.n_frames, *shape) if model.n_frames > 1 else shape, np.float32))
""",
    "memories": """
backend = type(tri.get_backend("jax"))()
for backend.shares_host_memory in (True, False):
    for options in ({}, {"boundary": "pad"}, {"n_step": 3}, {"sampler": tri.Prioritized()}):
        buffer = tri.Buffer(64, (2,), 3, backend=backend, seed=0, **options)
        for step in range(100):
            buffer.add(np.full(2, step, np.float32), step % 2, 1.0, step % 9 == 8)
        buffer.sample(8), buffer.sample_sequences(4, 2), buffer.current_state()
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("run", RUNS)
def test_runs_under_the_settings_for_finding_mistakes(run: str, setting: str) -> None:
    code = f"""
import jax, numpy as np
import trifolium as tri
jax.config.update({setting!r}, {SETTINGS[setting]!r})
{RUNS[run]}"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
