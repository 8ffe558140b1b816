"""How much cheaper a loss was reached: two trainings' curves at equal loss, in FLOPs or in seconds, with an interval over seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

Curve: TypeAlias = Sequence[tuple[float, float]]  # (cost so far, loss), by cost


@dataclass(frozen=True)
class SpeedUp:
    """cost(baseline) / cost(method) - 1 at a loss: 0.5 says that the baseline costs half as much again.

    low, high: 95% interval over seeds (Student's t of the logarithm of the ratio), None for one seed; by_seed: each seed's
    """

    loss: float
    value: float
    low: float | None
    high: float | None
    by_seed: list[float]


def curve(workdir: Path, *, cost: str = "flops", before: float = 0.0) -> list[tuple[float, float]]:
    """(cost, held-out loss) of a training by `fit`, from its metrics.jsonl.

    cost: flops, tokens or seconds (of the steps, evaluations left out); before: what was spent before this training began, such as on the base
    that was grown. Raises ValueError where nothing was held out.
    """
    if cost not in ("flops", "tokens", "seconds"):
        raise ValueError(f"cost={cost!r}: choose flops, tokens or seconds")
    spent, found = before, []
    for line in map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines()):
        if "trained" in line:
            spent = spent + line["trained"] / line["tokens_per_second"] if cost == "seconds" else before + line[cost]
        elif "held_out_loss" in line:
            found.append((spent, line["held_out_loss"]))
    if not found:
        raise ValueError(f"{workdir} has no held-out losses: give fit held-out rows")
    return found


def cost_at(points: Curve, loss: float) -> float:
    """The cost at which a curve first reaches the loss, by linear interpolation. Raises ValueError where it does not, or begins there."""
    for (before, above), (after, below) in pairwise(points):
        if below <= loss < above:
            return before + (after - before) * (above - loss) / (above - below)
    least, first = min(value for _, value in points), points[0][1]
    raise ValueError(f"a loss of {loss:.4f} is not crossed by a curve from {first:.4f} down to {least:.4f}: choose one between")


def speed_up(method: Sequence[Curve], baseline: Sequence[Curve], *, loss: float | None = None) -> SpeedUp:
    """The speed-up of the method over the baseline at a loss, paired by seed; one curve a seed in each.

    loss: None for the highest of the least losses of all curves, which is the lowest that every one reaches
    """
    if len(method) != len(baseline) or not method:
        raise ValueError(f"{len(method)} and {len(baseline)} curves do not pair: give one of each for every seed")
    if loss is None:
        loss = max(min(value for _, value in points) for points in [*method, *baseline])
    logs = [math.log(cost_at(theirs, loss) / cost_at(ours, loss)) for ours, theirs in zip(method, baseline, strict=True)]
    mean = math.fsum(logs) / len(logs)
    low = high = None
    if len(logs) > 1:
        from scipy import stats

        half = float(stats.t.ppf(0.975, len(logs) - 1) * stats.sem(logs))
        low, high = math.expm1(mean - half), math.expm1(mean + half)
    return SpeedUp(loss, math.expm1(mean), low, high, [math.expm1(value) for value in logs])
