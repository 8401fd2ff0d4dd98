"""QR-DQN (Dabney et al. 2018) as a custom algorithm; it learns CartPole on any backend."""

import argparse
from dataclasses import dataclass, replace

import gymnasium as gym

import trifolium as tri
from trifolium.models import losses, networks


@dataclass(frozen=True)
class QuantileRegression:
    network: networks.Network  # states [B, n] to quantiles [B, N, A]
    evaluations: int = 2  # of the network with noise of their own: for losses and for targets

    def draw(self, rng, batch_size):
        return ()

    def action_values(self, xp, params, noise, states):
        return xp.mean(self.network.apply(xp, params, noise, states), axis=1)

    def targets(self, xp, params, target_params, batch, random):
        quantiles = self.network.apply(xp, target_params, random.noise_of(1), batch.next_states)
        best = xp.argmax(xp.mean(quantiles, axis=1), axis=1, keepdims=True)
        z_t = losses.chosen_quantiles(xp, quantiles, best)
        return batch.rewards + batch.discounts * (1.0 - batch.dones) * z_t

    def losses(self, xp, params, batch, targets, random):
        values = self.network.apply(xp, params, random.noise_of(0), batch.states)
        quantiles = losses.chosen_quantiles(xp, values, batch.actions)
        middles = (xp.cumulative_sum(xp.ones_like(targets), axis=1) - 0.5) / targets.shape[1]
        each = losses.quantile_huber(xp, quantiles, middles, targets, 1.0)
        return each, each


class QRDQN(tri.Learner):
    def make_network(self, torso, head):
        return networks.QNetwork(torso, replace(head, outputs=16))

    def make_algorithm(self, network):
        return QuantileRegression(network)


parser = argparse.ArgumentParser()
parser.add_argument("--backend", default="numpy")
env, epsilon = gym.make("CartPole-v1"), tri.Linear(1.0, 0.05, 3_000)
model = QRDQN.from_env(env, 8_000, backend=parser.parse_args().backend, epsilon=epsilon, seed=0)
obs, over, episodes = None, True, 0
for step in range(8_000):
    if over:
        (obs, _), episodes = env.reset(seed=step), episodes + (step > 6_000)
    action = model.take_action(obs)
    after, reward, done, truncated, _ = env.step(action)
    model.memory.add(obs, action, reward, done, truncated=truncated, next_obs=after)
    obs, over = after, done or truncated
    if step > 500 and step % 2:
        model.train_step()
print(f"mean length of the last episodes: {2_000 / max(episodes, 1):.0f} (at random: 22)")
assert episodes < 20, "too little was learned"
