"""Text as the classifiers see it: words without endings and case, numbers all alike."""

from __future__ import annotations

import re

LONGEST_WORD = 100
_PLACEHOLDER = re.compile(r"\{\{[^{}]*\}\}|%[sd]\b|\[(?:image|img|figure)\]", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![A-Za-z])\d+(?:[.,]\d+)*")
_FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL)
_HAN = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af"
_RUN = re.compile(f"[{_HAN}]+")
_NO_WORD = re.compile(r"[^\w<>]|_")
_SHORT = 4  # letters that a word keeps, so that "sing" and "is" stay
_ENDINGS = (("ies", "y"), ("sses", "ss"), ("ss", "ss"), ("us", "us"), ("is", "is"), ("s", ""), ("ing", ""), ("ed", ""))


def prepared(text: str) -> str:
    """Lower-case words without their endings, each number "<num>"; of Han, kana and Hangul each two neighbours; in one line.

    Placeholders, punctuation, rows of dashes, and words of more than 100 letters go. Endings by rules for English (plural, -ing, -ed;
    "matrices" stays), where the paper's authors use a lemmatiser; what is not in Latin letters has its endings left.
    """
    text = _NO_WORD.sub(" ", _NUMBER.sub(" <num> ", _PLACEHOLDER.sub(" ", text.lower())))
    text = re.sub(r"<(?!num>)|(?<!<num)>", " ", _RUN.sub(_pairs, text))
    return " ".join(_without_ending(word) for word in text.split() if len(word) <= LONGEST_WORD)


def without_formulas(text: str) -> str:
    """The text without what stands between dollars: formulas are of no language."""
    return _FORMULA.sub(" ", text)


def _pairs(run: re.Match[str]) -> str:
    return " " + " ".join(run[0][place : place + 2] for place in range(max(1, len(run[0]) - 1))) + " "


def _without_ending(word: str) -> str:
    if not word.isascii():
        return word
    for ending, instead in _ENDINGS:
        if word.endswith(ending):
            stem = word[: -len(ending)] + instead
            if len(stem) < _SHORT:
                return word
            doubled = ending in ("ing", "ed") and stem[-1] == stem[-2] and stem[-1] not in "lsz"
            return stem[:-1] if doubled else stem
    return word
