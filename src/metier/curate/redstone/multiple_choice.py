"""The branch of multiple-choice questions: pages by their labels, and the questions alone where a model copies them out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from metier.curate.redstone.classifier import Classifier
from metier.curate.redstone.rules import Verdict
from metier.progress import track

if TYPE_CHECKING:
    from metier.models.language_model import Completion, LanguageModel

_CUE = "choice question"
_LABELS = (("a", "b", "c", "d"), ("1", "2", "3", "4"), ("i", "ii", "iii", "iv"))
# "a. ", "a) ", "a " that begins a line, and "a" alone in a line or a cell, which is what ">a<" of the source became
_FORMS = (r"(?<![a-z0-9])%s\.(?![a-z0-9])", r"(?<![a-z0-9])%s\)", r"^[ \t]*%s[ \t]", r"(?:^|[\t|])[ \t]*%s[ \t]*(?:$|[\t|])")
_FAMILIES = [[re.compile(form % label, re.MULTILINE) for label in labels] for labels in _LABELS for form in _FORMS]
_NONE_FOUND = "NO QUESTIONS"
_INSTRUCTION = (
    "The text below comes from a web page. Copy every multiple-choice question in it, in the order of the text and word for word: its "
    "options, its answer and explanation where they are given, and the passage it refers to. Leave all else out and add nothing of "
    f"your own. If there is no multiple-choice question, write {_NONE_FOUND}.\n\n"
)
_MAX_NEW_TOKENS = 2048
_AT_ONCE = 256
LEAST_COPIED = 0.9


@dataclass(frozen=True)
class Copied:
    """What a model made of a page: the questions in it, or why there are none (then `text` is "")."""

    text: str
    verdict: Verdict | None
    num_tokens: int


def judge(text: str, choice_probability: float, classifier: Classifier | None) -> Verdict | None:
    """None for a page with "choice question" and the four labels of a family in their order; a classifier may drop it that is
    sure, by `choice_probability`, that it is none."""
    lower = text.lower()
    if _CUE not in lower:
        return Verdict("no choice question", 0, 1)
    most = max(_in_order(family, lower) for family in _FAMILIES)
    if most < 4:
        return Verdict("fewer than four labels", most, 4)
    if classifier is None:
        return None
    probability = classifier.probability(text)
    least = 1 - choice_probability
    return None if probability > min(0.5, least) else Verdict("classifier of choice questions", probability, min(0.5, least))


def _in_order(family: Sequence[re.Pattern[str]], text: str) -> int:
    """How many labels of a family stand one after the other, from the first."""
    place = 0
    for number, label in enumerate(family):
        found = label.search(text, place)
        if found is None:
            return number
        place = found.end() - 1  # a line break may end one label and begin the next
    return len(family)


def copy_out(rows: Iterator[dict[str, Any]], model: LanguageModel, seed: int) -> dict[str, Copied]:
    """The questions of each page (id, text) as a model copies them, by id. Raises RuntimeError when it answers nothing at all."""
    copied: dict[str, Copied] = {}
    errors: Counter[str] = Counter()
    while part := list(islice(rows, _AT_ONCE)):
        prompts = [[{"role": "user", "content": _INSTRUCTION + row["text"]}] for row in part]
        answers = model.generate(prompts, max_new_tokens=_MAX_NEW_TOKENS, seed=seed)
        for row, answer in track(zip(part, answers, strict=True), "copying questions", total=len(part), unit="page"):
            copied[row["id"]] = checked(row["text"], answer)
            errors.update([answer.error] if answer.error is not None else [])
    if copied and errors.total() == len(copied):
        raise RuntimeError(f"{model.name} answered none of {len(copied)} pages; most often: {errors.most_common(1)[0][0]}")
    return copied


def checked(page: str, answer: Completion) -> Copied:
    """An answer that is whole and nine tenths of which are in the page, in its order."""
    text = answer.text.strip()
    verdict = None
    if answer.error is not None:
        verdict = Verdict("no answer", 0, 1)
    elif not text or _NONE_FOUND in text:
        verdict = Verdict("no questions copied", 0, 1)
    elif answer.finish_reason == "length":
        verdict = Verdict("copy cut short", answer.num_tokens, _MAX_NEW_TOKENS)
    elif (share := longest_common(page, text) / len(text)) < LEAST_COPIED:
        verdict = Verdict("not copied", share, LEAST_COPIED)
    return Copied("" if verdict is not None else text, verdict, answer.num_tokens)


def longest_common(first: str, second: str) -> int:
    """Length of the longest common subsequence of characters: a row of the usual table is one number of len(first) bits."""
    places: dict[str, int] = {}
    for place, char in enumerate(first):
        places[char] = places.get(char, 0) | 1 << place
    full = (1 << len(first)) - 1
    row = full
    for char in second:
        matches = row & places.get(char, 0)
        row = ((row + matches) | (row - matches)) & full
    return len(first) - row.bit_count()
