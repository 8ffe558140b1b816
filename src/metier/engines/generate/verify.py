"""Whether a text that a model wrote about a source may be used: ten questions that need no other model."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from metier.engines.data.language import identify
from metier.engines.data.words import words
from metier.models.language_model import Completion

REASONS = (
    "failed", "unfinished", "empty", "refusal", "preamble", "language", "repetition", "length", "numbers", "names", "off topic", "copy",
)  # fmt: skip
_GRAM = 5
_MOST_REPEATED = 0.3  # share of 5-grams that stood before in the text
_FEWEST_WORDS = 10  # below, shares of n-grams and of words say nothing
_LONG_WORD, _STEM = 6, 5
_FEWEST_LONG_WORDS = 5
_EDGE = 300  # characters at either end where a model talks to its user
_CAPITALISED = 0.25  # share of words inside sentences above which capitals mark no names: German, headlines
_MOST_NEW_NAMES = 0.2
_FEWEST_LETTERS = 40  # below, a language is a guess
_SURE = 0.6

_APOSTROPHE = "['’]"
_REFUSAL = re.compile(
    rf"\s*(?:(?:i{_APOSTROPHE}m|i am)\s+(?:very\s+)?sorry|i\s+(?:can(?:not|{_APOSTROPHE}t)|won{_APOSTROPHE}t|(?:am|{_APOSTROPHE}m)\s+"
    rf"(?:not able|unable))\s+(?:to\s+)?(?:help|assist|fulfil|comply|provide|rewrite|rephrase|complete|answer|do)|as an? (?:ai|language model)"
    r"|es tut mir leid|als ki\b|lo siento|como (?:modelo|ia)\b|mi dispiace|come modello|je suis désolé|en tant que modèle)",
    re.IGNORECASE,
)
_TALK = re.compile(
    rf"\s*(?:sure|certainly|of course|okay|ok|absolutely|here(?:{_APOSTROPHE}s| is| are)|below is|the following is|hier ist|natürlich"
    r"|gerne|aquí (?:está|tienes)|claro|ecco|certo|certamente|voici|bien sûr)\b[^\n]{0,200}?[:!.](?:\s*\n|\s+(?=here|hier|aquí|ecco|voici)|\s*$)",
    re.IGNORECASE,
)
_TALK_INLINE = re.compile(
    rf"\s*(?:here(?:{_APOSTROPHE}s| is)|below is|hier ist|aquí está|ecco|voici)\b[^\n:]{{0,120}}"
    r"(?:rewrit|rephras|paraphras|version|passage|text|umschreib|reescri|riscri|réécri)[^\n:]{0,80}:\s*",
    re.IGNORECASE,
)
_NOTE = re.compile(
    r"\s*(?:[-*_]{3,}\s*)?[(\[*_]*(?:note\b|i hope\b|let me know\b|please note\b|i have (?:rewritten|rephrased|kept)|i(?:'ve|’ve) (?:rewritten|rephrased|kept)"
    r"|this (?:version|rewrite|rewritten|rephrased)\b|feel free\b|hinweis:|anmerkung:|nota:|remarque)",
    re.IGNORECASE,
)
_RESIDUE = re.compile(
    r"(?:rewritten|rephrased|paraphrased|rewording of the) (?:text|passage|version)|(?:text|passage) (?:rewritten|rephrased) in"
    r"|</?passage>|</?rewrite>|language model|your request",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»", "‘": "’", "'": "'"}
_FENCE = re.compile(r"```\w*\n(.*?)\n?```", re.DOTALL)

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LIST_MARK = re.compile(
    r"^\s*[(\[]?(?:(?:q|question|answer|step|a|frage|antwort|pregunta|respuesta)\s*)?\d{1,2}[.):\]](?=\s)", re.I | re.M
)
_WORD = re.compile(r"[^\W\d_]+")
_SPELLED: dict[str, str] = {
    word: str(number)
    for line in (
        "zero one two three four five six seven eight nine ten eleven twelve",
        "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
        "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce",
        "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici",
        "zéro un deux trois quatre cinq six sept huit neuf dix onze douze",
    )
    for number, word in enumerate(line.split())
}


@dataclass(frozen=True)
class Rules:
    """What a text must hold to.

    length: least and most characters by its source's; None for any
    min_kept: least share of the source's numbers, and of its names, that the text holds; with more than 0 it may hold no number that
        the source lacks, and few names; 0 for any
    min_related: least share of the source's different long words (six letters and more, compared by their first five)
    copy_limit: most of the text's 5-grams of words that stand in the source
    language: whether it must be in the language of its source
    """

    length: tuple[float, float] | None = (0.3, 1.6)
    min_kept: float = 0.8
    min_related: float = 0.15
    copy_limit: float = 0.8
    language: bool = True

    def __post_init__(self) -> None:
        if self.length is not None and not 0 <= self.length[0] < self.length[1]:
            raise ValueError(f"length={self.length} leaves no length: give the least and the most, such as [0.3, 1.6]")
        for name in ("min_kept", "min_related", "copy_limit"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is no share: give a number between 0 and 1")


def core(written: str, source: str, marker: str = "") -> str:
    """What of an answer is the text that was asked for: without what stands before the marker, talk to the user at either end, a
    fence, quotes around it all. What the source begins or ends with, too, is no talk."""
    text = written
    if marker and marker in written:  # the last that has something after it: models repeat what they are asked
        text = next((part for part in reversed(written.split(marker)[1:]) if part.strip()), "")
    fenced = _FENCE.fullmatch(text.strip())
    text = (fenced[1] if fenced is not None else text).strip()
    for pattern in (_TALK, _TALK_INLINE):
        found = pattern.match(text)
        while found is not None and found.end() and not source.lstrip().startswith(found[0].strip()):
            text = text[found.end() :].strip()
            found = pattern.match(text)
    paragraphs = re.split(r"\n\s*\n", text)
    while len(paragraphs) > 1 and _NOTE.match(paragraphs[-1]) and paragraphs[-1].strip() not in source:
        paragraphs.pop()
    return _unquoted("\n\n".join(paragraphs).strip())


def fault(answer: Completion, text: str, source: str, rules: Rules) -> str | None:
    """The first of REASONS why a text is not used, None for a good one. `text` is `core` of the answer.

    Refusals and talk are looked for at its ends, and only where the source has none of the same.
    """
    if answer.error is not None:
        return "failed"
    if answer.finish_reason == "length":
        return "unfinished"
    if not words(text):
        return "empty"
    if _says(_REFUSAL.match(text), source):
        return "refusal"
    if any(_says(_RESIDUE.search(part), source) for part in (text[:_EDGE], text[-_EDGE:])):
        return "preamble"
    if rules.language and other_language(text, source):
        return "language"
    if is_degenerate(text, source):
        return "repetition"
    return _unlike(text, source, rules)


def _unlike(text: str, source: str, rules: Rules) -> str | None:
    if rules.length is not None and not rules.length[0] <= len(text) / max(1, len(source)) <= rules.length[1]:
        return "length"
    if rules.min_kept > 0 and not numbers_kept(text, source, rules.min_kept):
        return "numbers"
    if rules.min_kept > 0 and not names_kept(text, source, rules.min_kept):
        return "names"
    if relatedness(text, source) < rules.min_related:
        return "off topic"
    return "copy" if rules.copy_limit < 1 and copied(text, source) > rules.copy_limit else None


def numbers(text: str) -> set[str]:
    """The numbers of a text in ASCII digits, without commas between thousands; not those that number lines."""
    return {_plain(found[0]) for found in _NUMBER.finditer(_LIST_MARK.sub("", text))}


def numbers_kept(text: str, source: str, min_kept: float) -> bool:
    """Whether a text holds enough of its source's numbers, and no others. 0 to 12 may be spelled, in five languages."""
    told, known = numbers(text), numbers(source)
    spelled_told, spelled_known = (
        {_SPELLED[word.lower()] for word in _WORD.findall(part) if word.lower() in _SPELLED} for part in (text, source)
    )
    return told <= known | spelled_known and len(known & (told | spelled_told)) >= min_kept * len(known)


