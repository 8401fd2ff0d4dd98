"""A speaker that sees which landmark is meant, and a listener that is to find it, with a model each.

The game is one of MPE2's, whose names the command line does not know: so its world is given.

Needs: pip install 'trifolium[train]' mpe2
"""

import argparse
import tempfile

from mpe2 import simple_speaker_listener_v4

from trifolium.experiment import Experiment, TrainOptions

world = simple_speaker_listener_v4.parallel_env


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=25_000)
    parser.add_argument("--out", help="folder for the run's record (default: a temporary one)")
    given = parser.parse_args()
    options = TrainOptions(
        env="speaker and listener",
        steps=given.steps,
        seed=given.seed,
        hidden=(64, 64),
        gamma=0.95,
        exploration=0.5,
    )
    run = Experiment(options, given.out or tempfile.mkdtemp(), world=world)
    before = run.evaluate(episodes=50)["listener_0"].mean()
    run.train()
    after = run.evaluate(episodes=50)["listener_0"].mean()
    print(f"mean return: {before:.1f} untrained, {after:.1f} after {given.steps} steps")
    if after < -30:  # by chance it is about -40
        raise SystemExit("the listener has not learned to find what the speaker means")


if __name__ == "__main__":
    main()
