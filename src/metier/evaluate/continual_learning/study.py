"""Runs the arms in their orders and puts their scores together."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
from array import array
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from metier.artifacts import Corpus, Examples, Items, Model, atomic_write
from metier.evaluate.continual_learning.arms import (
    Arm,
    Bench,
    adapters,
    alone,
    check_memory,
    clear,
    count_weights,
    joint,
    sequential,
)
from metier.evaluate.continual_learning.measures import transfer
from metier.evaluate.continual_learning.prepare import metric_of, names_of, overlaps, scorer, sequences_of
from metier.evaluate.continual_learning.results import ContinualLearning, Outcome, cheapest, summarise
from metier.evaluate.continual_learning.settings import Elastic, Replay, Strategy, Training
from metier.evaluate.measure import METRICS
from metier.progress import task as progress_task


def study(
    model: Model,
    tasks: Sequence[Corpus | Examples],
    suites: Sequence[Items],
    general: Sequence[Items],
    rehearsal: Corpus | Examples | None,
    *,
    strategies: Sequence[Strategy],
    orders: int,
    baselines: bool,
    training: Training,
    replay: Replay,
    elastic: Elastic,
    seed: int,
    workdir: Path,
) -> ContinualLearning:
    """See the method."""
    _check(tasks, suites, strategies, orders)
    metric, names = metric_of(suites), names_of(suites)
    permutations = _orders(len(tasks), orders, seed)
    num_weights = count_weights(model)
    check_memory(num_weights, strategies)
    longest = min(training.sequence_length, getattr(model.config(), "max_position_embeddings", None) or training.sequence_length)
    bench = Bench(
        model=model,
        num_weights=num_weights,
        names=names,
        general=names_of(general, taken=names),
        comparable=len({metric_of([suite]) for suite in general}) == 1,
        sequences=[sequences_of(part, model, longest=longest) for part in tasks],
        firsts=frozenset(order[0] for order in permutations),
        rehearsal=sequences_of(rehearsal, model, longest=longest) if rehearsal is not None else [],
        score=scorer(suites, general, precision=training.precision),
        training=training,
        replay=replay,
        elastic=elastic,
        workdir=workdir,
        seed=seed,
    )
    _claim(bench, [*suites, *general], strategies=list(strategies), orders=orders, baselines=baselines)
    trained_on = overlaps(names, suites, tasks)
    individual, together, outcomes = _run(bench, strategies, permutations, baselines)
    return ContinualLearning(
        metric=f"minus {metric}" if metric == METRICS["text"] else metric,
        tasks=names,
        general=bench.general,
        outcomes=outcomes,
        individual=individual,
        joint=list(together.rows[0][: len(tasks)]) if together.rows else [],
        joint_tokens=together.trained_tokens,
        summaries=summarise(outcomes),
        cheapest=cheapest(outcomes),
        overlaps=trained_on,
    )


def _run(
    bench: Bench, strategies: Sequence[Strategy], permutations: Sequence[Sequence[int]], baselines: bool
) -> tuple[list[float], Arm, list[Outcome]]:
    """The individual scores, the joint arm (both empty without baselines), and each strategy's outcome in each order."""
    tasks = range(len(bench.names))
    chained: list[Strategy] = [one for one in dict.fromkeys(("sequential", *strategies)) if one != "adapters"]
    total = len(tasks) * (len(chained) * len(permutations) + ("adapters" in strategies) + 2 * baselines)
    individual, together, outcomes = [], Arm(), []
    with progress_task("learning in sequence", total=total, unit="stage") as progress:
        start = bench.score(bench.model, tasks)
        if baselines:
            individual = [alone(bench, task)[1].rows[0][task] for task in tasks]
            together = joint(bench)
            progress.advance(2 * len(tasks))
        apart = adapters(bench) if "adapters" in strategies else None
        progress.advance(len(tasks) if apart is not None else 0)
        for order in permutations:
            for strategy in chained:
                outcomes.append(_outcome(bench, strategy, order, start, sequential(bench, strategy, order), individual))
                progress.advance(len(tasks))
            if apart is not None:
                outcomes.append(_outcome(bench, "adapters", order, start, _by_task_name(apart, start, order), individual))
    clear(bench)
    return individual, together, outcomes


