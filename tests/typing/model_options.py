"""Options as type checkers see them: mypy reports an ignore comment that is not needed."""

import trifolium as tri
from trifolium.models.iqn import IQN

model = tri.DDQN(4, 2, 1000, 0.1, hidden=(64,), learning_rate=tri.Linear(1e-3, 0.0, 10), n_step=1)
model.epsilon = 0.5
model.learning_rate = 1e-3
delta: float | None = model.huber_delta
frames: int = model.n_frames
drawable: int = model.memory.drawable
other: IQN = IQN(4, 2, 1000, quantiles=4, double=True, memory=model.memory)
again: tri.DDQN = tri.DDQN.from_file("model", batch_size=4)

tri.DDQN(4, 2, 1000, lr=0.1)  # type: ignore[call-arg]
tri.DDQN(4, 2, 1000, kappa=1.0)  # type: ignore[call-arg]
tri.DDQN(4, 2, 1000, batch_size="64")  # type: ignore[arg-type]
tri.DDQN(4, 2, 1000, 0.1, (64,))  # type: ignore[call-arg, arg-type]
tri.DDQN(4, 2)  # type: ignore[call-arg]
tri.IQN(4, 2, 1000, huber_delta=1.0)  # type: ignore[call-arg]
tri.IQN(4, 2, 1000, memory=[])  # type: ignore[arg-type]
tri.IQN(4, 2, 1000, sampler=tri.Prioritized)  # type: ignore[arg-type]
