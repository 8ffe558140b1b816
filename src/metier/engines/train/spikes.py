"""Losses that leap: found by comparison with the steps before, so that the rows behind them can be left out.

A step's loss is taken before its update. When it leaps, either its own rows are bad, or the update of the step before broke the weights;
so training goes back before both and leaves the rows of both out (PaLM, arXiv 2204.02311, section 5.1, leaves out some hundreds).
Which steps those are does not depend on where the last checkpoint happened to be, so neither does the result.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Spikes:
    """When a loss is a spike: above the median of the last `window` steps by `threshold` of their standard deviations, or not finite.

    The deviation is that of the noise alone, robustly: 1.4826 / sqrt(2) times the median distance of neighbouring steps, which the
    fall of the loss hardly moves; it counts as at least 2% of the median.

    rollbacks: how many are made before training gives up with RuntimeError: a loss that keeps leaping is no accident of the data
    """

    threshold: float = 10.0
    window: int = 64
    rollbacks: int = 10

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise ValueError(f"threshold={self.threshold} calls every step a spike: give a positive number")
        if self.window < 8:
            raise ValueError(f"window={self.window} is too short to know what is usual: give 8 or more")
        if self.rollbacks < 1:
            raise ValueError(f"rollbacks={self.rollbacks} never goes back: give 1 or more, or no spikes at all")


class Watcher:
    """The losses so far, and whether the next one leaps."""

    def __init__(self, spikes: Spikes | None, losses: Iterable[float] = ()) -> None:
        self._spikes = spikes
        self._losses = deque(losses, maxlen=spikes.window if spikes is not None else 1)

    def add(self, loss: float) -> None:
        self._losses.append(loss)

    def reason(self, loss: float, gradient_norm: float) -> str | None:
        """Why the loss of a step, or the norm of its gradient, can't stand; None where it can."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(gradient_norm):
            return f"the norm of the gradient is {gradient_norm}"
        if self._spikes is None or len(self._losses) < self._spikes.window // 2:
            return None
        usual = statistics.median(self._losses)
        spread = 1.4826 / math.sqrt(2) * statistics.median(abs(b - a) for a, b in itertools.pairwise(self._losses))
        limit = usual + self._spikes.threshold * max(spread, 0.02 * abs(usual))
        return f"the loss {loss:.4f} leaps above {limit:.4f}, usual is {usual:.4f}" if loss > limit else None
