"""A table of results by checkpoint as curves: one a series and task."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metier.artifacts import Table

NEEDED = ("model", "task", "value")
Row = Mapping[str, Any]

# C checkpoints


@dataclass(frozen=True)
class Curve:
    """A task over the checkpoints of a model under one setup; arrays (C,), tokens ascending. values, stderr: shares of items, as measured.

    params: weights of the model, None where unknown; loss: held-out loss, nan where unknown
    """

    model: str
    setup: str
    task: str
    domain: str
    params: float | None
    chance: float
    tokens: np.ndarray
    values: np.ndarray
    stderr: np.ndarray
    loss: np.ndarray

    @property
    def series(self) -> tuple[str, str]:
        return self.model, self.setup

    @property
    def rescaled(self) -> np.ndarray:
        """0 for guessing, 1 for all right; below 0 for worse than guessing."""
        return (self.values - self.chance) / (1 - self.chance)

    @property
    def rescaled_stderr(self) -> np.ndarray:
        return self.stderr / (1 - self.chance)

    @property
    def log_tokens(self) -> np.ndarray:
        return np.asarray(np.log10(np.maximum(self.tokens, 1.0)))  # an untrained model has seen none

    def of(self, chosen: np.ndarray) -> Curve:
        """The curve at some of its checkpoints: a mask or numbers."""
        parts = {name: getattr(self, name)[chosen] for name in ("tokens", "values", "stderr", "loss")}
        return Curve(self.model, self.setup, self.task, self.domain, self.params, self.chance, **parts)


def curves_of(results: Table, domains: Mapping[str, str] | None, from_tokens: float) -> tuple[list[Curve], list[str]]:
    """The curves from `from_tokens` on, in order of first appearance, and notes on what was done to them.

    Raises ValueError for missing columns or numbers, a chance of 1, and values that are no shares.
    """
    rows = list(results.rows())
    if not rows:
        raise ValueError("there are no results: give a table with a row for each checkpoint and task")
    if missing := [name for name in NEEDED if name not in rows[0]]:
        raise ValueError(f"results lack the columns {missing}; they need {list(NEEDED)}, tokens_seen, and stderr or n")
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[str(row["model"]), str(row.get("setup") or ""), str(row["task"])].append(row)
    notes: list[str] = []
    if decaying := sorted({str(row["schedule"]) for row in rows if row.get("schedule") not in (None, "constant")}):
        notes.append(f"the learning rate decays ({', '.join(decaying)}): what rises at the end of it is no sudden ability")
    curves = []
    for (model, setup, task), found in groups.items():
        curve = _curve(model, setup, task, found, domains, notes)
        kept = curve.of(curve.tokens >= from_tokens)
        if len(kept.tokens):
            curves.append(kept)
    if not curves:
        raise ValueError(f"from_tokens={from_tokens:g} leaves no checkpoint: the last has {max(map(_tokens, rows)):g} tokens")
    return curves, list(dict.fromkeys(notes))


def common(first: Curve, *others: Curve) -> list[Curve]:
    """The curves at the token counts that all of them have."""
    shared = first.tokens
    for other in others:
        shared = np.intersect1d(shared, other.tokens)
    return [curve.of(np.isin(curve.tokens, shared)) for curve in (first, *others)]


def by_series(curves: Iterable[Curve]) -> dict[tuple[str, str], list[Curve]]:
    found: dict[tuple[str, str], list[Curve]] = defaultdict(list)
    for curve in curves:
        found[curve.series].append(curve)
    return found


def _curve(model: str, setup: str, task: str, rows: Sequence[Row], domains: Mapping[str, str] | None, notes: list[str]) -> Curve:
    at: dict[float, list[Row]] = defaultdict(list)
    for row in rows:
        at[_tokens(row)].append(row)
    if len(at) < len(rows):
        notes.append(f"{task}: {len(rows) - len(at)} repeated checkpoints of {model} {setup} were averaged".replace("  ", " "))
    tokens = sorted(at)
    scale = 100.0 if max(float(row["value"]) for row in rows) > 1 else 1.0
    if scale > 1:
        notes.append(f"{task}: values up to 100 of {model} were read as percent")
    chance = float(next((row["chance"] for row in rows if row.get("chance") is not None), 0.0)) / scale
    values = [_mean(_value(row, scale) for row in at[count]) for count in tokens]
    if chance >= 1 or chance < 0:
        raise ValueError(f"task {task!r}: chance={chance} is no share that guessing gets right: give 0 to below 1")
    stderr = [_mean(_stderr(row, _value(row, scale), scale) for row in at[count]) for count in tokens]
    loss = [_mean(_number(row.get("loss")) for row in at[count]) for count in tokens]
    params = next((float(row["params"]) for row in rows if row.get("params") is not None), None)
    domain = (domains or {}).get(task) or str(rows[0].get("domain") or "all")
    arrays = [np.array(part, dtype=np.float64) for part in (tokens, values, stderr, loss)]
    return Curve(model, setup, task, domain, params, chance, *arrays)


def _tokens(row: Row) -> float:
    given = row.get("tokens_seen")
    if given is None and row.get("step") is not None and row.get("tokens_per_step") is not None:
        given = row["step"] * row["tokens_per_step"]
    if given is None:
        raise ValueError(
            f"{row['model']}, {row['task']}: a checkpoint has no tokens_seen; give it, or step and tokens_per_step (a number in order "
            "of checkpoints says nothing of how much was read)"
        )
    return float(given)


def _value(row: Row, scale: float) -> float:
    value = _number(row["value"]) / scale
    if not 0 <= value <= 1:
        raise ValueError(
            f"{row['model']}, {row['task']}: value={row['value']} is no share of right answers: give 0 to 1, or percent"
        )
    return value


def _stderr(row: Row, value: float, scale: float) -> float:
    """As given, else the binomial's at n items, with a right and a wrong answer added so that 0 and 1 are not certain."""
    if row.get("stderr") is not None:
        return float(row["stderr"]) / scale
    if row.get("n") is None:
        raise ValueError(f"{row['model']}, {row['task']}: there is neither stderr nor n, so that nothing can be told from noise")
    share = (value * row["n"] + 1) / (row["n"] + 2)
    return math.sqrt(share * (1 - share) / row["n"])


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
