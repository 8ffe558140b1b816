"""The advice against the user's own rows: a tuned small model by number of labels, a prompted one, and what they read."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from metier.engines.data.words import words
from metier.engines.stats.bootstrap import ratio
from metier.engines.stats.groups import mean_of_groups
from metier.engines.stats.learning_curve import find_crossover
from metier.engines.stats.paired import compare_pairs
from metier.evaluate.practical_guide.candidates import (
    Labelled,
    examples,
    learnt,
    majority_right,
    prompted_right,
    surface_model,
    words_model,
)
from metier.evaluate.practical_guide.flow import Leaf
from metier.evaluate.practical_guide.results import Check, Point, Shift, TaskFacts, Value, Winner
from metier.models.language_model import LanguageModel

LEAST_ROWS, LEAST_TEST, LEAST_OF_SOURCE = 60, 30, 20
SMALLEST, RESAMPLES, LEVEL = 8, 5, 0.90
CHOOSING_ROWS = 100


class UnusableRowsError(ValueError):
    """The rows cannot check anything; the message says why."""


def check(
    rows: Sequence[dict[str, Any]],
    prompted: LanguageModel | None,
    facts: TaskFacts,
    recommendation: Leaf | None,
    *,
    shots: Sequence[int],
    shift: str | None,
    seed: int,
) -> Check:
    """What half of the rows, learnt from, say of the other half. Raises UnusableRowsError where too few can be tested."""
    labelled, duplicates = _labelled(rows, shift)
    train, test = split(labelled, seed)
    labels = sorted({row.label for row in train})
    right = {size: [_tuned(train, test, part) for part in parts] for size, parts in _subsets(len(train), seed).items()}
    tuned = [_point(size, draws, len(test)) for size, draws in right.items()]
    answers: dict[int, np.ndarray] = {}
    best: np.ndarray | None = None
    if prompted is not None:
        answers = {count: prompted_right(prompted, examples(train, labels, count, seed), test, labels) for count in shots}
        best = answers[_chosen_shots(prompted, train, labels, shots, seed)]
    majority = majority_right(train, test)
    shortcut = learnt(surface_model, train, test)
    notes: list[str] = []
    final = right[len(train)][0]
    top = max(final.mean(), best.mean() if best is not None else 0.0)
    crossover = predicted = difference = None
    if best is not None:
        difference = _difference(best, final, seed)
        level = _value(best, seed)
        sizes = list(right)
        found = find_crossover(
            sizes,
            [[float(draw.mean()) for draw in right[size]] for size in sizes],
            len(test), level.high, level_value=level.value, seed=seed, level=LEVEL,
        )  # fmt: skip
        crossover, predicted = found.observed, found.predicted
        notes += [f"crossover: {found.reason}"] if found.reason else []
    winner = _winner(majority, final, best, seed)
    moved = _shift(train, test, final, best, shift, seed, notes) if shift is not None else None
    found_check = Check(
        num_train=len(train),
        num_test=len(test),
        num_duplicates=duplicates,
        labels=labels,
        majority=float(majority.mean()),
        shortcut=float(shortcut.mean()),
        spurious=bool(shortcut.mean() - majority.mean() > (top - majority.mean()) / 2 > 0),
        tuned=tuned,
        prompted={count: _value(found, seed) for count, found in answers.items()},
        tuned_less_prompted=difference,
        crossover=crossover,
        predicted=predicted,
        shift=moved,
        winner=winner,
        notes=notes,
    )
    found_check.agreement.update(_agreement(found_check, facts, recommendation))
    return found_check


def _labelled(rows: Sequence[dict[str, Any]], shift: str | None) -> tuple[list[Labelled], int]:
    """Rows with text and label, the first of each text; and how many were left out."""
    found: dict[str, Labelled] = {}
    for number, row in enumerate(rows):
        text, label = row.get("prompt"), row.get("completion")
        if not isinstance(text, str) or not isinstance(label, str):
            raise UnusableRowsError(f"row {number} has no text as prompt and label as completion")
        if shift is not None and shift not in row:
            raise UnusableRowsError(f"row {number} has no column {shift!r} to test a shift by; its columns are {sorted(row)}")
        source = str(row[shift]) if shift is not None else None
        found.setdefault(" ".join(words(text.casefold())) or text, Labelled(text, label.strip(), source))
    return list(found.values()), len(rows) - len(found)


def split(rows: Sequence[Labelled], seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """Train and test, half of each label. A label with one row is learnt from only."""
    by_label: dict[str, list[Labelled]] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    if len(rows) < LEAST_ROWS:
        raise UnusableRowsError(f"{len(rows)} different texts are fewer than the {LEAST_ROWS} that a check takes")
    if len(by_label) < 2:
        raise UnusableRowsError(f"all rows have the label {next(iter(by_label))!r}")
    if len(by_label) > len(rows) // 4:
        raise UnusableRowsError(
            f"{len(by_label)} labels among {len(rows)} rows are no classes, and the check compares accuracies of choosing one: "
            "where labels are numbers, far_from_language is the step of the flow that applies"
        )
    generator = random.Random(seed)
    train, test = [], []
    for label in sorted(by_label):
        part = generator.sample(by_label[label], len(by_label[label]))
        train += part[: (len(part) + 1) // 2]
        test += part[(len(part) + 1) // 2 :]
    if len(test) < LEAST_TEST or len({row.label for row in test}) < 2:
        raise UnusableRowsError(
            f"{len(test)} test rows of {len({row.label for row in test})} labels are too few: {LEAST_TEST} of 2 are needed"
        )
    generator.shuffle(train)
    return train, test


def _subsets(size: int, seed: int) -> dict[int, list[list[int]]]:
    """Places of the rows to learn from, RESAMPLES times for 8, 16, 32, ... and once for all."""
    generator = random.Random(seed)
    found: dict[int, list[list[int]]] = {}
    count = SMALLEST
    while count < size:
        found[count] = [generator.sample(range(size), count) for _ in range(RESAMPLES)]
        count *= 2
    return found | {size: [list(range(size))]}


def _tuned(train: Sequence[Labelled], test: Sequence[Labelled], places: Sequence[int]) -> np.ndarray:
    return learnt(words_model, [train[place] for place in places], test)


def _chosen_shots(model: LanguageModel, train: Sequence[Labelled], labels: list[str], shots: Sequence[int], seed: int) -> int:
    """The number of examples that does best on training rows which are not shown: chosen on the test, it would look too good."""
    if len(shots) == 1:
        return shots[0]
    shown = {row.text for count in shots for row in examples(train, labels, count, seed)}
    rows = [row for row in train if row.text not in shown][:CHOOSING_ROWS]
    return max(shots, key=lambda count: prompted_right(model, examples(train, labels, count, seed), rows, labels).mean())


def _value(right: np.ndarray, seed: int) -> Value:
    return Value(*ratio(right, np.ones(len(right)), seed=seed, level=LEVEL))


def _difference(first: np.ndarray, second: np.ndarray, seed: int) -> Value:
    ones = np.ones(len(first))
    found = compare_pairs((first, ones), (second, ones), seed=seed, level=LEVEL)
    return Value(found.value, found.low, found.high)


def _point(size: int, draws: Sequence[np.ndarray], num_test: int) -> Point:
    """The mean over draws of labels; its interval is the bootstrap's over test rows, each with its mean over draws."""
    found = ratio(np.mean(draws, axis=0), np.ones(num_test), seed=0, level=LEVEL)
    return Point(size, found.value, found.low, found.high)


