"""A linear classifier of hashed words and pairs of words: what fastText is with a vector of one number a word."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BRANCHES = ("mathematics", "multiple_choice", "open_questions")
_FEWEST = 10
_NUM_FEATURES = 1 << 18
_STRENGTH = 10.0  # inverse of the penalty: texts are many words long, and few of them tell
_WORD = re.compile(r"[^\W\d_]{2,15}")


@dataclass(frozen=True)
class Classifier:
    """weights (2^18,) float32, and an intercept, of the log-odds of label 1."""

    weights: np.ndarray
    intercept: float

    def probability(self, text: str) -> float:
        """Of label 1, 0 to 1. A text without words has the intercept's."""
        odds = float((_features([text]) @ self.weights)[0]) + self.intercept
        return float(1 / (1 + np.exp(-np.clip(odds, -500, 500))))


def train(texts: Sequence[str], labels: Sequence[int], seed: int = 0) -> Classifier:
    """Logistic regression on the lower-case words and pairs of words of texts. Raises ValueError for fewer than ten of a label."""
    from sklearn.linear_model import LogisticRegression

    few = {label: labels.count(label) for label in (0, 1) if list(labels).count(label) < _FEWEST}
    if few or set(labels) - {0, 1}:
        raise ValueError(
            f"labels are {sorted(set(labels))}, and of some there are fewer than {_FEWEST} examples ({few}): "
            "give 1 for pages to keep and 0 for others"
        )
    model = LogisticRegression(C=_STRENGTH, max_iter=1000, random_state=seed).fit(_features(texts), labels)
    return Classifier(model.coef_[0].astype(np.float32), float(model.intercept_[0]))


def train_all(rows: Iterable[Mapping[str, Any]], seed: int) -> dict[str, Classifier]:
    """A classifier for each branch that the examples (text, branch, label) name."""
    texts: dict[str, list[str]] = defaultdict(list)
    labels: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        if row["branch"] not in BRANCHES:
            raise ValueError(f"an example is of the branch {row['branch']!r}: give one of {', '.join(BRANCHES)}")
        texts[row["branch"]].append(row["text"])
        labels[row["branch"]].append(int(row["label"]))
    found = {}
    for branch in sorted(texts):
        try:
            found[branch] = train(texts[branch], labels[branch], seed)
        except ValueError as error:
            raise ValueError(f"examples of {branch}: {error}") from error
    return found


def _features(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(
        n_features=_NUM_FEATURES, ngram_range=(1, 2), tokenizer=_words, token_pattern=None, lowercase=True, alternate_sign=False
    ).transform(texts)


def _words(text: str) -> list[str]:
    return _WORD.findall(text)
