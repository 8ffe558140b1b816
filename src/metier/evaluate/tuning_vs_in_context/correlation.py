"""Do two ways to answer rise and fall together over tasks? Correlations with a null, and what they say of a base not yet
tuned."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

_Tested = tuple[float | None, float | None]  # coefficient and p
FEWEST_FOR_A_VERDICT = 8
FEWEST_FOR_A_LINE = 4
FEWEST_DEV_ROWS = 100


@dataclass(frozen=True)
class TaskPair:
    """One task: its score by tuning, by examples in the prompt, by guessing; difficulty: the score of an unrelated model, if
    known."""

    task: str
    tuned: float
    in_context: float
    chance: float = 0.0
    difficulty: float | None = None
    cluster: str | None = None


@dataclass(frozen=True)
class Correlation:
    """Over `num_clusters` families of tasks (each counts once, by its mean).

    raw or less chance: Pearson's r and Spearman's rho with two-sided p-values from shuffled tasks; partial_rho: of the ranks
    given difficulty. None where `undefined` says why. verdict: converges where rho less chance is positive with p below 0.05,
    not shown elsewhere, None below 8 families. furthest: tasks by distance from the line of tuned on
    in-context scores.
    """

    num_tasks: int
    num_clusters: int
    pearson: float | None
    pearson_p: float | None
    spearman: float | None
    spearman_p: float | None
    pearson_above_chance: float | None
    pearson_above_chance_p: float | None
    spearman_above_chance: float | None
    spearman_above_chance_p: float | None
    partial_rho: float | None
    partial_p: float | None
    undefined: str | None
    verdict: Literal["converges", "not shown"] | None
    furthest: list[tuple[str, float]]


@dataclass(frozen=True)
class Advice:
    """A task that was not tuned: what tuning is expected to reach, the one-sided 90% limit above it, and what follows.

    loo_error: root mean square error of predicting each measured task from the others
    """

    task: str
    in_context: float
    expected: float
    upper: float
    loo_error: float
    advice: Literal["tuning unlikely to help beyond examples", "tuning may help"]


def correlate(pairs: Sequence[TaskPair], *, permutations: int = 10_000, seed: int = 0) -> Correlation:
    """The correlations over tasks. Raises ValueError for fewer than three families, tasks named twice, and scores that are no
    numbers."""
    import numpy as np

    _check(pairs)
    families = _families(pairs)
    if len(families) < 3:
        raise ValueError(f"{len(families)} families of tasks have no correlation: measure three or more, and eight for a verdict")
    x, y = (np.array([getattr(family, name) for family in families]) for name in ("in_context", "tuned"))
    chance = np.array([family.chance for family in families])
    undefined = _constant(x, "in-context") or _constant(y, "tuned")
    above_undefined = _constant(x - chance, "in-context less chance") or _constant(y - chance, "tuned less chance")
    null = _Null(len(families), permutations, seed)
    nothing: _Tested = (None, None)
    pearson, spearman = (null.test(x, y), null.test(_ranks(x), _ranks(y))) if undefined is None else (nothing, nothing)
    pearson_above = spearman_above = nothing
    if above_undefined is None:
        pearson_above = null.test(x - chance, y - chance)
        spearman_above = null.test(_ranks(x - chance), _ranks(y - chance))
    partial = nothing
    difficulty = [family.difficulty for family in families]
    if undefined is None and None not in difficulty:
        partial = _partial(x, y, np.array(difficulty), null)
    verdict: Literal["converges", "not shown"] | None = None
    if len(families) >= FEWEST_FOR_A_VERDICT:
        rho, p = spearman_above
        verdict = "converges" if rho is not None and p is not None and rho > 0 and p < 0.05 else "not shown"
    return Correlation(
        num_tasks=len(pairs),
        num_clusters=len(families),
        pearson=pearson[0],
        pearson_p=pearson[1],
        spearman=spearman[0],
        spearman_p=spearman[1],
        pearson_above_chance=pearson_above[0],
        pearson_above_chance_p=pearson_above[1],
        spearman_above_chance=spearman_above[0],
        spearman_above_chance_p=spearman_above[1],
        partial_rho=partial[0],
        partial_p=partial[1],
        undefined=undefined or above_undefined,
        verdict=verdict,
        furthest=_furthest(pairs),
    )


def advise(
    measured: Sequence[TaskPair], wanted: Sequence[TaskPair], *, margin: float = 0.02, num_rows: int = FEWEST_DEV_ROWS
) -> list[Advice]:
    """Whether tuning is worth its price on the tasks in `wanted` (their `tuned` is not read), from tasks where both were
    measured.

    The line tuned = a + b in_context is fitted by least squares; where its upper 90% prediction limit exceeds the in-context
    score by less than `margin`, tuning is unlikely to help beyond examples. Raises ValueError for fewer than four measured
    tasks, for measured in-context scores that are all alike, and for dev sets of fewer than 100 rows, whose scores are too
    coarse.
    """
    import numpy as np
    from scipy import stats

    _check(measured)
    if num_rows < FEWEST_DEV_ROWS:
        raise ValueError(
            f"num_rows={num_rows}: scores from fewer than {FEWEST_DEV_ROWS} rows are too coarse; score more dev rows"
        )
    if len(measured) < FEWEST_FOR_A_LINE:
        raise ValueError(f"{len(measured)} measured tasks give no line with an error: measure {FEWEST_FOR_A_LINE} or more")
    x, y = (np.array([getattr(pair, name) for pair in measured]) for name in ("in_context", "tuned"))
    if _constant(x, "in-context") is not None:
        raise ValueError("the measured in-context scores are all alike, so nothing can be read from them: measure other tasks")
    slope, intercept = np.polyfit(x, y, 1)
    residuals = y - intercept - slope * x
    spread = float(((x - x.mean()) ** 2).sum())
    leverage = 1 / len(x) + (x - x.mean()) ** 2 / spread
    loo_error = float(np.sqrt(np.mean((residuals / (1 - leverage)) ** 2)))
    sigma = math.sqrt(float((residuals**2).sum()) / (len(x) - 2))
    quantile = float(stats.t.ppf(0.9, len(x) - 2))
    found = []
    for pair in wanted:
        expected = float(intercept + slope * pair.in_context)
        upper = expected + quantile * sigma * math.sqrt(1 + 1 / len(x) + (pair.in_context - float(x.mean())) ** 2 / spread)
        helps: Literal["tuning unlikely to help beyond examples", "tuning may help"] = (
            "tuning unlikely to help beyond examples" if upper - pair.in_context < margin else "tuning may help"
        )
        found.append(Advice(pair.task, pair.in_context, expected, upper, loo_error, helps))
    return found


def _check(pairs: Sequence[TaskPair]) -> None:
    names = [pair.task for pair in pairs]
    if len(set(names)) != len(names):
        raise ValueError(f"task {next(name for name in names if names.count(name) > 1)!r} is there twice: give each once")
    for pair in pairs:
        if not all(map(math.isfinite, (pair.tuned, pair.in_context, pair.chance))):
            raise ValueError(f"task {pair.task!r} has a score that is no number: {pair}")


def _families(pairs: Sequence[TaskPair]) -> list[TaskPair]:
    """One pair for each cluster, the mean of its tasks."""
    members: dict[str, list[TaskPair]] = defaultdict(list)
    for pair in pairs:
        members[f"cluster {pair.cluster}" if pair.cluster is not None else f"task {pair.task}"].append(pair)

    def mean(values: list[float]) -> float:
        return math.fsum(values) / len(values)

    found = []
    for name, tasks in members.items():
        known = [task.difficulty for task in tasks if task.difficulty is not None]
        tuned, in_context, chance = (mean([getattr(task, part) for task in tasks]) for part in ("tuned", "in_context", "chance"))
        found.append(TaskPair(name, tuned, in_context, chance, mean(known) if len(known) == len(tasks) else None))
    return found


def _constant(values: np.ndarray, name: str) -> str | None:
    low, high = float(values.min()), float(values.max())
    return f"all {name} scores are {low:.4g}: no variance, no correlation" if math.isclose(low, high, abs_tol=1e-12) else None


def _ranks(values: np.ndarray) -> np.ndarray:
    from scipy import stats

    return stats.rankdata(values.round(12))  # type: ignore[no-any-return]


class _Null:
    """All orders of the tasks where they are few enough, else drawn ones, the same for every coefficient."""

    def __init__(self, size: int, permutations: int, seed: int) -> None:
        import numpy as np

        if permutations < 100:
            raise ValueError(f"permutations={permutations} gives no p-value to decide by: give 1000 or more")
        self.complete = size <= 7
        if self.complete:
            self.orders = np.array(list(itertools.permutations(range(size))))
        else:
            generator = np.random.default_rng(seed)
            self.orders = generator.permuted(np.tile(np.arange(size), (permutations, 1)), axis=1)

    def test(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """Pearson's coefficient and the share of orders with one as far from 0 (the order found counted among drawn ones)."""
        a, b = (part - part.mean() for part in (x, y))
        a, b = a / math.sqrt(float(a @ a)), b / math.sqrt(float(b @ b))
        coefficient = float(a @ b)
        as_far = int((abs(b[self.orders] @ a) >= abs(coefficient) - 1e-12).sum())
        size = len(self.orders)
        return coefficient, as_far / size if self.complete else (as_far + 1) / (size + 1)


def _partial(x: np.ndarray, y: np.ndarray, z: np.ndarray, null: _Null) -> _Tested:
    """Spearman's rho of x and y given z: of what is left of both ranks after a line on the ranks of z."""
    import numpy as np

    if _constant(z, "difficulty") is not None:
        return null.test(_ranks(x), _ranks(y))
    z = _ranks(z)
    left = []
    for part in (_ranks(x), _ranks(y)):
        slope, intercept = np.polyfit(z, part, 1)
        left.append(part - intercept - slope * z)
    if any(float(part @ part) < 1e-9 for part in left):
        return None, None
    return null.test(*left)


def _furthest(pairs: Sequence[TaskPair]) -> list[tuple[str, float]]:
    """(task, tuned score less the line's), the largest distances first. A level line where in-context scores are alike."""
    import numpy as np

    x, y = (np.array([getattr(pair, name) for pair in pairs]) for name in ("in_context", "tuned"))
    slope, intercept = (0.0, y.mean()) if _constant(x, "in-context") else np.polyfit(x, y, 1)
    residuals = y - intercept - slope * x
    return [(pairs[place].task, float(residuals[place])) for place in np.argsort(-abs(residuals), kind="stable")]
