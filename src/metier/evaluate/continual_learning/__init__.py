"""One model through a sequence of tasks: what it gains, what it forgets, and which strategy keeps most for least."""

from __future__ import annotations

import tempfile
from pathlib import Path

from metier.artifacts import Corpus, Examples, Items, Model
from metier.evaluate.continual_learning.results import ContinualLearning
from metier.evaluate.continual_learning.settings import Elastic, Replay, Strategy, Training
from metier.method import method


@method(
    paper="Continual Learning of Large Language Models: A Comprehensive Survey, arXiv 2404.16789",
    claim="replaying past data forgets less than plain sequential training in as many steps",
)
def continual_learning(
    model: Model,
    tasks: list[Corpus | Examples],
    suites: list[Items],
    general: list[Items] | None = None,
    rehearsal: Corpus | Examples | None = None,
    *,
    strategies: tuple[Strategy, ...] = ("replay", "ewc", "adapters"),
    orders: int = 1,
    baselines: bool = True,
    training: Training | None = None,
    replay: Replay | None = None,
    elastic: Elastic | None = None,
    seed: int = 0,
    workdir: Path | None = None,
) -> ContinualLearning:
    """Trains the model on one task after the other, by each strategy, and asks all suites after each: forgetting and transfer.

    suites[i] examines tasks[i]; all are of one metric. `general` suites are never trained on; `rehearsal` is general text that
    the replay buffer holds from the start. Baselines: sequential, individual (a model a task) and joint (one on all at once).
    Strategies: replay; ewc and l2sp, penalties from the second stage on, anchored where the stage before ended; lora, an adapter
    merged after each stage; adapters, one a task on the frozen start model, chosen by the task's name, so that nothing can be
    forgotten. Each stage has a fresh optimiser and warm-up, and sees its task's rows as often; replayed tokens come on top, and
    are counted, unless replay.budget says otherwise. A killed call goes on with its stage where `workdir` is given again.
    Raises ValueError for suites of several metrics, and for ewc and l2sp where their copies of the weights don't fit the memory.
    Settings:
        strategies: what runs besides the baselines: replay, ewc, l2sp, lora, adapters
        orders: how many orders of the tasks, the given one first, the others drawn by the seed; 3 or more give intervals
        baselines: whether individual and joint are trained too; sequential always is, and without them intransigence is not known
        training: of each stage, such as {epochs: 2, learning_rate: 1.0e-4, batch_tokens: 4096, sequence_length: 1024}
        replay: {ratio: 0.1, buffer_rows: 1000, budget: task, no_replay: [sources]}; null for these
        elastic: {strength: 400, gamma: 1, fisher_rows: 512, labels: model, l2sp: 0.1}; null for these
    """
    from metier.evaluate.continual_learning.study import study

    with tempfile.TemporaryDirectory(prefix="metier-continual-") as temporary:
        return study(
            model,
            tasks,
            suites,
            general or [],
            rehearsal,
            strategies=strategies,
            orders=orders,
            baselines=baselines,
            training=training or Training(),
            replay=replay or Replay(),
            elastic=elastic or Elastic(),
            seed=seed,
            workdir=workdir or Path(temporary),
        )
