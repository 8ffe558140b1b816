"""What can be said of all rows from many labels of a model and few of people."""

from __future__ import annotations

import numpy as np
from scipy import stats

from metier.engines.stats.bootstrap import Interval

# N items, n of them labelled by people, C categories

FEWEST = 2


def estimated_mean(model_N: np.ndarray, people_n: np.ndarray, places_n: np.ndarray, *, level: float = 0.95) -> Interval:
    """The mean that people would give to these N rows, from the model's values of all and people's of the rows at `places_n`.

    people_n must belong to rows drawn at random. The estimate is mean(people) + b (mean of the model over all - over those rows), b the slope
    of people on model: the regression estimator of survey sampling (Cochran 1977, chapter 7), which prediction-powered inference found
    again (arXiv 2311.01453, with b = 1). Whatever the model does, it is not worse than people alone, up to terms in 1 / n. The
    variance is that of the residuals times (1 / n - 1 / N): the rows are all there are, and with n = N nothing is unknown.
    Values in 0 and 1 get half a row more in each of their four combinations for b and the variance (Agresti and Min 2005), so that
    no disagreement in few rows is not taken for none at all. Raises ValueError for fewer than two rows, and for places that do not pair.
    """
    size, drawn = len(model_N), len(people_n)
    if drawn != len(places_n) or drawn < FEWEST or len(set(places_n.tolist())) != drawn:
        raise ValueError(
            f"{drawn} labels of people at {len(places_n)} places give no estimate: give {FEWEST} or more, each row once"
        )
    model_n, weight_n = model_N[places_n], np.ones(drawn)
    x, y, weight = model_n, people_n, weight_n
    if np.isin(model_N, (0, 1)).all() and np.isin(people_n, (0, 1)).all():
        x, y, weight = np.append(x, [0, 0, 1, 1]), np.append(y, [0, 1, 0, 1]), np.append(weight, [0.5] * 4)
    mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
    spread = float((weight * (x - mean_x) ** 2).sum())
    slope = float((weight * (x - mean_x) * (y - mean_y)).sum()) / spread if spread > 0 else 0.0
    residuals = (y - mean_y) - slope * (x - mean_x)
    variance = float((weight * residuals**2).sum()) / max(weight.sum() - 2, 1.0)  # two were fitted: mean and slope
    value = float(people_n.mean() + slope * (model_N.mean() - model_n.mean()))
    half = float(stats.t.ppf((1 + level) / 2, max(drawn - 2, 1))) * float(np.sqrt(variance * (1 / drawn - 1 / size)))
    return Interval(value, value - half, value + half)


def corrected_shares(confusion_CC: np.ndarray, said_C: np.ndarray) -> np.ndarray:
    """Shares (C,) of the true labels: those p on the simplex for which the model would say each label as often as it did.

    confusion_CC: counts, row what is true, column what the model said; said_C: how often it said each. p solves C^T p = said, projected;
    for two labels this is Rogan and Gladen's (said - (1 - specificity)) / (sensitivity + specificity - 1).
    Raises ValueError where a label has no row, and where the model is no better than chance or the labels can't be told apart.
    """
    given_C = confusion_CC.sum(1)
    if (given_C == 0).any():
        raise ValueError(f"labels without an item labelled by people: counts {given_C.astype(int).tolist()}; label some of each")
    rates_CC = confusion_CC / given_C[:, None]
    if np.trace(rates_CC) <= 1 + 1e-9 or np.linalg.cond(rates_CC) > 1e6:
        raise ValueError(
            f"the model is no better than chance on some label ({rates_CC.round(2).tolist()}): nothing can be corrected"
        )
    return _on_simplex(np.linalg.solve(rates_CC.T, said_C / said_C.sum()))


def _on_simplex(values_C: np.ndarray) -> np.ndarray:
    """The nearest shares (Duchi et al. 2008): none negative, sum 1."""
    falling_C = np.sort(values_C)[::-1]
    excess_C = (np.cumsum(falling_C) - 1) / np.arange(1, len(values_C) + 1)
    return np.asarray(np.maximum(values_C - excess_C[np.nonzero(falling_C > excess_C)[0][-1]], 0.0))
