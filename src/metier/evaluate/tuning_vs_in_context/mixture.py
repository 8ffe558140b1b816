"""Tuning data of many tasks mixed in proportion to their sizes, none beyond a cap."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from metier.artifacts import Examples


class Mixture(NamedTuple):
    """What tuning learns, and a share held out of the same draw."""

    train: Examples
    held_out: Examples


def mixture_rates(sizes: Mapping[str, int], *, cap: int = 3000) -> dict[str, float]:
    """r_m = min(n_m, cap) / sum of min(n_j, cap): examples-proportional mixing (Raffel et al. 2020). Raises ValueError for
    empty tasks."""
    empty = sorted(name for name, size in sizes.items() if size < 1)
    if empty or not sizes or cap < 1:
        raise ValueError(
            f"no mixture of {dict(sizes)} with cap={cap}: "
            + (f"{empty[0]!r} is empty" if empty else "give tasks and a cap of 1 or more")
        )
    total = sum(min(size, cap) for size in sizes.values())
    return {name: min(size, cap) / total for name, size in sizes.items()}


def mix(examples: Examples, *, cap: int = 3000, size_limit: int = 30_000, held_out: float = 0.1, seed: int = 42) -> Mixture:
    """Rows (column `task`) drawn task by task at mixture_rates, each row once; a task that runs out leaves the draw.

    Ends with `size_limit` rows or when all are drawn. Raises ValueError for rows without a task and a held-out share outside
    [0, 1).
    Settings:
        cap: rows of a task beyond which its rate no longer grows; 3000 in the authors' code
        size_limit: most rows
        held_out: share of the draw kept apart
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out={held_out} is no share: give a number from 0 to below 1")
    by_task: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number, row in enumerate(examples.rows()):
        if not row.get("task"):
            raise ValueError(f"row {row.get('id', number)} has no task: name it in the column `task`")
        by_task[row["task"]].append(row)
    rates = mixture_rates({name: len(rows) for name, rows in by_task.items()}, cap=cap)
    generator = random.Random(seed)
    left = {name: generator.sample(rows, len(rows)) for name, rows in by_task.items()}
    drawn: list[dict[str, Any]] = []
    while left and len(drawn) < size_limit:
        names = list(left)
        (name,) = generator.choices(names, [rates[name] for name in names])
        drawn.append(left[name].pop())
        if not left[name]:
            del left[name]
    cut = len(drawn) - round(held_out * len(drawn))
    return Mixture(Examples.from_rows(drawn[:cut]), Examples.from_rows(drawn[cut:], columns=list(drawn[0])))
