"""A document in passages short enough that a writer loses nothing of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from metier.engines.generate.synthesis import TokenCounter

_LINE = re.compile(r"[^\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
_SENTENCE_END = re.compile(r"(?<=[.!?؟।۔])\s+|(?<=[。！？])\s*")
_ENDS = tuple(".!?:;…。！？؟।۔\"”»)’'")
_SIGNS = frozenset("{}[]|\\_<>#@*&=+~^$%")
_MOST_SIGNS = 0.05
_FEWEST_LINES, _LONG_LINE, _FEWEST_ENDS = 3, 60, 0.3


class Passage(NamedTuple):
    """A part of a text, from one character up to another, without white space at its ends. tokens: the sum of its pieces'"""

    start: int
    end: int
    tokens: int


def split_passages(text: str, *, max_tokens: int, counter: TokenCounter) -> list[Passage]:
    """The text in passages of at most `max_tokens`, of which no two neighbours would fit into one.

    Lines are the pieces; a line too long is split after its sentences, a sentence too long between words, a word too long inside.
    Pieces follow each other into a passage while the sum of their tokens, each counted with the white space before it, is within the
    limit. Between passages lies white space or nothing, so that the text can be put together again.
    """
    found: list[Passage] = []
    for start, end in _pieces(text, max_tokens, counter):
        tokens = counter.count(text[start:end])
        if found:
            last = found[-1]
            together = last.tokens + counter.count(text[last.end : end])
            if together <= max_tokens:
                found[-1] = Passage(last.start, end, together)
                continue
        found.append(Passage(start, end, tokens))
    return found


def is_prose(passage: str) -> bool:
    """Whether a passage is running text: few signs as code and tables have them, and not short lines without an end, as lists,
    menus and poems."""
    if sum(map(_SIGNS.__contains__, passage)) > _MOST_SIGNS * len(passage):
        return False
    lines = [line for line in passage.splitlines() if line.strip()]
    if len(lines) < _FEWEST_LINES or sorted(map(len, lines))[len(lines) // 2] >= _LONG_LINE:
        return True
    return sum(line.rstrip().endswith(_ENDS) for line in lines) >= _FEWEST_ENDS * len(lines)


def _pieces(text: str, limit: int, counter: TokenCounter) -> Iterator[tuple[int, int]]:
    for line in _LINE.finditer(text):
        for start, end in _parts(text, line.start(), line.end(), limit, counter):
            stripped = text[start:end].strip()
            if stripped:
                begin = text.index(stripped, start)
                yield begin, begin + len(stripped)


def _parts(text: str, start: int, end: int, limit: int, counter: TokenCounter) -> Iterator[tuple[int, int]]:
    if counter.count(text[start:end]) <= limit:
        yield start, end
        return
    ends = [found.end() for found in _SENTENCE_END.finditer(text, start, end) if found.end() < end]
    for begin, stop in zip([start, *ends], [*ends, end], strict=True):
        while begin < stop:
            cut = begin + len(counter.beginning(text[begin:stop], limit))
            yield begin, cut
            begin = cut
