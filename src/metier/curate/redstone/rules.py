"""Gopher's and RefinedWeb's rules for pages of prose, each with its value and its threshold."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from metier.engines.data.exercises import sentences

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]


class Verdict(NamedTuple):
    """Why a page is dropped: the rule, the page's value and the threshold it is beyond."""

    rule: str
    value: float
    threshold: float


class Rule(NamedTuple):
    """A page is dropped where its `statistic` is above (below) the threshold."""

    statistic: str
    bad: Literal["above", "below"]
    threshold: float


RULES: dict[str, Rule] = {
    "too few words": Rule("words", "below", 50),
    "too many words": Rule("words", "above", 100_000),
    "short words": Rule("mean word length", "below", 3),
    "long words": Rule("mean word length", "above", 10),
    "symbols": Rule("symbols per word", "above", 0.10),
    "few words with a letter": Rule("words with a letter", "below", 0.80),
    "sentences cut short": Rule("sentences cut short", "above", 0.30),
    "bullets": Rule("bullets", "above", 0.90),
    "stop words": Rule("stop words", "below", 2),
    **{f"top {n}-gram": Rule(f"top {n}-gram", "above", limit) for n, limit in ((2, 0.20), (3, 0.18), (4, 0.16))},
    **{f"repeated {n}-grams": Rule(f"repeated {n}-grams", "above", 0.15 - (n - 5) / 100) for n in range(5, 11)},
    "repeated sentences": Rule("repeated sentences", "above", 0.30),
    "characters of repeated sentences": Rule("characters of repeated sentences", "above", 0.20),
    "repeated paragraphs": Rule("repeated paragraphs", "above", 0.30),
    "characters of repeated paragraphs": Rule("characters of repeated paragraphs", "above", 0.20),
}
FLAGGED = "flagged sentences"
_STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
_BULLETS = ("\u2022", "\u2023", "\u25b6", "\u25c0", "\u25e6", "\u25a0", "\u25a1", "\u25aa", "\u25ab", "\u2013")
_SPACES = re.compile(r"[^\S\n]+")
_BREAKS = re.compile("\r\n?|[\u2028\u2029\x0b\x0c\x85]")
_COUNTER = re.compile(r"\d[\d.,]*\s+\w+[.!]?")
_SIGN_IN = re.compile(r"sign[ -](?:in|up)\b", re.IGNORECASE)
_MORE = re.compile(r"read more\s*(?:\.\.\.|…)$", re.IGNORECASE)


def normalised(text: str) -> str:
    """The view of a text that is counted, but for its case: NFKC, one kind of line break, single spaces."""
    return _SPACES.sub(" ", _BREAKS.sub("\n", unicodedata.normalize("NFKC", text))).strip()


def measure(text: str) -> dict[str, float]:
    """The twenty statistics of a page, in lower case. Shares of nothing are 0."""
    view = normalised(text)
    parts = [part.strip().lower() for part in sentences(view) if part.strip()]  # capitals tell where sentences end
    view = view.lower()
    words = view.split()
    paragraphs = [line.strip() for line in view.split("\n") if line.strip()]
    count, said = max(1, len(words)), max(1, len(parts))
    found = {
        "words": float(len(words)),
        "mean word length": sum(map(len, words)) / count,
        "symbols per word": (view.count("#") + view.count("...")) / count,
        "words with a letter": sum(any(map(str.isalpha, word)) for word in words) / count,
        "sentences cut short": sum(part.endswith("...") for part in parts) / said,
        "bullets": sum(part.startswith(_BULLETS) for part in parts) / said,
        "stop words": float(sum(word in _STOP_WORDS for word in words)),
    }
    found["repeated sentences"], found["characters of repeated sentences"] = _repeated(parts)
    found["repeated paragraphs"], found["characters of repeated paragraphs"] = _repeated(paragraphs)
    return found | _ngram_shares(words)


