"""A series of checkpoints of one training, kept as models to study what is learnt when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.artifacts import Model

FOLDER = "series"


@dataclass(frozen=True)
class Series:
    """Which steps are kept: every `every` steps, and `spaced` steps (1 or more) evenly on a logarithmic scale from 1 to the last.

    first: also the model before training; the last step is always kept
    """

    every: int | None = None
    spaced: int | None = None
    first: bool = True

    def __post_init__(self) -> None:
        if self.every is None and self.spaced is None:
            raise ValueError("a series needs `every` (steps between checkpoints) or `spaced` (how many, on a logarithmic scale)")
        for name in ("every", "spaced"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"series {name}={getattr(self, name)} keeps nothing: give 1 or more")

    def steps(self, total: int) -> set[int]:
        """The steps that are kept, of a training of `total`."""
        kept = {total} | ({0} if self.first else set())
        if self.every is not None:
            kept |= set(range(self.every, total + 1, self.every))
        if self.spaced is not None:
            kept |= {round(total ** (place / max(1, self.spaced - 1))) for place in range(self.spaced)}
        return {min(step, total) for step in kept}


@dataclass(frozen=True)
class Member:
    """A model of a series, and what was measured there: step, tokens, and where they are known loss, held_out_loss, held_out, flops."""

    model: Model
    numbers: dict[str, Any]

    @property
    def step(self) -> int:
        return int(self.numbers["step"])


def place_of(workdir: Path, step: int) -> Path:
    """The folder of a member."""
    return workdir / FOLDER / f"step-{step:07d}"


def members(workdir: Path) -> Iterator[Member]:
    """The series of the training in `workdir`, by step."""
    for folder in sorted((workdir / FOLDER).glob("step-*")):
        model = Model.open(folder)
        yield Member(model, json.loads((folder / "metier.json").read_text()))
