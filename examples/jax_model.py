"""A JaxModel of ten lines in a jitted optax loop: double deep Q-learning on CartPole.

The network, the optimizer and the compiled update are the script's own. trifolium brings the replay
memory, whose minibatches are JAX arrays, epsilon and the generator.
"""

import sys

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import optax

from trifolium.experiment import evaluate
from trifolium_jax import JaxModel

STEPS = 25_000
RANDOM_RETURN = 22.0  # of a random policy on CartPole-v1, on average
OPTIMIZER = optax.adam(5e-4)


def initial_params(key):
    keys = jax.random.split(key, 3)
    sizes = [(4, 120), (120, 84), (84, 2)]
    bound = [1 / np.sqrt(rows) for rows, _ in sizes]
    return [
        (jax.random.uniform(k, size, minval=-b, maxval=b), jnp.zeros(size[1]))
        for k, size, b in zip(keys, sizes, bound, strict=True)
    ]


@jax.jit
def action_values(params, states):
    for weight, bias in params[:-1]:
        states = jax.nn.relu(states @ weight + bias)
    weight, bias = params[-1]
    return states @ weight + bias


@jax.jit
def update(params, target, optimizer, batch, discounts):
    states, actions, rewards, next_states, dones, valid = batch
    best = jnp.argmax(action_values(params, next_states), axis=1, keepdims=True)
    following = jnp.take_along_axis(action_values(target, next_states), best, axis=1)
    wanted = rewards + discounts * (1 - dones) * following

    def loss_of(params):
        values = jnp.take_along_axis(action_values(params, states), actions, axis=1)
        return jnp.sum(optax.huber_loss(values, wanted) * valid) / jnp.sum(valid)

    loss, grads = jax.value_and_grad(loss_of)(params)
    changes, optimizer = OPTIMIZER.update(grads, optimizer)
    return optax.apply_updates(params, changes), optimizer, loss


class QNetwork(JaxModel):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.params = initial_params(self.key)

    def take_action(self, state):
        if self.rng.random() < self.epsilon:
            return int(self.rng.integers(self.action_space))
        return int(action_values(self.params, state).argmax())


def main() -> None:
    env = gym.make("CartPole-v1")
    model = QNetwork(input_size=4, action_space=2, memory_size=STEPS, epsilon=1.0, seed=0, n_step=3)
    target, optimizer = model.params, OPTIMIZER.init(model.params)

    obs, _ = env.reset(seed=0)
    for step in range(STEPS):
        model.set_epsilon(max(0.05, 1.0 - 2.0 * step / STEPS))
        action = model.take_action(obs)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        model.memory.add(obs, action, reward, terminated, truncated=truncated, next_obs=next_obs)
        obs = env.reset()[0] if terminated or truncated else next_obs

        if step >= 1_000 and step % 2 == 0:
            batch = model.memory.sample(128)
            model.params, optimizer, _ = update(
                model.params, target, optimizer, tuple(batch), batch.discounts
            )
        if step % 500 == 0:
            target = model.params

    found = evaluate(model, gym.make("CartPole-v1"), episodes=20, seed=1_000).mean()
    print(f"mean greedy return {found:.0f}; a random policy gets {RANDOM_RETURN:.0f}")
    if found < 4 * RANDOM_RETURN:
        sys.exit("it has learned less than it should")


if __name__ == "__main__":
    main()
