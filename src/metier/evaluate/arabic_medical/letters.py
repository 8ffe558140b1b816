"""Which option an Arabic answer means: text made comparable, option letters in whichever order a question has them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import Literal

Form = Literal["alef", "ya", "tatweel", "diacritics", "ta_marbuta"]
FORMS: tuple[Form, ...] = ("alef", "ya", "tatweel", "diacritics")

# Arabic numbers its options in the abjad order or in that of the alphabet; both begin alef, ba, and the third letter tells.
ABJAD, ALPHABET, LATIN = "ابجدهوزح", "ابتثجحخد", "abcdefgh"
ORDERS = (ABJAD, ALPHABET, LATIN)
LETTERS = "".join(sorted(set(ABJAD + ALPHABET)))

DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
DIACRITICS = re.compile("[\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]")
OUTER = " \t\n.,;:!?،؛؟\"'«»()[]{}*_`"

_QUALIFIERS = r"(?:\s+(?:الصحيح[هة]?|النهائي[هة]?|رقم|(?i:correct|right|final)))*"
_OPTION_WORD = r"(?:الخيار|الاختيار|الحرف|(?i:option|choice|letter))"
_BEFORE_LETTER = r"(?=[\s:=\-({\[]|$)"
_ANSWER = re.compile(r"(?:الاجاب[هة]|الجواب|(?i:answer)|boxed)" + _QUALIFIERS + _BEFORE_LETTER)
_OPTION = re.compile(_OPTION_WORD + _QUALIFIERS + _BEFORE_LETTER)  # also said of wrong ones, so read only where no answer is told
_LETTER = rf"([{LETTERS}]|[A-H]|[a-h](?=\s*(?:[.):\]}},،؛\-]|$)))"
_AFTER_MARKER = re.compile(
    rf"[\s:]*(?:هي|هو|(?i:is))?[\s:]*(?i:the\s+)?(?:{_OPTION_WORD}{_QUALIFIERS})?[\s:=\-({{\[]*{_LETTER}(?!\w)"
    r"(?!\s*(?:او|أو|و|or|and|/|,|،)\s*[\(\[]?\w(?!\w))"  # "A or B" is no answer
)
_LABELLED = re.compile(rf"^\s*[(\[]?{_LETTER}\s*(?:[.):\]\-،]\s*(.*)|)$")
_NEGATED = re.compile(r"(?<!\w)(?:ليس\w*|(?i:not(?:\s+the)?))\s+$")


def folded(text: str, forms: Collection[Form] = FORMS) -> str:
    """The text for matching only, never for prompting: without direction marks, digits unified, case and runs of space gone,
    outer punctuation stripped, and of `forms`: alefs one letter, alef maqsura as ya, ta marbuta as ha, tatweel and diacritics
    removed."""
    text = _spelled(text, forms)
    return " ".join(text.casefold().split()).strip(OUTER)


def _spelled(text: str, forms: Collection[Form]) -> str:
    text = DIRECTIONS.sub("", unicodedata.normalize("NFKC", text))
    text = "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in text)
    if "alef" in forms:
        text = re.sub("[أإآٱ]", "ا", text)
    if "ya" in forms:
        text = re.sub("[ىی]", "ي", text)
    if "tatweel" in forms:
        text = text.replace("ـ", "")
    if "diacritics" in forms:
        text = DIACRITICS.sub("", text)
    if "ta_marbuta" in forms:
        text = text.replace("ة", "ه")
    return text


def letter_of(label: str) -> str:
    """A label's letter as ORDERS have it: plain alef, no tatweel, Latin in lower case."""
    return folded(label, FORMS)


def meant(answer: str, options: Sequence[str], order: str, forms: Collection[Form] = FORMS) -> int | None:
    """The place of the option that the answer means, None where it names none or several.

    In turn: the answer is an option's text; the last answer marker ("the answer is", else "option", in Arabic or English) is
    followed by a letter or by one option's text; the answer is a letter or a labelled line; its last line is a letter; it holds
    the text of one option alone, the longest where one lies in another. Letters are those of the question (`order`) or Latin
    ones by place; a question in Latin letters also takes alef and ba, in which both Arabic orders agree.
    """
    text = _spelled(_without_thoughts(answer), {*forms, *FORMS}).replace("*", "").replace("`", "")
    texts = [folded(option, forms) for option in options]
    whole = [place for place, option in enumerate(texts) if option and option == folded(text, forms)]
    if len(whole) == 1:
        return whole[0]
    letters = _letters(order, len(options))
    for marker in [*reversed(list(_ANSWER.finditer(text))), *reversed(list(_OPTION.finditer(text)))]:
        after = text[marker.end() :]
        found = _AFTER_MARKER.match(after)
        if _NEGATED.search(text[: marker.start()]):
            continue
        if found is not None:
            return letters.get(found[1].casefold())
        named = _named(after, texts, forms)
        if named is not None:
            return named
    labelled = _labelled(text, texts, letters, forms)
    return labelled if labelled is not None else _named(text, texts, forms)


def _without_thoughts(answer: str) -> str:
    """What follows the thoughts of a reasoning model; nothing where they never ended."""
    if "</think>" in answer:
        return answer.rpartition("</think>")[2]
    return "" if "<think>" in answer else answer


def _letters(order: str, size: int) -> dict[str, int]:
    known = {letter: place for place, letter in enumerate(LATIN[:size])}
    own = order if order != LATIN else "اب"
    return known | {letter: place for place, letter in enumerate(own[:size])}


def _labelled(text: str, texts: Sequence[str], letters: dict[str, int], forms: Collection[Form]) -> int | None:
    lines = [line.strip().strip("\"'«»") for line in text.splitlines() if line.strip()]
    found = [(number, match) for number, line in enumerate(lines) if (match := _LABELLED.match(line)) is not None]
    if len(found) != 1 or found[0][0] not in (0, len(lines) - 1):
        return None  # none, or the options told one after the other
    number, match = found[0]
    letter, rest = match[1].casefold(), folded(match[2] or "", forms)
    place = letters.get(letter)
    if place is None or not rest:
        return place
    if rest == texts[place] or (texts[place] and rest.startswith(f"{texts[place]} ")):
        return place
    others = _named(rest, texts, forms)
    # "د." is also how "doctor" is written, so before other words it is no label.
    return place if number == 0 and others in (None, place) and letter != "د" else None


def _named(text: str, texts: Sequence[str], forms: Collection[Form]) -> int | None:
    """The only option whose text stands in the text as whole words; an option inside a longer one that was found does not
    count."""
    hay = folded(text, forms)
    taken: list[tuple[int, int]] = []
    places = set()
    for place in sorted(range(len(texts)), key=lambda place: -len(texts[place])):
        if not texts[place]:
            continue
        for match in re.finditer(rf"(?<!\w){re.escape(texts[place])}(?!\w)", hay):
            if not any(start <= match.start() and match.end() <= end for start, end in taken):
                taken.append(match.span())
                places.add(place)
    return places.pop() if len(places) == 1 else None