def _outcome(
    bench: Bench, strategy: Strategy, order: Sequence[int], start: list[float], arm: Arm, individual: list[float]
) -> Outcome:
    matrix = [[*(row[task] for task in order), *row[len(order) :]] for row in [start, *arm.rows]]
    alone_scores = [individual[task] for task in order] if individual else None
    return Outcome(
        strategy=strategy,
        order=[bench.names[task] for task in order],
        matrix=matrix,
        transfer=transfer(matrix, individual=alone_scores, general=bench.general, comparable=bench.comparable),
        trained_tokens=arm.trained_tokens,
        replayed_tokens=arm.replayed_tokens,
        extra_bytes=arm.extra_bytes,
    )


def _check(tasks: Sequence[Corpus | Examples], suites: Sequence[Items], strategies: Sequence[Strategy], orders: int) -> None:
    unknown = sorted(set(strategies) - set(get_args(Strategy)))
    if unknown:
        raise ValueError(f"strategies={unknown} are none: give some of {list(get_args(Strategy))}")
    if not tasks or len(tasks) != len(suites):
        raise ValueError(f"{len(tasks)} tasks and {len(suites)} suites: give one suite for each task, in the same order")
    if not 1 <= orders <= math.factorial(len(tasks)):
        raise ValueError(f"orders={orders}: {len(tasks)} tasks have 1 to {math.factorial(len(tasks))} of them")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("continual learning trains and examines in turn in one process: start it without a launcher of several")


def _claim(bench: Bench, suites: Sequence[Items], **settings: Any) -> None:
    """Says what is studied in the working folder, so that the rows of another study there are not taken for this one's."""
    digest = hashlib.sha256()
    for part in [*bench.sequences, bench.rehearsal]:
        digest.update(b"part")
        for sequence in part:
            digest.update(sequence.source.encode() + array("q", [len(sequence), *sequence.input_ids, *sequence.labels]).tobytes())
    for suite in suites:
        digest.update(json.dumps(list(suite.rows()), default=str).encode())
    identity = settings | {"training": asdict(bench.training), "replay": asdict(bench.replay), "elastic": asdict(bench.elastic)}
    identity |= {"seed": bench.seed, "model": bench.model.fingerprint(), "data": digest.hexdigest()}
    file = bench.workdir / "study.json"
    before = json.loads(file.read_text()) if file.is_file() else identity
    differing = sorted(name for name in identity if before.get(name) != identity[name])
    if differing:
        raise ValueError(
            f"{bench.workdir} holds another study ({', '.join(differing)} differ): give another workdir, or delete this one"
        )
    bench.workdir.mkdir(parents=True, exist_ok=True)
    atomic_write(file, json.dumps(identity))


def _orders(count: int, orders: int, seed: int) -> list[tuple[int, ...]]:
    """The given order, and others drawn until there are as many as asked."""
    generator, found = random.Random(f"{seed} orders"), {tuple(range(count)): None}
    while len(found) < orders:
        found[tuple(generator.sample(range(count), count))] = None
    return list(found)


def _by_task_name(apart: Arm, start: list[float], order: Sequence[int]) -> Arm:
    """The rows of adapters chosen by the task's name: a task's score is its own adapter's once that is there, and the start
    model's before; general suites are asked of the newest."""
    rows, row = [], list(start)
    for task in order:
        row = [*row[: len(order)], *apart.rows[task][1:]]
        row[task] = apart.rows[task][0]
        rows.append(row)
    return Arm(rows, apart.trained_tokens, 0, apart.extra_bytes)
