"""Figures of how data flows: through an update, and between actors, shards and a learner."""

from svg import Picture


def update(picture: Picture) -> None:
    """What one step and one update do, on the host and on the device."""
    picture.box(10, 34, 480, 286, fill="none", border="line", dashed=True)
    picture.text(22, 54, "host", size=13, colour="faint", anchor="start")
    picture.box(546, 34, 244, 286, fill="none", border="line", dashed=True)
    picture.text(558, 54, "device of the backend", size=13, colour="faint", anchor="start")
    picture.box(30, 70, 120, 60, "environment", fill="yellow")
    picture.box(
        210, 70, 250, 60, "rows of the memory", fill="blue", below="marks, actions, rewards; columns"
    )
    picture.line((150, 100), (206, 100), arrow=True)
    picture.text(178, 92, "add", size=12)
    picture.box(
        210, 170, 250, 50, "generator: which rows", fill="blue", below="one seed, every backend"
    )
    picture.line((335, 170), (335, 134), arrow=True)
    picture.box(210, 254, 250, 50, "gather", fill="blue", below="frames of each stack, once")
    picture.line((230, 130), (230, 150), (192, 150), (192, 279), (206, 279), arrow=True)
    picture.box(566, 254, 204, 50, "batch", fill="green", below="arrays of the backend")
    picture.line((460, 279), (562, 279), arrow=True)
    picture.box(566, 170, 204, 50, "update", fill="green", below="loss, gradients, Adam, target")
    picture.line((668, 254), (668, 224), arrow=True)
    picture.box(566, 80, 204, 50, "parameters", fill="green", below="old memory reused: donated")
    picture.line((668, 170), (668, 134), arrow=True)
    picture.line((566, 195), (464, 195), arrow=True)
    picture.text(513, 188, "priorities", size=12)
    picture.line((668, 80), (668, 20), (90, 20), (90, 66), arrow=True)
    picture.text(300, 14, "actions, by a copy of the parameters on the host", size=12)


def actors(picture: Picture) -> None:
    """Actors that write to shards, and a learner that draws from all of them."""
    for number in range(3):
        top = 60 + 96 * number
        picture.box(
            20, top, 170, 62, f"actor {number}", fill="yellow", below="its environments, a policy"
        )
        picture.line((190, top + 31), (286, top + 31), arrow=True)
    picture.text(238, 84, "chunks", size=12)
    picture.text(238, 110, "of steps", size=12)
    for number in range(3):
        top = 60 + 96 * number
        picture.box(290, top, 170, 62, f"shard {number}", fill="blue", below="whole streams: a Buffer")
        picture.line((460, top + 31), (530, top + 31), (530, 187), (566, 187), arrow=number == 1)
    picture.text(375, 40, "processes, on one machine or a cluster", size=13, colour="faint")
    picture.box(570, 130, 170, 62, "ShardedBuffer", fill="green", below="draws with one buffer's law")
    picture.box(570, 236, 170, 62, "learner", fill="green", below="train_step as always")
    picture.line((655, 192), (655, 232), arrow=True)
    picture.text(662, 217, "batch", size=12, anchor="start")
    picture.line((655, 298), (655, 346), (105, 346), (105, 318), arrow=True)
    picture.text(
        375, 362, "newest policy, at most so many draws per step (samples_per_insert)", size=12
    )
