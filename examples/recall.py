"""A world that needs memory: a cue in a corridor says which way to turn at its end.

It is the T-maze of Bakker (2002) without the walking: the cue is seen in one step, and only the last
action counts. The last observation does not depend on the cue, so a policy without memory is right in
half of the episodes. r2d2_torch.py and r2d2_flax.py learn in it. As a script, this file shows what
random actions earn.
"""

import numpy as np

LENGTH = 14  # steps of an episode
OBS_SIZE, ACTIONS = 3, 2  # cue (-1, 0 or 1), whether it is the end, a distraction


class Recall:
    """Many corridors side by side, which end together."""

    def __init__(self, corridors: int, seed: int) -> None:
        self.rng, self.corridors = np.random.default_rng(seed), corridors

    def reset(self) -> np.ndarray:
        """Return the first observations [N, 3]."""
        self.place, self.cues = 0, self.rng.integers(2, size=self.corridors)
        self.cue_places = self.rng.integers(LENGTH - 1, size=self.corridors)
        return self.observe()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        """Return the next observations [N, 3], rewards [N], and whether the episodes are over."""
        self.place += 1
        over = self.place == LENGTH
        rewards = (actions == self.cues) * float(over)
        return self.observe(), rewards, over

    def observe(self) -> np.ndarray:
        """Return what is seen now, [N, 3]."""
        seen = np.zeros((self.corridors, OBS_SIZE), np.float32)
        seen[:, 0] = (2 * self.cues - 1) * (self.place == self.cue_places)
        seen[:, 1] = self.place == LENGTH - 1
        seen[:, 2] = self.rng.uniform(-1, 1, self.corridors)
        return seen


if __name__ == "__main__":
    world, rewards = Recall(10_000, seed=0), np.zeros(0)
    world.reset()
    for _ in range(LENGTH):
        _, rewards, _ = world.step(world.rng.integers(2, size=world.corridors))
    print(f"success without memory: {rewards.mean():.2f}")
