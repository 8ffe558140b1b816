"""How right a model's labels are: against people's labels of some rows, and against what people agree on among themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metier.engines.stats.agreement import cohen_kappa, gwet_ac1, krippendorff_alpha
from metier.engines.stats.bootstrap import Interval
from metier.engines.stats.exact import binomial_interval
from metier.engines.stats.paired import compare_pairs
from metier.evaluate.model_as_annotator.card import AgainstPeople, Measured, Routing, Share
from metier.evaluate.model_as_annotator.noisy import FEWEST, corrected_shares, estimated_mean

Scale = Literal["nominal", "ordinal"]
TARGET_PRECISION = 0.95


@dataclass(frozen=True)
class Labelled:
    """A row's label from the model (None where unreadable), its share of the votes, and people's labels (none for most rows)."""

    label: str | None
    share: float
    people: tuple[str | None, ...] = ()


def majority(labels: Sequence[str | None], names: Sequence[str]) -> str:
    """The most frequent label; among equals the first in `names`."""
    counts = Counter(label for label in labels if label is not None)
    return max(names, key=lambda name: counts[name])


def measure_trust(
    rows: Sequence[Labelled], names: Sequence[str], *, scale: Scale, drawn_at_random: bool, margin: float, seed: int
) -> Measured | None:
    """The model against people on the rows that people labelled; None where there are none."""
    places = [place for place, row in enumerate(rows) if any(label is not None for label in row.people)]
    if not places:
        return None
    gold = [rows[place] for place in places]
    true = [majority(row.people, names) for row in gold]
    right = [row.label == label for row, label in zip(gold, true, strict=True)]
    said, meant = [row.label for row in gold if row.label], [label for row, label in zip(gold, true, strict=True) if row.label]
    confusion = [
        [sum(t == a and row.label == b for t, row in zip(true, gold, strict=True)) for b in (*names, None)] for a in names
    ]
    return Measured(
        num_items=len(gold),
        accuracy=binomial_interval(sum(right), len(right)),
        kappa=_defined(
            lambda: cohen_kappa(meant, said, categories=names, weights="quadratic" if scale == "ordinal" else "none", seed=seed),
            [*meant, *said],
        ),
        ac1=_defined(lambda: gwet_ac1(meant, said, categories=names, seed=seed), [*meant, *said]),
        prevalence={name: true.count(name) / len(true) for name in names},
        confusion=confusion,
        precision={name: _part(confusion[i][i], sum(row[i] for row in confusion)) for i, name in enumerate(names)},
        recall={name: _part(confusion[i][i], sum(confusion[i])) for i, name in enumerate(names)},
        calibration_error=calibration_error([row.share for row in gold], right),
        shares=_shares(rows, places, true, np.array(confusion, float), names, drawn_at_random),
        routing=routing([row.share for row in rows], [row.share for row in gold], right),
        against_people=against_people(gold, names, scale=scale, margin=margin, seed=seed),
    )


def _part(some: int, all_of_them: int) -> Interval | None:
    return binomial_interval(some, all_of_them) if all_of_them else None


def _defined(agreement: Callable[[], Interval], labels: Sequence[str]) -> Interval | None:
    return agreement() if len(set(labels)) > 1 else None


def calibration_error(shares: Sequence[float], right: Sequence[bool]) -> float:
    """Mean over rows of |accuracy of the rows with this share - share|: votes are few, so each share is a bin of its own."""
    bins: dict[float, list[bool]] = {}
    for share, hit in zip(shares, right, strict=True):
        bins.setdefault(round(share, 9), []).append(hit)
    return sum(abs(sum(hits) - share * len(hits)) for share, hits in bins.items()) / len(right)


def routing(all_shares: Sequence[float], gold_shares: Sequence[float], right: Sequence[bool]) -> Routing | None:
    """The lowest share from which labels are right in 95% of people's rows or more; None where none is."""
    for threshold in sorted(set(gold_shares)):
        kept = [hit for share, hit in zip(gold_shares, right, strict=True) if share >= threshold]
        if sum(kept) >= TARGET_PRECISION * len(kept):
            coverage = sum(share >= threshold for share in all_shares) / len(all_shares)
            return Routing(threshold, binomial_interval(sum(kept), len(kept)), coverage)
    return None


def against_people(
    gold: Sequence[Labelled], names: Sequence[str], *, scale: Scale, margin: float, seed: int
) -> AgainstPeople | None:
    """Leave one rater out: each person, and the model in that person's place, against the majority of the others.

    Where others are divided evenly, agreeing with one of n equal labels counts 1 / n for either. None where no row has two people's labels.
    """
    people, model, ratings = [], [], []
    for row in gold:
        given = [label for label in row.people if label is not None]
        if len(given) >= 2:
            ratings.append((row.label, *given))
            credited = [_credit(given[:left] + given[left + 1 :]) for left in range(len(given))]
            people.append(sum(credit.get(own, 0.0) for own, credit in zip(given, credited, strict=True)) / len(given))
            model.append(sum(credit.get(row.label or "", 0.0) for credit in credited) / len(given))
    if not people:
        return None
    ones = [1.0] * len(people)
    found = compare_pairs((people, ones), (model, ones), seed=seed)
    with_people = [rating[1:] for rating in ratings]

    def alpha(part: Sequence[tuple[str | None, ...]]) -> Interval | None:
        given = [label for labels in part for label in labels if label is not None]
        return _defined(lambda: krippendorff_alpha(part, distance=scale, categories=names, seed=seed), given)

    return AgainstPeople(
        num_items=len(people),
        people=sum(people) / len(people),
        model=sum(model) / len(model),
        difference=Interval(found.value, found.low, found.high),
        margin=margin,
        as_good=found.low > -margin,
        alpha_people=alpha(with_people),
        alpha_with_model=alpha(ratings),
    )


def _credit(others: Sequence[str]) -> dict[str, float]:
    counts = Counter(others)
    most = [label for label, count in counts.items() if count == max(counts.values())]
    return {label: 1 / len(most) for label in most}


def _shares(
    rows: Sequence[Labelled],
    places: Sequence[int],
    true: Sequence[str],
    confusion: np.ndarray,
    names: Sequence[str],
    drawn_at_random: bool,
) -> dict[str, Share]:
    said_CN = {name: np.array([row.label == name for row in rows], float) for name in names}
    try:
        said_C = np.array([column.sum() for column in said_CN.values()])
        corrected: list[float | None] = list(corrected_shares(confusion[:, :-1], said_C).tolist())
    except ValueError:  # a label nobody gave, or one the model is no better at than chance: the table below shows which
        corrected = [None] * len(names)
    estimable = drawn_at_random and len(places) >= FEWEST
    found = {}
    for name, correction in zip(names, corrected, strict=True):
        people_n = np.array([label == name for label in true], float)
        estimated = estimated_mean(said_CN[name], people_n, np.array(places)) if estimable else None
        found[name] = Share(float(said_CN[name].mean()), estimated, correction)
    return found
