"""Which questions a model may have read with their answers: those that share words in a row with its training text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from metier.artifacts import Corpus
from metier.engines.data.words import words

GRAM = 8


def seen_questions(tests: Mapping[str, Sequence[Mapping[str, Any]]], corpus: Corpus) -> set[str]:
    """Ids of the choice items of which 8 words in a row, right answer included, stand in the text; shorter ones whole."""
    grams: dict[tuple[str, ...], list[str]] = {}
    lengths: set[int] = set()
    for row in chain.from_iterable(tests.values()):
        for gram in _grams(f"{row['prompt']} {row['options'][row['gold']]}", GRAM):
            grams.setdefault(gram, []).append(row["id"])
            lengths.add(len(gram))
    found: set[str] = set()
    for document in corpus.rows():
        for length in lengths:
            for gram in _grams(document["text"], length):
                found.update(grams.get(gram, ()))
    return found


def _grams(text: str, size: int) -> Iterator[tuple[str, ...]]:
    split = [word.casefold() for word in words(text)]
    return (tuple(split[start : start + size]) for start in range(max(1, len(split) - size + 1)))
