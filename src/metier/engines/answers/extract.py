"""The answer in a completion, by the rules of Zero-shot-CoT (arXiv 2205.11916), checked against its authors' logs.

The rules are simple and have known weaknesses, which published numbers depend on: `1/2` gives 1, a dash before a number makes
it negative, units and percent signs are passed over, the article "A" counts as the letter A. `strict` mends these for other
uses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "letter", "yes/no", "string"]

_NUMBER = re.compile(r"-?\d+\.?\d*")
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_STRICT_NUMBER = re.compile(rf"(?:(?<![\w.)%])[-−])?\$?(?:{_DIGITS})(?:\s*/\s*(?:{_DIGITS}))?")
_NOT_WORDS = re.compile(r"[\"'\n.\s:,]")
_NOT_LETTERS = re.compile(r"[\"'\n.\s]")


@dataclass(frozen=True)
class Form:
    """What an answer looks like. `letters` holds the allowed capitals, for kind "letter" only.

    Raises ValueError for letters that are none, or where the kind has no use for them.
    """

    kind: Kind
    letters: str = ""

    def __post_init__(self) -> None:
        if (self.kind == "letter") != bool(self.letters):
            raise ValueError(f"letters={self.letters!r} do not go with answers of kind {self.kind!r}: give them for letters only")
        if self.letters and not re.fullmatch("[A-Z]+", self.letters):
            raise ValueError(f"letters={self.letters!r} must be capitals, such as ABCDE")

    @property
    def options(self) -> list[str]:
        """The closed set of answers, as a model would write them; empty where the set is open."""
        return ["Yes", "No"] if self.kind == "yes/no" else list(self.letters)


def extract(completion: str, form: Form, *, strict: bool = False, after: str | None = None) -> str:
    """The first candidate in a completion, as text; "" where there is none.

    number: commas deleted; a minus, digits, a point, digits. letter: an allowed capital anywhere. yes/no: the token yes or no, in
    lower case.
    string: the whole completion without quotes, full stops and space. A full stop at the end is dropped.
    strict: fractions stay whole and a dash that joins is no minus; a letter must stand alone, and one in brackets, or before a
    bracket, colon, full stop, comma or the end of a line comes first
    after: the phrase that introduces answers in few-shot prompts. What follows its last occurrence is read; where it is missing,
    the last candidate counts, not the first
    """
    introduced = after is None or after in completion
    text = completion if after is None else completion.split(after)[-1]
    found = _strict_candidates(text, form) if strict else _candidates(text, form)
    answer = (found[0] if introduced else found[-1]) if found else ""
    return answer.removesuffix(".")


def _candidates(text: str, form: Form) -> list[str]:
    match form.kind:
        case "number":
            return _NUMBER.findall(text.replace(",", ""))
        case "letter":
            return [letter for letter in text if letter in form.letters]
        case "yes/no":
            return [word for word in _NOT_WORDS.sub(" ", text.lower()).split(" ") if word in ("yes", "no")]
        case "string":
            return [_NOT_LETTERS.sub("", text)]


def _strict_candidates(text: str, form: Form) -> list[str]:
    if form.kind == "number":
        return [re.sub(r"[,$\s]", "", found).replace("−", "-") for found in _STRICT_NUMBER.findall(text)]
    if form.kind == "letter":
        marked = re.findall(rf"\(([{form.letters}])\)|(?<!\w)([{form.letters}])(?=[):.,*]|\s*$)", text, re.MULTILINE)
        alone = re.findall(rf"(?<![\w'’])([{form.letters}])(?![\w'’])", text)
        return [first or second for first, second in marked] or alone
    return _candidates(text, form)
