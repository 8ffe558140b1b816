"""What the check compares, each by the rows it gets right: the commonest label, a model of words, surfaces, a prompt."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from metier.engines.data.words import words
from metier.evaluate.item import Item, items_table
from metier.evaluate.measure import measure
from metier.models.language_model import LanguageModel

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin


@dataclass(frozen=True)
class Labelled:
    """A row of the check; source is where it comes from, None without a column for it."""

    text: str
    label: str
    source: str | None


def learnt(make: Callable[[], ClassifierMixin], train: Sequence[Labelled], test: Sequence[Labelled]) -> np.ndarray:
    """1.0 for each test row that a model of the training rows gets right; of a single label, it knows no other."""
    if len({row.label for row in train}) == 1:
        guesses = [train[0].label] * len(test)
    else:
        model = make()
        model.fit([row.text for row in train], [row.label for row in train])
        guesses = list(model.predict([row.text for row in test]))
    return right_ones(guesses, test)


def right_ones(guesses: Sequence[str], test: Sequence[Labelled]) -> np.ndarray:
    """1.0 where a guess is the row's label."""
    return np.array([float(guess == row.label) for guess, row in zip(guesses, test, strict=True)])


def majority_right(train: Sequence[Labelled], test: Sequence[Labelled]) -> np.ndarray:
    """1.0 for each test row of the commonest training label."""
    commonest = Counter(row.label for row in train).most_common(1)[0][0]
    return right_ones([commonest] * len(test), test)


def words_model() -> ClassifierMixin:
    """A logistic regression on words and pairs of words, weighted by tf-idf."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    vectors = TfidfVectorizer(tokenizer=_tokens, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True)
    return make_pipeline(vectors, LogisticRegression(C=10.0, max_iter=1_000))


def _tokens(text: str) -> list[str]:
    """The words, or one that stands for a text without any: a vocabulary must not be empty."""
    return words(text) or ["(no words)"]


def surface_model() -> ClassifierMixin:
    """A logistic regression on what a text looks like."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler

    return make_pipeline(
        FunctionTransformer(_surfaces), DictVectorizer(), MaxAbsScaler(), LogisticRegression(C=10.0, max_iter=1_000)
    )


def _surfaces(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Length, signs and first word of each text: what a model may pass a test by without having read it."""
    found: list[dict[str, Any]] = []
    for text in texts:
        signs = Counter(re.findall(r"[^\w\s]", text))
        first = (words(text) or [""])[0].casefold()
        found.append(
            {"length": len(text), "words": len(words(text)), "first": first, **{f"sign {sign}": n for sign, n in signs.items()}}
        )
    return found


def prompted_right(model: LanguageModel, shown: Sequence[Labelled], asked: Sequence[Labelled], labels: list[str]) -> np.ndarray:
    """1.0 for each row whose label the model finds likeliest after the text (by byte), the examples shown before it."""
    before = "".join(f"Text: {row.text}\nLabel: {row.label}\n\n" for row in shown)
    items = [
        Item(str(place), "check", "held_out", "choice", f"{before}Text: {row.text}\nLabel:", labels, labels.index(row.label))
        for place, row in enumerate(asked)
    ]
    return np.array([row["numerator"] for row in measure(model, items_table(items)).rows()])


def examples(train: Sequence[Labelled], labels: list[str], shots: int, seed: int) -> list[Labelled]:
    """`shots` training rows of labels as varied as can be, in an order of their own."""
    by_label = {label: iter([row for row in train if row.label == label]) for label in labels}
    found: list[Labelled] = []
    while len(found) < min(shots, len(train)):
        found += [row for rows in by_label.values() if (row := next(rows, None)) is not None]
    return random.Random(seed).sample(found[:shots], len(found[:shots]))
