"""The trainings that are compared: each strategy in each order, and the baselines on one task alone and on all at once."""

from __future__ import annotations

import gc
import json
import logging
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
import torch
from safetensors.torch import load_file, save_file

from metier.artifacts import Model, atomic_write
from metier.engines.text.pack import pack
from metier.engines.text.sequences import TokenSequence
from metier.engines.train.adapter import Adapter
from metier.engines.train.elastic import Anchored, fisher_diagonal
from metier.engines.train.fit import Schedule, fit
from metier.evaluate.continual_learning.replay import Reservoir
from metier.evaluate.continual_learning.settings import Elastic, Replay, Strategy, Training
from metier.models.precision import best_device

logger = logging.getLogger(__name__)

COPIES: dict[Strategy, int] = {"ewc": 2, "l2sp": 1}  # of the weights in fp32, beside the model: anchor and Fisher information
Scores = list[float]  # of the suites asked, in order; higher is better


@dataclass(frozen=True)
class Bench:
    """What all arms share.

    names, general: of the task suites and the general ones; comparable: whether the general ones share a metric
    sequences: of each task's training texts; rehearsal: what the replay buffer is offered first
    firsts: the tasks that an order begins with
    score: the scores of a model on the task suites of the given numbers, and then on every general suite
    """

    model: Model
    num_weights: int
    names: list[str]
    general: list[str]
    comparable: bool
    sequences: list[list[TokenSequence]]
    firsts: frozenset[int]
    rehearsal: list[TokenSequence]
    score: Callable[[Model, Sequence[int]], Scores]
    training: Training
    elastic: Elastic
    replay: Replay
    workdir: Path
    seed: int


@dataclass
class Arm:
    """What one strategy did in one order; kept on disk after each stage, so that a killed run goes on from there.

    rows: of scores, one a stage, columns in the order of `names` and then the general suites
    trained_tokens: predicted tokens in all steps, of which `replayed_tokens` are of earlier tasks (by the share of the stage's
        rows)
    extra_bytes: kept from stage to stage besides the model: buffer, anchor and Fisher information, or adapters
    """

    rows: list[Scores] = field(default_factory=list)
    trained_tokens: int = 0
    replayed_tokens: int = 0
    extra_bytes: int = 0

    @classmethod
    def opened(cls, folder: Path) -> Arm:
        file = folder / "arm.json"
        return cls(**json.loads(file.read_text())) if file.is_file() else cls()

    def store(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / "arm.json", json.dumps(asdict(self)))


def alone(bench: Bench, task: int) -> tuple[Model, Arm]:
    """The start model after one task: the first stage of every strategy that trains all weights, and the baseline of a task
    alone.

    One row, of all suites. The model is kept for orders that begin with the task; `clear` removes it.
    """
    folder = bench.workdir / "alone" / f"task-{task + 1}"
    arm, model = Arm.opened(folder), Model(folder / "model")
    if not arm.rows:
        model = _trained(bench.model, bench, bench.sequences[task], [], folder)
        arm.trained_tokens = model.facts["tokens_trained"]
        arm.rows.append(bench.score(model, range(len(bench.names))))
        arm.store(folder)
        if task not in bench.firsts:
            shutil.rmtree(model.path)
    return model, arm


def sequential(bench: Bench, strategy: Strategy, order: Sequence[int]) -> Arm:
    """One model through the stages in `order`; a fresh optimiser and warm-up in each. Every suite is asked after every stage."""
    folder = bench.workdir / strategy / "-".join(str(task + 1) for task in order)
    arm = Arm.opened(folder)
    buffer = Reservoir(bench.replay.buffer_rows, seed=bench.seed, never=bench.replay.no_replay)
    buffer.offer(bench.rehearsal)
    adapter = bench.training.adapter if strategy == "lora" else None
    model = bench.model
    for stage, task in enumerate(order):
        new, here = bench.sequences[task], folder / f"stage-{stage + 1}"
        old = buffer.draw(round(bench.replay.ratio * num_predicted(new))) if strategy == "replay" else []
        buffer.offer(new)
        shared = alone(bench, task) if stage == 0 and not old and adapter is None else None
        if stage < len(arm.rows):
            model = Model(here / "model") if shared is None else shared[0]
            continue
        if shared is None:
            start = _held(model, bench, strategy, folder / f"stage-{stage}") if stage else model
            model = _trained(start, bench, new, old, here, adapter)
            tokens, scores = model.facts["tokens_trained"], bench.score(model, range(len(bench.names)))
        else:
            model, tokens, scores = shared[0], shared[1].trained_tokens, shared[1].rows[0]
        if strategy == "ewc" and stage + 1 < len(order):
            _keep_importance(model, bench, new, folder, stage)
        arm.trained_tokens += tokens
        arm.replayed_tokens += round(tokens * num_predicted(old) / num_predicted([*new, *old]))
        arm.extra_bytes = buffer.num_bytes if strategy == "replay" else 4 * bench.num_weights * COPIES.get(strategy, 0)
        arm.rows.append(scores)
        arm.store(folder)
        shutil.rmtree(folder / f"stage-{stage}", ignore_errors=True)
    if strategy == "replay" and buffer.refused:
        logger.info("%d sequences of %s were trained on and not kept for replay", buffer.refused, bench.replay.no_replay)
    return arm


