"""How many steps, of which rows, at which learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Schedule:
    """How the steps go: rows a step in order, the learning rate's peak and its course.

    epochs: how often the rows are read, whole or in part; steps: how many steps instead, None for `epochs`
    warmup: share of the steps in which the learning rate rises linearly, from `warm_from` of the peak (0 for a new model; where an
        earlier training ended, re-warming)
    shape: of what follows: cosine, linear, constant, or wsd (constant, then down by 1 - sqrt(x) over the last `decay` of all steps,
        arXiv 2405.18392); cosine, linear and wsd end at `final` of the peak
    begin: steps of the same course that an earlier call has done. Step k here has the learning rate of step begin + k of
        begin + the steps of this call + `after`, so that a training in phases, the model changed in between, has one course
    """

    epochs: float
    rows_per_step: int
    learning_rate: float
    warmup: float = 0.05
    shape: str = "cosine"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    steps: int | None = None
    final: float = 0.0
    decay: float = 0.2
    warm_from: float = 0.0
    begin: int = 0
    after: int = 0

    def __post_init__(self) -> None:
        if self.steps is None and not self.epochs > 0:
            raise ValueError(f"epochs={self.epochs} trains nothing: give a positive number")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps={self.steps} trains nothing: give 1 or more, or null for epochs")
        if self.rows_per_step < 1:
            raise ValueError(f"rows_per_step={self.rows_per_step} trains nothing: give 1 or more")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate} learns nothing: give a positive number")
        for name in ("warmup", "final", "decay", "warm_from"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is no share: give a number between 0 and 1")
        if min(self.begin, self.after) < 0:
            raise ValueError(f"begin={self.begin}, after={self.after}: steps before and after this call are 0 or more")
        if self.shape not in _SHAPES:
            raise ValueError(f"the learning rate's course {self.shape!r} is unknown: choose one of {', '.join(_SHAPES)}")

    def num_steps(self, num_rows: int) -> int:
        """Optimiser steps over so many rows; the last step of an epoch may have fewer rows."""
        if self.steps is not None:
            return self.steps
        return max(1, round(self.epochs * math.ceil(num_rows / min(self.rows_per_step, num_rows))))

    def factor(self, step: int, steps: int) -> float:
        """The learning rate of step 0, 1, ... of `steps` in this call, as a share of the peak."""
        now, total = step + self.begin, steps + self.begin + self.after
        warm = round(self.warmup * total)
        if now < warm:
            return self.warm_from + (1 - self.warm_from) * now / warm
        progress = (now - warm) / max(1, total - warm)
        return _SHAPES[self.shape](progress, self.final, self.decay * total / max(1, total - warm))


def _cosine(progress: float, final: float, _: float) -> float:
    return final + (1 - final) * max(0.0, 0.5 * (1 + math.cos(math.pi * progress)))


def _linear(progress: float, final: float, _: float) -> float:
    return final + (1 - final) * max(0.0, 1 - progress)


def _constant(*_: float) -> float:
    return 1.0


def _wsd(progress: float, final: float, decay: float) -> float:
    if progress <= 1 - decay or decay == 0:
        return 1.0
    return final + (1 - final) * max(0.0, 1 - math.sqrt((progress - (1 - decay)) / decay))


_SHAPES: dict[str, Callable[[float, float, float], float]] = {
    "cosine": _cosine,
    "linear": _linear,
    "constant": _constant,
    "constant_with_warmup": _constant,
    "wsd": _wsd,
}


class Order:
    """Which rows a step reads: epochs in a shuffled order each, a function of seed and position alone.

    Beyond 2**24 rows (128 MB of order) they are shuffled in blocks of so many, and the blocks among each other.
    """

    def __init__(self, num_rows: int, rows_per_step: int, seed: int, *, block: int = 1 << 24) -> None:
        self._num_rows, self._per_step, self._seed, self._block = num_rows, min(rows_per_step, num_rows), seed, block
        self._steps = math.ceil(num_rows / self._per_step)  # of an epoch; the last has what is left
        self._held: dict[tuple[int, int], list[int] | torch.Tensor] = {}

    def __call__(self, position: int) -> list[int]:
        """Row numbers of the position-th step, counted from 0 over all epochs."""
        epoch, step = divmod(position, self._steps)
        places = range(step * self._per_step, min((step + 1) * self._per_step, self._num_rows))
        return [self._row(epoch, place) for place in places]

    def _row(self, epoch: int, place: int) -> int:
        whole = self._num_rows // self._block  # blocks; the rest of the rows is a last, shorter one
        number, inside = divmod(place, self._block)
        block = number
        if whole > 1 and number < whole:
            block = int(self._permutation(epoch, -1, whole)[number])
        size = min(self._block, self._num_rows - block * self._block)
        return block * self._block + int(self._permutation(epoch, block, size)[inside])

    def _permutation(self, epoch: int, block: int, size: int) -> list[int] | torch.Tensor:
        key = (epoch, block)
        if key not in self._held:
            self._held = {name: held for name, held in self._held.items() if name == (epoch, -1)}
            # The first block's seed is the epoch's own: the order that torch's RandomSampler with a seeded generator gives.
            generator = torch.Generator().manual_seed(self._seed + epoch + 1_000_003 * (block % (1 << 31) if block else 0))
            self._held[key] = torch.randperm(size, generator=generator)
        return self._held[key]
