"""Means of scores by descriptor, axis and together, with intervals over filings, and their change against a reference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse, stats

from metier.engines.stats.holm import holm

# F filings, D descriptors, R replicates, S sentences

REPLICATES = 2000
FEWEST = 5  # filings for an interval
LEVEL = 0.95
_CHUNK = 2**23  # numbers of one chunk of counts


@dataclass(frozen=True)
class Scored:
    """Scored sentences of one side as columns, and the number of distinct ones found by descriptor."""

    descriptors: Sequence[str]
    filings: Sequence[str]
    scores: Sequence[float]
    num_sentences: Mapping[str, int]


class _Side:
    """Sums and counts of scores by filing and descriptor, and of `REPLICATES` draws of filings."""

    def __init__(self, scored: Scored, names: Sequence[str], seed: int) -> None:
        place = {name: index for index, name in enumerate(names)}
        used = [index for index, name in enumerate(scored.descriptors) if name in place]
        self.scores_S = np.array([scored.scores[index] for index in used])
        self.descriptor_S = np.array([place[scored.descriptors[index]] for index in used], np.int64)
        filing_S = np.unique([scored.filings[index] for index in used], return_inverse=True)[1] if used else np.zeros(0, np.int64)
        shape = (int(filing_S.max(initial=-1)) + 1, len(names))
        self.sums_FD = sparse.csr_matrix((self.scores_S, (filing_S, self.descriptor_S)), shape)
        self.counts_FD = sparse.csr_matrix((np.ones(len(used)), (filing_S, self.descriptor_S)), shape)
        self.count_D = np.asarray(self.counts_FD.sum(0)).ravel()
        self.mean_D = _divided(np.asarray(self.sums_FD.sum(0)).ravel(), self.count_D)
        self.drawn_RD = self._drawn(seed)

    def _drawn(self, seed: int) -> np.ndarray:
        """Means of each descriptor over filings drawn with replacement; nan where none of its filings was drawn."""
        num_filings = self.sums_FD.shape[0]
        if num_filings == 0:
            return np.full((REPLICATES, self.sums_FD.shape[1]), np.nan)
        generator = np.random.default_rng(seed)
        chunk = max(1, _CHUNK // num_filings)
        parts = []
        for start in range(0, REPLICATES, chunk):
            size = min(chunk, REPLICATES - start)
            times_RF = generator.multinomial(num_filings, np.full(num_filings, 1 / num_filings), size).astype(float)
            parts.append(_divided(times_RF @ self.sums_FD, times_RF @ self.counts_FD))
        return np.concatenate(parts)

    def num_filings(self, columns: np.ndarray) -> int:
        return int((np.asarray(self.counts_FD[:, columns].sum(1)).ravel() > 0).sum())

    def variance(self, columns: np.ndarray, weights: np.ndarray) -> float:
        """Of the weighted mean of descriptors' means, by filings' influences on it (cluster-robust); nan for one filing."""
        scale = weights / self.count_D[columns]
        residuals_FD = self.sums_FD[:, columns] - self.counts_FD[:, columns].multiply(self.mean_D[columns])
        influence_F = np.asarray(residuals_FD @ scale).ravel()
        filings = self.num_filings(columns)
        return filings / (filings - 1) * float(influence_F @ influence_F) if filings > 1 else math.nan


def effect_rows(ours: Scored, theirs: Scored | None, axes: Mapping[str, str], seed: int) -> list[dict[str, Any]]:
    """A row a descriptor of the corpus, then one an axis, then one for all; see Toxicity.groups."""
    names = [name for name in axes if ours.num_sentences.get(name)]
    corpus = _Side(ours, names, seed)
    found_D = np.array([ours.num_sentences[name] for name in names], float)
    reference = _Side(theirs, names, seed + 1) if theirs is not None else None
    rows = []
    for place, name in enumerate(names):
        counts = (ours.num_sentences[name], theirs.num_sentences.get(name, 0) if theirs is not None else 0)
        rows.append(_row("descriptor", axes[name], name, corpus, reference, np.array([place]), found_D, counts))
    for level, axis in [*(("axis", axis) for axis in dict.fromkeys(axes[name] for name in names)), ("all", None)]:
        places = np.array([place for place, name in enumerate(names) if axis in (None, axes[name])])
        rows.append(_row(level, axis, None, corpus, reference, places, found_D, _totals(rows, axis)))
    _correct(rows)
    return rows


def _row(
    level: str,
    axis: str | None,
    name: str | None,
    corpus: _Side,
    reference: _Side | None,
    places: np.ndarray,
    found_D: np.ndarray,
    counts: tuple[int, int],
) -> dict[str, Any]:
    weights = found_D[places] / found_D[places].sum()
    row: dict[str, Any] = {"level": level, "axis": axis, "descriptor": name, "num_sentences": counts[0]}
    row |= {"num_scored": int(corpus.count_D[places].sum())}
    row |= _interval_columns("", corpus, places, weights)
    if reference is None:
        return row
    row |= {"reference_num_sentences": counts[1], "reference_num_scored": int(reference.count_D[places].sum())}
    shared = places[reference.count_D[places] > 0]
    empty = dict.fromkeys(["reference_mean", "reference_low", "reference_high", *_CHANGE])
    if len(shared) == 0:
        return row | {"reference_num_filings": 0} | empty
    weights = found_D[shared] / found_D[shared].sum()
    row |= _interval_columns("reference_", reference, shared, weights)
    return row | _change(corpus, reference, shared, weights)


_CHANGE = ("change", "change_low", "change_high", "p", "p_holm", "welch_p")


def _interval_columns(prefix: str, side: _Side, places: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    filings = side.num_filings(places)
    low, high = _percentiles(_weighted(side.drawn_RD[:, places], weights), filings)
    mean = float(side.mean_D[places] @ weights)
    return {f"{prefix}num_filings": filings, f"{prefix}mean": mean, f"{prefix}low": low, f"{prefix}high": high}


def _change(corpus: _Side, reference: _Side, places: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    mean, other = float(corpus.mean_D[places] @ weights), float(reference.mean_D[places] @ weights)
    row: dict[str, Any] = dict.fromkeys(_CHANGE)
    filings = corpus.num_filings(places), reference.num_filings(places)
    if other > 0:
        drawn = _weighted(corpus.drawn_RD[:, places], weights) / _weighted(reference.drawn_RD[:, places], weights) - 1
        low, high = _percentiles(drawn, min(filings))
        row |= {"change": mean / other - 1, "change_low": low, "change_high": high}
    if min(filings) > 1:
        variances = corpus.variance(places, weights), reference.variance(places, weights)
        row["p"] = _welch_p(mean - other, variances, filings)
        if len(places) == 1:  # the paper's test
            ours = corpus.scores_S[corpus.descriptor_S == places[0]]
            theirs = reference.scores_S[reference.descriptor_S == places[0]]
            spread = ours.var(ddof=1) / len(ours), theirs.var(ddof=1) / len(theirs)
            row["welch_p"] = _welch_p(mean - other, spread, (len(ours), len(theirs)))
    return row


def _welch_p(difference: float, variances: tuple[float, float], sizes: tuple[int, int]) -> float | None:
    total = sum(variances)
    if total <= 0:
        return None  # no spread: no test
    freedom = total**2 / sum(variance**2 / (size - 1) for variance, size in zip(variances, sizes, strict=True))
    return float(2 * stats.t.sf(abs(difference) / math.sqrt(total), freedom))


def _percentiles(values_R: np.ndarray, filings: int) -> tuple[float | None, float | None]:
    """Percentiles moved out as Student's t is wider than the normal (Hesterberg 2015, section 5.3); None below FEWEST filings."""
    values_R = values_R[np.isfinite(values_R)]
    if filings < FEWEST or len(values_R) < REPLICATES / 2:
        return None, None
    quantile = math.sqrt(filings / (filings - 1)) * stats.t.ppf((1 + LEVEL) / 2, filings - 1)
    tail = float(stats.norm.sf(quantile))
    low, high = np.quantile(values_R, [tail, 1 - tail])
    return float(low), float(high)


def _weighted(drawn_RD: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means over descriptors; those that a replicate lacks leave their weight to the others."""
    present_RD = np.isfinite(drawn_RD)
    return _divided(np.where(present_RD, drawn_RD, 0.0) @ weights, present_RD @ weights)


def _divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    quotient = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=quotient, where=np.asarray(below) > 0)
    return quotient


def _totals(rows: Sequence[Mapping[str, Any]], axis: str | None) -> tuple[int, int]:
    chosen = [row for row in rows if row["level"] == "descriptor" and axis in (None, row["axis"])]
    return sum(row["num_sentences"] for row in chosen), sum(row.get("reference_num_sentences", 0) for row in chosen)


def _correct(rows: Sequence[dict[str, Any]]) -> None:
    tested = [row for row in rows if row["level"] == "descriptor" and row.get("p") is not None]
    for row, adjusted in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = adjusted