def failed_rule(values: Mapping[str, float], limits: Mapping[str, float]) -> Verdict | None:
    """The first rule that a page of these values breaks; a value at its threshold is good."""
    for name, rule in RULES.items():
        value, limit = values[rule.statistic], limits[name]
        if value > limit if rule.bad == "above" else value < limit:
            return Verdict(name, value, limit)
    return None


def without_flagged(text: str, max_share: float) -> tuple[str, Verdict | None]:
    """The text without its flagged sentences, and the verdict where these hold more than `max_share` of the words; what is
    left stays in the lines it was in."""
    parts = sentences(text)
    flags = [is_flagged(part) for part in parts]
    total = sum(len(part.split()) for part in parts)
    flagged = sum(len(part.split()) for part, flag in zip(parts, flags, strict=True) if flag)
    share = flagged / max(1, total)
    if share > max_share:
        return text, Verdict(FLAGGED, share, max_share)
    return "".join(part for part, flag in zip(parts, flags, strict=True) if not flag).strip(), None


def is_flagged(sentence: str) -> bool:
    """Whether a sentence is a heading in capitals, a number, a counter ("3 likes"), one word, or a shop's or a login's."""
    line = sentence.strip()
    if not line:
        return False
    letters = [char for char in line if char.isalpha()]
    return (
        (bool(letters) and sum(map(str.isupper, letters)) > 0.6 * len(letters))
        or all(char.isdigit() or char.isspace() or unicodedata.category(char) == "Cc" for char in line)
        or len(line.split()) == 1
        or _COUNTER.fullmatch(line) is not None
        or _SIGN_IN.match(line) is not None
        or _MORE.search(line) is not None
        or "items in cart" in line.lower()
    )


def _repeated(parts: Sequence[str]) -> tuple[float, float]:
    """The share of parts that occur more than once, every copy counted, and of their characters."""
    counts = Counter(parts)
    copies = [part for part in parts if counts[part] > 1]
    return len(copies) / max(1, len(parts)), sum(map(len, copies)) / max(1, sum(map(len, parts)))


def _ngram_shares(words: Sequence[str]) -> dict[str, float]:
    """Shares of the characters of all words: of the most frequent n-gram for n of 2 to 4, of all that repeat for 5 to 10."""
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    base = np.fromiter(map(numbers.__getitem__, words), np.int64, len(words))
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    total, grams, shares = max(1, int(lengths.sum())), base, {}
    for n in range(2, 11):
        # Numbers of (n-1)-grams and of words make those of n-grams: exact, and one sort for each n.
        grams = grams[:-1] * len(numbers) + base[n - 1 :] if len(words) >= n else base[:0]
        _, first, grams, counts = np.unique(grams, return_index=True, return_inverse=True, return_counts=True)
        if n > 4:
            shares[f"repeated {n}-grams"] = _covered(counts[grams] > 1, n, lengths) / total
        else:
            shares[f"top {n}-gram"] = _covered(_top(first, grams, counts), n, lengths) / total
    return shares


def _top(first: Ints, grams: Ints, counts: Ints) -> npt.NDArray[np.bool_]:
    """Where the most frequent n-gram begins, of ties the first in the text; nowhere when each occurs once."""
    if len(counts) == 0 or counts.max() == 1:
        return np.zeros(len(grams), bool)
    ties = np.flatnonzero(counts == counts.max())
    begins: npt.NDArray[np.bool_] = grams == ties[np.argmin(first[ties])]
    return begins


def _covered(begins: npt.NDArray[np.bool_], n: int, lengths: Ints) -> int:
    """Characters of the words that n-grams beginning there cover, each once."""
    change = np.zeros(len(lengths) + 1, np.int64)
    places = np.flatnonzero(begins)
    np.add.at(change, places, 1)
    np.add.at(change, places + n, -1)
    return int(lengths[np.cumsum(change[:-1]) > 0].sum())
