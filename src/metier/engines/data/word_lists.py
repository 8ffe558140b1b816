"""Words that mark a language, or a domain: the most frequent ones of all, and those that hardly occur elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

FREQUENT_SHARE = 0.008
FEWEST_STOP_WORDS = 8
_FREQUENT_PERCENTILE = 95


def stop_words(counts: Counter[str], share: float = FREQUENT_SHARE, fewest: int = FEWEST_STOP_WORDS) -> frozenset[str]:
    """The words that make up at least `share` of a text, and the most frequent ones up to `fewest` where these are fewer.

    Only words of letters (and the marks of Indic scripts) count. Ties by alphabet; fewer where the text has no more words.
    """
    alphabetic = {
        word: count for word, count in counts.items() if any(map(str.isalpha, word)) and not any(map(str.isdigit, word))
    }
    total = sum(counts.values())
    ranked = sorted(alphabetic, key=lambda word: (-alphabetic[word], word))
    frequent = sum(count >= share * total for count in alphabetic.values())
    return frozenset(ranked[: max(frequent, fewest)])


def precise_words(counts: Mapping[str, Counter[str]], precision: float) -> dict[str, frozenset[str]]:
    """For each group its frequent words of which at least `precision` of all occurrences in all groups are its own.

    Frequent: as often as the 95th percentile of the counts of the group's words, or more often.
    """
    everywhere: Counter[str] = Counter()
    for group in counts.values():
        everywhere.update(group)
    lists = {}
    for name, group in counts.items():
        floor = float(np.percentile(list(group.values()), _FREQUENT_PERCENTILE)) if group else 0.0
        lists[name] = frozenset(word for word, count in group.items() if count >= floor and count >= precision * everywhere[word])
    return lists
