"""What FineWeb's filters measure of a page, with the values that hold for English web text, and the rules that need no adapting.

Shares are 0 to 1. Words are those of engines.data.words: letters and digits, by character in scripts without spaces. Where a
rule counts punctuation as words (datatrove's tokenizers give it as such), marks are counted beside them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from metier.engines.data.words import words

Group = Literal["repetition", "quality"]


@dataclass(frozen=True)
class Statistic:
    """A number of a page and the side of a threshold on which good pages lie; `english` is FineWeb's threshold for English."""

    group: Group
    good: Literal["below", "above"]
    english: float


STATISTICS: dict[str, Statistic] = {
    "repeated lines": Statistic("repetition", "below", 0.30),
    **{f"top {n}-gram": Statistic("repetition", "below", limit) for n, limit in ((2, 0.20), (3, 0.18), (4, 0.16))},
    **{f"repeated {n}-grams": Statistic("repetition", "below", round(0.20 - 0.01 * n, 2)) for n in range(5, 11)},
    "punctuated lines": Statistic("quality", "above", 0.12),
    "newlines per word": Statistic("quality", "below", 0.30),
    "short words": Statistic("quality", "above", 3.0),
    "long words": Statistic("quality", "below", 10.0),
    "words with a letter": Statistic("quality", "above", 0.80),
}
"""In the order in which they are tried; "short words" and "long words" are both the mean length of a word, in characters."""

MAX_WORDS = 100_000
MAX_REPEATED_LINE_CHARS = 0.1  # FineWeb2's for every language; the English pipeline has 0.01
MIN_STOP_WORDS = 2
_MAX_SYMBOLS_PER_WORD = 0.1
_MAX_BULLET_LINES = 0.9
_MAX_ELLIPSIS_LINES = 0.3

_MARKS = re.compile(r"([^\w\s])\1*")
_TERMINAL = tuple(".!?…。！？．｡؟۔।॥։።፧፨។៕၊။܀܁܂‼⁇⁈⁉᠃᥄᥅")
_CLOSING = "\"'”’»›」』）)]*_ \t\r"
_BULLETS = ("•", "-", "‣", "●", "*")
_ELLIPSES = ("...", "…")


def measure(text: str) -> dict[str, float]:
    """The value of every one of STATISTICS. A page without words has 0 in all that is counted per word."""
    return _measured(text, words(text))


def failed_rule(text: str, thresholds: Mapping[str, float], stop_words: frozenset[str], *, min_words: int = 50) -> str | None:
    """The first rule that a page breaks, by name; None for a good page.

    The number of words, the adapted rules in the order given (a value at its threshold is good; a statistic without a threshold
    is not tried), then the rules that are the same for all languages. Two different `stop_words` (lower case) must occur, or the
    only one where there is one; an empty set asks for none.
    """
    found = words(text)
    if len(found) < min_words:
        return "too few words"
    if len(found) > MAX_WORDS:
        return "too many words"
    values = _measured(text, found)
    for name, threshold in thresholds.items():
        if values[name] > threshold if STATISTICS[name].good == "below" else values[name] < threshold:
            return name
    return _fixed_rule(text, found, stop_words)


def _fixed_rule(text: str, found: Sequence[str], stop_words: frozenset[str]) -> str | None:
    lines = text.splitlines()
    if _repeated(list(filter(str.strip, text.split("\n"))))[1] > MAX_REPEATED_LINE_CHARS * len(text.replace("\n", "")):
        return "characters of repeated lines"
    if max(text.count("#"), sum(map(text.count, _ELLIPSES))) > _MAX_SYMBOLS_PER_WORD * (len(found) + _num_marks(text)):
        return "symbols"
    if sum(line.lstrip().startswith(_BULLETS) for line in lines) > _MAX_BULLET_LINES * len(lines):
        return "bullets"
    if sum(line.rstrip().endswith(_ELLIPSES) for line in lines) > _MAX_ELLIPSIS_LINES * len(lines):
        return "lines cut short"
    if len(stop_words.intersection(map(str.lower, found))) < min(MIN_STOP_WORDS, len(stop_words)):
        return "stop words"
    return None


def _measured(text: str, found: Sequence[str]) -> dict[str, float]:
    lines = re.split(r"\n+", text.strip())
    filled = [line.rstrip(_CLOSING) for line in text.split("\n") if line.strip()]
    pieces, characters = max(1, len(found) + _num_marks(text)), max(1, len(text))
    length = sum(map(len, found)) / max(1, len(found))
    return {
        "repeated lines": _repeated(lines)[0] / len(lines),
        **{f"top {n}-gram": _top_ngram(found, n) / characters for n in (2, 3, 4)},
        **{f"repeated {n}-grams": _repeated_ngrams(found, n) / characters for n in range(5, 11)},
        "punctuated lines": sum(line.endswith(_TERMINAL) for line in filled) / max(1, len(filled)),
        "newlines per word": text.count("\n") / pieces,
        "short words": length,
        "long words": length,
        "words with a letter": sum(any(map(str.isalpha, word)) for word in found) / pieces,
    }


def _num_marks(text: str) -> int:
    """Runs of one punctuation mark or symbol: vowel signs of Indic scripts are neither letters to `re` nor marks here."""
    return sum(count for mark, count in Counter(_MARKS.findall(text)).items() if unicodedata.category(mark)[0] in "PS")


def _repeated(lines: Sequence[str]) -> tuple[int, int]:
    """How many lines are copies of earlier ones, and how many characters they have."""
    seen: set[str] = set()
    copies = [line for line in lines if line in seen or seen.add(line)]  # type: ignore[func-returns-value]
    return len(copies), sum(map(len, copies))


def _top_ngram(found: Sequence[str], n: int) -> int:
    """Characters that the most frequent n-gram (joined by spaces) takes; of ties, the first. 0 when each occurs once (datatrove
    counts one then)."""
    counts = Counter(zip(*(found[offset:] for offset in range(n))))
    ngram, count = max(counts.items(), key=lambda entry: entry[1], default=((), 0))
    return len(" ".join(ngram)) * count if count > 1 else 0


def _repeated_ngrams(found: Sequence[str], n: int) -> int:
    """Characters of the n-grams that came before, left to right; a repeated one is stepped over as a whole."""
    ngrams = list(zip(*(found[offset:] for offset in range(n))))
    seen: set[tuple[str, ...]] = set()
    characters = place = 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            characters += sum(map(len, ngrams[place]))
            place += n
        else:
            seen.add(ngrams[place])
            place += 1
    return characters