def adapters(bench: Bench) -> Arm:
    """An adapter a task, each on the start model. Row i: its score on suite i, and then on the general suites."""
    folder = bench.workdir / "adapters"
    arm = Arm.opened(folder)
    num_kept = count_adapter(bench.model, bench.training.adapter)
    for task in range(len(arm.rows), len(bench.names)):
        here = folder / f"task-{task + 1}"
        model = _trained(bench.model, bench, bench.sequences[task], [], here, bench.training.adapter)
        arm.trained_tokens += model.facts["tokens_trained"]
        arm.extra_bytes += 4 * num_kept
        arm.rows.append(bench.score(model, [task]))
        arm.store(folder)
        shutil.rmtree(here, ignore_errors=True)
    return arm


def joint(bench: Bench) -> Arm:
    """One model on all tasks' sequences together, as many times each. One row."""
    folder = bench.workdir / "joint"
    arm = Arm.opened(folder)
    if not arm.rows:
        model = _trained(bench.model, bench, [sequence for task in bench.sequences for sequence in task], [], folder)
        arm.trained_tokens = model.facts["tokens_trained"]
        arm.rows.append(bench.score(model, range(len(bench.names))))
        arm.store(folder)
        shutil.rmtree(folder / "model", ignore_errors=True)
    return arm


def clear(bench: Bench) -> None:
    """Removes the models that `alone` kept, when all orders are done."""
    for folder in (bench.workdir / "alone").glob("task-*/model"):
        shutil.rmtree(folder)


def check_memory(num_weights: int, strategies: Sequence[Strategy]) -> None:
    """Raises ValueError where the copies of the weights that a strategy holds beside them do not fit the free memory."""
    copies = max((COPIES.get(strategy, 0) for strategy in strategies), default=0)
    if not copies:
        return
    needed, device = copies * 4 * num_weights, best_device()
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"strategies={list(strategies)} hold {copies} fp32 copies of the weights beside the model, {needed / 1e9:.1f} GB, "
            f"and {free / 1e9:.1f} GB are free: leave ewc and l2sp out, or use a machine with more memory"
        )


def num_predicted(sequences: Sequence[TokenSequence]) -> int:
    return sum(sequence.num_predicted for sequence in sequences)


def count_weights(model: Model) -> int:
    return sum(weight.numel() for weight in model.load().parameters())


def count_adapter(model: Model, adapter: Adapter) -> int:
    return sum(weight.numel() for weight in adapter.put_on(model.load(), seed=0).parameters() if weight.requires_grad)


def _trained(
    model: Model,
    bench: Bench,
    new: Sequence[TokenSequence],
    old: Sequence[TokenSequence],
    workdir: Path,
    adapter: Adapter | None = None,
) -> Model:
    training = bench.training
    rows = pack([*new, *old], sequence_length=training.sequence_length)
    share = num_predicted(new) / num_predicted([*new, *old]) if bench.replay.budget == "total" else 1.0
    schedule = Schedule(
        epochs=training.epochs * share,
        rows_per_step=math.ceil(training.batch_tokens / training.sequence_length),
        learning_rate=training.adapter_learning_rate if adapter is not None else training.learning_rate,
        warmup=training.warmup,
    )
    workdir.mkdir(parents=True, exist_ok=True)
    gc.collect()  # cycles hold the network that was asked last: without this two would be in memory
    return fit(
        model,
        rows,
        [],
        schedule,
        adapter=adapter,
        precision=training.precision,
        checkpoint_seconds=training.checkpoint_seconds,
        seed=bench.seed,
        workdir=workdir,
        method="evaluate.continual_learning",
    )


def _held(model: Model, bench: Bench, strategy: Strategy, before: Path) -> Model:
    """The model with the penalty of its strategy, anchored where the stage before left it."""
    if strategy == "ewc":
        return Anchored(model.path, strength=bench.elastic.strength, importance=before / "importance.safetensors")
    return Anchored(model.path, strength=bench.elastic.l2sp) if strategy == "l2sp" else model


def _keep_importance(model: Model, bench: Bench, sequences: Sequence[TokenSequence], folder: Path, stage: int) -> None:
    """Online EWC (arXiv 1805.06370): F = gamma * F before + F of the task just learnt, beside the stage's model."""
    elastic = bench.elastic
    gc.collect()  # as for training
    network = model.load(dtype=torch.float32).to(best_device())
    found = fisher_diagonal(network, sequences, labels=elastic.labels, rows=elastic.fisher_rows, seed=bench.seed + stage)
    before = folder / f"stage-{stage}" / "importance.safetensors"
    if before.is_file():
        found = {name: elastic.gamma * old.to(found[name].device) + found[name] for name, old in load_file(before).items()}
    (folder / f"stage-{stage + 1}").mkdir(exist_ok=True, parents=True)  # the first stage's model is elsewhere
    save_file({name: values.cpu() for name, values in found.items()}, folder / f"stage-{stage + 1}" / "importance.safetensors")
