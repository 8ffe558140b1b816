"""Reading-comprehension exercises that a text holds already: pairs of sentences and terms that connectives show to belong
together."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MIN_CLAUSE = 50
MIN_WORDS = 3
MAX_PIECES = 100
MOST_SENTENCES = 2
_CONTRAST = "No|However|But|On the contrary|In contrast|Whereas"
_CONSEQUENCE = "Therefore|Thus|Accordingly|Hence|For this reason"
_ABBREVIATIONS = frozenset(
    "al app approx art ca cf cir civ co corp crim dept dr e.g ed eds eq eqs esp etc ex fed fig figs hon i.e inc jr lt ltd mr "
    "mrs ms op para pp prof ref refs reg rev sec sect sr st stat supp tab u.k u.s v viz vol vs".split()
)
_END = re.compile(r"[.!?]+[\"')\]”’]*\s+|[。！？]+[”’」』）]*|\n+")


@dataclass(frozen=True)
class Exercise:
    """What was found. kind and label say which question it makes; first, second: its two halves; connective: the words between
    them.

    kind, label: nli (entail, contradict, neutral), cause (cause_effect, effect_cause), paraphrase (similar, different), words
    (definition, topic, word_to_text), written (by a model).
    For word_to_text `first` holds the words, separated by ", ", and `second` the sentence.
    """

    kind: str
    label: str
    first: str
    second: str
    connective: str = ""


def _pair(connectives: str, clause: str, comma: bool) -> re.Pattern[str]:
    """Two sentences that a connective joins, after the end of another one. What is possessive never backtracks: time stays
    linear."""
    part = rf"([^{clause}]{{{MIN_CLAUSE},}}+[.!?]++)"
    after = r"\s*+," if comma else ""
    return re.compile(rf"[.!?]++\s++{part}\s++({connectives}){after}\s++{part}\s", re.IGNORECASE)


_PAIRS: dict[tuple[str, str], re.Pattern[str]] = {
    ("nli", "entail"): _pair(rf"Yes|{_CONSEQUENCE}", r".!?\n,", True),
    ("nli", "contradict"): _pair(_CONTRAST, r".!?\n,", True),
    ("nli", "neutral"): _pair("Maybe|Also|Furthermore|Secondly|Additionally|Moreover|In addition", r".!?\n,", True),
    ("cause", "cause_effect"): _pair(_CONSEQUENCE, r".!?\n,", True),
    ("cause", "effect_cause"): _pair("due to|on account of|owing to", r".!?;\n,", False),
    ("paraphrase", "similar"): _pair(r"In other words?|Namely|That is to say|i\.e\.|Scilicet|Similarly|Equally", r".!?\n", True),
    ("paraphrase", "different"): _pair(_CONTRAST, r".!?\n", True),
    ("words", "definition"): re.compile(
        r"\s([^.!?,;\s\"]{10,})(?:\s++(is defined as)|('s definition is))\s++([^.!?\n]{20,}+[.!?]++)\s", re.IGNORECASE
    ),
    ("words", "topic"): re.compile(
        r"[.!?]++\s++([^.!?,;\n]{20,})(?:\s++(was about|talks about|is about)|('s topic is))\s++([^.!?\n]{20,}+[.!?]++)\s",
        re.IGNORECASE,
    ),
}


def mined_pairs(text: str) -> list[Exercise]:
    """All that the patterns find, in the order of kinds, labels and text.

    Case does not matter. The parts of a pair have 50 characters or more, no full stop, question or exclamation mark, line break
    or comma inside (paraphrases may have commas). The first sentence and one that nothing follows are no part of a pair, and one
    pair's second sentence does not begin another: both as in the authors' code, whose counts these are.
    """
    found = []
    for (kind, label), pattern in _PAIRS.items():
        for match in pattern.finditer(text):
            groups = [group for group in match.groups() if group is not None]
            found.append(Exercise(kind, label, groups[0].strip(), groups[2].strip(), groups[1]))
    return found


def sentences(text: str) -> list[str]:
    """The sentences of a text with the white space that follows each: joined they are the text.

    A sentence ends at . ! or ? before white space, at their full-width forms, and at a line break; not after an abbreviation, an
    initial, or before a small letter or a comma (law reports: "Roe v. Wade", "Fed. Reg.").
    """
    found, start = [], 0
    for end in _END.finditer(text):
        if end[0].startswith(".") and _goes_on(text[start : end.start()], text[end.end() : end.end() + 1], end[0]):
            continue
        found.append(text[start : end.end()])
        start = end.end()
    return [*found, text[start:]] if text[start:] else found


def _goes_on(before: str, following: str, mark: str) -> bool:
    """Whether a full stop after `before` is inside a sentence."""
    last = before.rpartition(" ")[2].lstrip("([\"'")
    initial = len(last) == 1 and last.isupper()
    numbered = last.lower() in ("no", "nos") and following.isdigit()
    known = initial or numbered or last.lower() in _ABBREVIATIONS
    return mark.strip() == "." and (known or following.islower() or following in (",", ";"))


def word_sentences(
    parts: Sequence[str], pieces: Callable[[str], list[str]], domain_words: frozenset[str], generator: random.Random
) -> list[Exercise]:
    """Up to two sentences, drawn in random order, with three or more different domain words and at most 100 different pieces.

    pieces: the domain tokenizer's pieces of a sentence, word-initial ones with a leading "▁"; domain_words are among these.
    """
    found: list[Exercise] = []
    for sentence in generator.sample(list(parts), len(parts)):
        if len(found) == MOST_SENTENCES:
            break
        of_sentence = dict.fromkeys(pieces(sentence))
        special = [piece.lstrip("▁") for piece in of_sentence if piece in domain_words]
        if len(special) >= MIN_WORDS and len(of_sentence) <= MAX_PIECES:
            found.append(Exercise("words", "word_to_text", ", ".join(special[:MIN_WORDS]), sentence.strip()))
    return found
