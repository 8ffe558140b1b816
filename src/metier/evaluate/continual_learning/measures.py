"""What an accuracy matrix says of forgetting and transfer: standard definitions, as arXiv 2404.16789 lists them. Pure Python.

a[t][i], t = 0 for the start model and then one row a stage; i counts the tasks in the order trained, from 1; N tasks. Higher is
better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

Cells = Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Transfer:
    """Measures of one matrix; None where undefined (a single task) or where a cell that it needs is missing.

    overall: OP_t = mean over i <= t of a[t][i], for t = 1 ... N
    backward: BWT = mean over i < N of a[N][i] - a[i][i]; negative is forgetting
    forgetting: F = mean over i < N of max over i <= t < N of a[t][i], less a[N][i]
    forward: FWT = mean over i > 1 of a[i-1][i] - a[0][i]; the reference is the start model
    learning: LA = mean over i of a[i][i]; intransigence: the mean of what models trained on one task each have above it
    general: a[N][g] - a[0][g] by general suite; general_mean: their mean, None where they are of different metrics
    missing: the cells that are needed and not there, "a[2][1]"
    """

    overall: list[float | None]
    backward: float | None
    forgetting: float | None
    forward: float | None
    learning: float | None
    intransigence: float | None
    general: dict[str, float | None] = field(default_factory=dict)
    general_mean: float | None = None
    missing: list[str] = field(default_factory=list)


def transfer(
    cells: Cells, *, individual: Sequence[float | None] | None = None, general: Sequence[str] = (), comparable: bool = True
) -> Transfer:
    """The measures of a matrix of N + 1 rows, each of N tasks and then the general suites, named in `general`.

    Cells that are None or nan are missing, and so are rows not there yet. individual: the score on each task, in order, of a
    model trained on it alone from the start. comparable: whether the general suites share a metric.
    Raises ValueError for a matrix without tasks and rows of another length.
    """
    width = len(cells[0]) if cells else 0
    num_tasks = width - len(general)
    if num_tasks < 1:
        raise ValueError(f"a matrix with rows of {width} scores, {len(general)} of them general, has no task: give at least one")
    if len(cells) > num_tasks + 1 or any(len(row) != width for row in cells):
        raise ValueError(f"rows of {[len(row) for row in cells]} scores: {num_tasks} tasks need {num_tasks + 1} of {width} each")
    if individual is not None and len(individual) != num_tasks:
        raise ValueError(f"{len(individual)} individual scores for {num_tasks} tasks: give one for each")
    a = _Matrix(cells)
    tasks, last = range(1, num_tasks + 1), num_tasks
    known = [None if _absent(score) else score for score in individual] if individual is not None else [None] * num_tasks
    deltas = {name: _minus(a(last, last + g), a(0, last + g)) for g, name in enumerate(general, 1)}
    return Transfer(
        overall=[_mean([a(t, i) for i in range(1, t + 1)]) for t in tasks],
        backward=_mean([_minus(a(last, i), a(i, i)) for i in tasks[:-1]]),
        forgetting=_mean([_minus(_highest([a(t, i) for t in range(i, last)]), a(last, i)) for i in tasks[:-1]]),
        forward=_mean([_minus(a(i - 1, i), a(0, i)) for i in tasks[1:]]),
        learning=_mean([a(i, i) for i in tasks]),
        intransigence=_mean([_minus(alone, a(i, i)) for i, alone in zip(tasks, known, strict=True)]),
        general=deltas,
        general_mean=_mean(list(deltas.values())) if comparable else None,
        missing=sorted(a.missing),
    )


class _Matrix:
    """Cells by (t, i), i from 1; those asked for in vain are kept in `missing`."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self.missing: set[str] = set()

    def __call__(self, t: int, i: int) -> float | None:
        score = self._cells[t][i - 1] if t < len(self._cells) else None
        if _absent(score):
            self.missing.add(f"a[{t}][{i}]")
            return None
        return score


def _absent(score: float | None) -> bool:
    return score is None or math.isnan(score)


def _minus(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _highest(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None
