"""How long to train at each size: the days and FLOPs of a schedule, and the schedule for a budget of both.

The saving is in the cost of a token. That it is free in quality is not shown: no paper trained the last size from scratch beside it,
and the depth-stacking paper measured a ramp of random units, grown once, at 26% more FLOPs for the same loss. Compare a small pilot first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Stage:
    """One size: its weights, the tokens it is trained on, and how many tokens a day the machine trains at this size."""

    parameters: float
    tokens: float
    tokens_per_day: float

    def __post_init__(self) -> None:
        if self.parameters <= 0 or self.tokens < 0 or self.tokens_per_day <= 0:
            raise ValueError(f"{self}: parameters and tokens_per_day must be positive, tokens 0 or more")

    @property
    def days(self) -> float:
        return self.tokens / self.tokens_per_day


@dataclass(frozen=True)
class Cost:
    """Of a schedule, and of its tokens all at the last size. flops: 6 N D; speed_up: days of the latter / days of the former."""

    tokens: float
    days: float
    full_days: float
    speed_up: float
    flops: float
    full_flops: float


def cost(stages: Sequence[Stage]) -> Cost:
    """What a schedule costs. Raises ValueError for none, for stages that do not grow, and for no tokens."""
    if not stages or any(later.parameters <= stage.parameters for stage, later in pairwise(stages)):
        raise ValueError(f"{len(stages)} stages: give one or more, each with more parameters than the one before")
    tokens, days = math.fsum(stage.tokens for stage in stages), math.fsum(stage.days for stage in stages)
    if not tokens:
        raise ValueError("no stage has tokens: a schedule of nothing has no cost")
    full = tokens / stages[-1].tokens_per_day
    return Cost(
        tokens=tokens,
        days=days,
        full_days=full,
        speed_up=full / days,
        flops=6 * math.fsum(stage.parameters * stage.tokens for stage in stages),
        full_flops=6 * stages[-1].parameters * tokens,
    )


def plan_stages(
    parameters: Sequence[float], tokens_per_day: Sequence[float], *, tokens: float, days: float, least: float
) -> list[Stage]:
    """The schedule that reads `tokens` in `days` with as many as possible at the last size.

    least: tokens of every stage, at least what it takes to recover and use the growth; the sizes between first and last get just these, since
    a day at one of them would be worth more at the last. Where the days suffice for more, every token beyond goes to the last
    size. Raises ValueError where even the most at the first size takes longer.
    """
    if len(parameters) != len(tokens_per_day) or len(parameters) < 2:
        raise ValueError(f"{len(parameters)} sizes and {len(tokens_per_day)} rates: give two sizes or more and a rate for each")
    first, last = tokens_per_day[0], tokens_per_day[-1]
    if not first > last > 0:
        raise ValueError(f"the first size trains {first:.3g} tokens a day and the last {last:.3g}: growth saves nothing")
    middle = tokens_per_day[1:-1]
    rest = tokens - least * len(middle)
    time = days - math.fsum(least / rate for rate in middle)
    most = rest - least  # at the last size
    at_last = min(most, (time - rest / first) / (1 / last - 1 / first))
    if at_last < least:
        needed = math.fsum([*(least / rate for rate in middle), (rest - least) / first, least / last])
        raise ValueError(
            f"{tokens:.3g} tokens take {needed:.2f} days or more with {least:.3g} at each size, not {days}: give more days or fewer tokens"
        )
    counts = [rest - at_last, *[least] * len(middle), at_last]
    return [Stage(*numbers) for numbers in zip(parameters, counts, tokens_per_day, strict=True)]
