"""`curate.quality`: a few rules that mark texts with nothing to learn from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial

from metier.artifacts import Batch, Corpus
from metier.engines.data.step import map_step
from metier.engines.data.words import words
from metier.method import method

_FEW_WORDS = 50  # below, shares of repeated pieces are chance
_MARKUP_WORDS = 3
_LONG_RUN = re.compile(r"(\S)\1{99,}")
_BULLETS = ("-", "*", "•", "●", "‣", "+")


@method(
    paper="Gopher, arXiv 2112.11446, table A1 and section A.1.1; C4, arXiv 1910.10683, section 2.2",
    claim="drops texts that are fragments, symbols or repetition, and keeps a docstring of a dozen words",
)
def quality(
    corpus: Corpus,
    *,
    min_words: int = 5,
    min_word_share: float = 0.4,
    max_repeated_lines: float = 0.4,
    max_repeated_ngrams: float = 0.4,
) -> Corpus:
    """The corpus with `drop_reason` set to the first rule that fires; a reason given before stands, and nothing is removed.

    too short: fewer than `min_words` words. few words: too small a share of the pieces between white space hold a letter (tables of
    numbers, rules of dashes). symbol run: one character a hundred times in a row makes up a tenth of the text. repeated lines, repeated
    phrases: the shares below, in texts of 50 words and more. placeholder: "lorem ipsum". Rules for prose alone (stop words, ends of
    lines, mean word length) are left out, since documentation, code and languages without spaces fail them.
    Settings:
        min_words: least number of words; Gopher asks for 50 on the web, far too many for a docstring
        min_word_share: least share, 0 to 1, of pieces that hold a letter; Gopher's 0.8 is for prose; worked examples in documentation come down to 0.41
        max_repeated_lines: largest share, 0 to 1, of lines that came before in the same text; Gopher's 0.3, and a margin for documentation
        max_repeated_ngrams: largest share, 0 to 1, of characters in the most frequent phrase of two to four words; Gopher's 0.2
            drops documentation of functions with examples, which reaches 0.39
    """
    for name, share in (
        ("min_word_share", min_word_share),
        ("max_repeated_lines", max_repeated_lines),
        ("max_repeated_ngrams", max_repeated_ngrams),
    ):
        if not 0 <= share <= 1:
            raise ValueError(f"{name}={share} is no share: give a number between 0 and 1")
    if min_words < 0:
        raise ValueError(f"min_words={min_words} is no number of words: give 0 or more")
    return map_step(
        corpus,
        partial(
            mark_quality,
            min_words=min_words,
            min_word_share=min_word_share,
            max_repeated_lines=max_repeated_lines,
            max_repeated_ngrams=max_repeated_ngrams,
        ),
    )


def mark_quality(
    batch: Batch,
    *,
    min_words: int = 5,
    min_word_share: float = 0.4,
    max_repeated_lines: float = 0.4,
    max_repeated_ngrams: float = 0.4,
) -> Batch:
    """The rules as a step: reads `text`, fills `drop_reason`. Settings as in `quality`."""
    rules: dict[str, Callable[[str, list[str]], bool]] = {
        "too short": lambda text, found: len(found) < min_words,
        "few words": lambda text, found: _word_share(text) < min_word_share,
        "symbol run": lambda text, found: sum(len(run[0]) for run in _LONG_RUN.finditer(text)) > 0.1 * len(text),
        "repeated lines": lambda text, found: len(found) >= _FEW_WORDS and _repeated_lines(text) > max_repeated_lines,
        "repeated phrases": lambda text, found: len(found) >= _FEW_WORDS and _top_phrase(found) > max_repeated_ngrams,
        "placeholder": lambda text, found: "lorem ipsum" in text.lower(),
    }
    before = batch.get("drop_reason") or [None] * len(batch["text"])
    reasons = []
    for text, was in zip(batch["text"], before, strict=True):
        found = words(text)
        reasons.append(was or next((name for name, fires in rules.items() if fires(text, found)), None))
    return {"drop_reason": reasons}


def _word_share(text: str) -> float:
    """Share of the pieces between white space that hold a letter; marks of lists, and rules below headings, are no pieces."""
    pieces = [piece for piece in text.split() if piece not in _BULLETS and len(set(piece)) > (len(piece) > _MARKUP_WORDS)]
    return sum(any(map(str.isalpha, piece)) for piece in pieces) / max(1, len(pieces))


def _repeated_lines(text: str) -> float:
    lines = [line.strip() for line in text.splitlines() if any(map(str.isalnum, line))]
    return 1 - len(set(lines)) / max(1, len(lines))


def _top_phrase(found: list[str]) -> float:
    """The largest share of the letters of all words that one phrase of two, three or four words takes."""
    letters = sum(map(len, found))
    shares = [0.0]
    for n in (2, 3, 4):
        phrase, count = Counter(zip(*(found[offset:] for offset in range(n)))).most_common(1)[0]
        shares.append(count * sum(map(len, phrase)) / letters if count > 1 else 0.0)
    return max(shares)