def _winner(majority: np.ndarray, tuned: np.ndarray, prompted: np.ndarray | None, seed: int) -> Winner:
    candidates = [tuned] if prompted is None else [tuned, prompted]
    if all(_difference(majority, one, seed).low <= 0 for one in candidates):
        return "neither"
    if prompted is None:
        return "not compared"
    found = _difference(prompted, tuned, seed)
    return "tune" if found.low > 0 else "prompt" if found.high < 0 else "no difference"


def _shift(
    train: Sequence[Labelled],
    test: Sequence[Labelled],
    final: np.ndarray,
    prompted: np.ndarray | None,
    column: str,
    seed: int,
    notes: list[str],
) -> Shift | None:
    """The tuned model learns from the commonest source only and is tested on it and on the others."""
    source = Counter(row.source for row in train).most_common(1)[0][0]
    assert source is not None
    inside = np.array([row.source == source for row in test])
    if min(inside.sum(), (~inside).sum()) < LEAST_OF_SOURCE:
        notes.append(f"shift: {inside.sum()} test rows of {source!r} and {(~inside).sum()} of others are too few of one")
        return None
    tuned = learnt(words_model, [row for row in train if row.source == source], test)
    return Shift(
        column=column,
        source=source,
        num_inside=int(inside.sum()),
        num_outside=int((~inside).sum()),
        tuned_drop=_drop(tuned, inside, seed),
        prompted_drop=_drop(prompted, inside, seed) if prompted is not None else None,
        difference=_drop(tuned - prompted, inside, seed) if prompted is not None else None,
    )


def _drop(right: np.ndarray, inside: np.ndarray, seed: int) -> Value:
    """Mean inside less mean outside, rows drawn anew within each: twice the mean of the one and the other's negative."""
    (half,) = mean_of_groups([right[inside, None], -right[~inside, None]], draw_groups=False, seed=seed, level=LEVEL)
    return Value(*(2 * number for number in half))


def _agreement(found: Check, facts: TaskFacts, recommendation: Leaf | None) -> dict[str, bool | None]:
    """Whether the rows agree with the advice, and with each answered step of the flow that they can test."""
    agreed: dict[str, bool | None] = {}
    if recommendation in ("prompt", "tune"):
        decided = found.winner in ("prompt", "tune", "neither")
        agreed["recommendation"] = found.winner == recommendation if decided else None
    if facts.few_labels is not None and found.tuned_less_prompted is not None:
        # Few labels favour prompting: with those at hand the tuned model should not be ahead, and with many it should.
        agreed["few_labels"] = (found.crossover is None) == facts.few_labels
    if facts.shifted is not None and found.shift is not None:
        agreed["shifted"] = (found.shift.tuned_drop.low > 0) == facts.shifted
    if facts.knowledge_intensive is False and found.tuned_less_prompted is not None:
        agreed["knowledge_intensive"] = found.winner == "tune" if found.winner in ("tune", "prompt") else None
    return agreed