def names(text: str) -> set[str]:
    """Words, in small letters, that begin with a capital inside a sentence; where most do, those with a capital further on."""
    inside = [found[0] for found in _WORD.finditer(text) if len(found[0]) > 1 and _inside(text, found.start())]
    capital = [word for word in inside if word[0].isupper()]
    if len(capital) > _CAPITALISED * len(inside):
        capital = [word for word in inside if any(map(str.isupper, word[1:]))]
    return {word.lower() for word in capital}


def names_kept(text: str, source: str, min_kept: float) -> bool:
    """Whether a text holds enough of its source's names, and few others."""
    told, known = names(text), names(source)
    all_told, all_known = ({word.lower() for word in _WORD.findall(part)} for part in (text, source))
    return len(known & all_told) >= min_kept * len(known) and len(told - all_known) <= max(1, _MOST_NEW_NAMES * len(told))


def relatedness(text: str, source: str) -> float:
    """Share of the source's different long words that the text holds, by their first letters; 1 where there are fewer than five."""
    known, told = (
        {word[:_STEM] for word in map(str.lower, words(part)) if len(word) >= _LONG_WORD or not word.isascii()}
        for part in (source, text)
    )
    return len(known & told) / len(known) if len(known) >= _FEWEST_LONG_WORDS else 1.0


