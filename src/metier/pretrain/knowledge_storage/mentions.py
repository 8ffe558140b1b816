"""Where facts stand in documents: how often, in how many wordings, at how many places, how near the name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_WORD = re.compile(r"\w+")
_BEFORE = 6  # words before a value that make its wording
_ALIKE = 0.6  # share of common words from which two wordings are one


class Phrases:
    """Finds phrases in texts, the longest at each place, whole words only: "York" is not found in "New York", if both are phrases."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._by_word: dict[str, list[str]] = defaultdict(list)
        for phrase in dict.fromkeys(phrases):
            first = _WORD.search(phrase)
            if first is None:
                raise ValueError(f"{phrase!r} holds no word, so it can't be found in a text")
            self._by_word[first[0]].append(phrase)
        for found in self._by_word.values():
            found.sort(key=len, reverse=True)

    def find(self, text: str) -> Iterator[tuple[int, str]]:
        """Where a phrase begins, and which, in order and without overlaps."""
        end = 0
        for word in _WORD.finditer(text):
            for phrase in self._by_word.get(word[0], ()):
                start = word.start() - phrase.index(word[0])
                stop = start + len(phrase)
                whole = not (phrase[-1].isalnum() and text[stop : stop + 1].isalnum())
                if start >= end and text.startswith(phrase, start) and whole:
                    yield start, phrase
                    end = stop
                    break


@dataclass
class Mentions:
    """Of one fact. wordings: different contexts (sets of words before the value, names and values of the document left out); places:
    how many other values of the same entity stood before, in each document; named: mentions with the full name just before"""

    documents: list[str] = field(default_factory=list)
    wordings: list[frozenset[str]] = field(default_factory=list)
    places: set[int] = field(default_factory=set)
    named: int = 0


Key = tuple[str, str]  # entity, attribute


def find_mentions(documents: Iterable[Mapping[str, Any]], facts: Mapping[Key, str]) -> dict[Key, Mentions]:
    """Every fact's mentions: a document mentions a fact where it holds the entity's name and the value, the first occurrence counts.

    facts: value by (entity, attribute). Names and values are found as whole phrases, the longest first, so no sentences need be split.
    """
    by_entity: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for (entity, attribute), value in facts.items():
        by_entity[entity].append((attribute, value))
    phrases = Phrases([*by_entity, *facts.values()])
    found: dict[Key, Mentions] = {key: Mentions() for key in facts}
    for document in documents:
        spans = list(phrases.find(document["text"]))
        for entity in dict.fromkeys(phrase for _, phrase in spans if phrase in by_entity):
            _note(document, spans, entity, by_entity[entity], found)
    return found


def _note(
    document: Mapping[str, Any],
    spans: Sequence[tuple[int, str]],
    entity: str,
    told: Sequence[tuple[str, str]],
    found: dict[Key, Mentions],
) -> None:
    first: dict[str, int] = {}
    for number, (_, phrase) in enumerate(spans):
        first.setdefault(phrase, number)
    here = sorted((first[value], attribute) for attribute, value in told if value in first)
    for place, (number, attribute) in enumerate(here):
        mentions = found[entity, attribute]
        mentions.documents.append(document["id"])
        mentions.places.add(place)
        start = spans[number][0]
        previous = spans[number - 1] if number else (0, "")
        begin = previous[0] + len(previous[1])
        words = [word.lower() for word in _WORD.findall(document["text"][begin:start])][-_BEFORE:]
        mentions.named += previous[1] == entity
        wording = frozenset(words)
        if not any(alike(wording, other) for other in mentions.wordings):
            mentions.wordings.append(wording)


def alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two sets of words are the same wording: equal, or with most of their words in common."""
    return one == other or len(one & other) >= _ALIKE * len(one | other) > 0