def copied(text: str, source: str) -> float:
    """Share of the text's 5-grams of words that stand in the source; 0 for a text of fewer than ten words."""
    told = _grams(text)
    known = set(_grams(source))
    return sum(gram in known for gram in told) / len(told) if len(told) >= _FEWEST_WORDS - _GRAM else 0.0


def is_degenerate(text: str, source: str) -> bool:
    """Whether a text goes round in circles (30% of its 5-grams stood before) or stammers, and its source does not."""
    return (_repeated(text) > _MOST_REPEATED >= _repeated(source)) or (_stammers(text) and not _stammers(source))


def other_language(text: str, source: str) -> bool:
    """Whether both are known to be in a language, and not in the same."""
    if min(sum(map(str.isalpha, part)) for part in (text, source)) < _FEWEST_LETTERS:
        return False
    one, other = identify([text, source])
    if one.label.partition("_")[2] != other.label.partition("_")[2]:
        return True
    return one.label != other.label and min(one.score, other.score) >= _SURE


def _grams(text: str) -> list[tuple[str, ...]]:
    found = words(text.lower())
    return list(zip(*(found[start:] for start in range(_GRAM)), strict=False))


def _repeated(text: str) -> float:
    grams = _grams(text)
    return 1 - len(set(grams)) / len(grams) if len(grams) >= _FEWEST_WORDS else 0.0


def _stammers(text: str) -> bool:
    return re.search(r"([^\W_])\1{19,}", text) is not None or re.search(r"\b(\w+)(?:\W+\1\b){5,}", text) is not None


def _plain(number: str) -> str:
    digits = "".join(str(unicodedata.digit(mark)) if mark.isdigit() else mark for mark in number)
    return re.sub(r",(?=\d{3}(?:\D|$))", "", digits)


def _inside(text: str, start: int) -> bool:
    before = text[:start][-3:].rstrip(" ")
    return bool(before) and (before[-1].isalnum() or before[-1] in ",;)")


def _says(found: re.Match[str] | None, source: str) -> bool:
    return found is not None and found[0].strip().lower() not in source.lower()


def _unquoted(text: str) -> str:
    if len(text) > 2 and _QUOTES.get(text[0]) == text[-1] and not any(mark in text[1:-1] for mark in (text[0], text[-1])):
        return text[1:-1].strip()
    return text
