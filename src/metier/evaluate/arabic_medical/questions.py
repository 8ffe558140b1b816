"""The benchmark's files as questions: options split, the right one found, what does not fit told apart."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from metier.evaluate.arabic_medical.letters import DIRECTIONS, LETTERS, ORDERS, Form, folded, letter_of, meant

Kind = Literal["choice", "open"]
SETS: dict[str, Kind] = {
    "multiple-choice-questions": "choice",
    "multiple-choice-withbias": "choice",
    "fill-in-the-blank-choices": "choice",
    "fill-in-the-blank-nochoices": "open",
    "patient-doctor-qa": "open",
    "patient-doctor-qa-gec": "open",
    "patient-doctor-qa-llm": "open",
}
PLAIN = " (plain)"  # after a set's name: the questions of its biased ones, asked without the misleading preamble
_OPTION = re.compile(rf"^\s*[(\[]?([{LETTERS}أإآ]ـ*|[A-Ha-h])\s*[.):\]\-،]\s*(.*)$")
_NEGATED = re.compile(r"(?:ما عدا|عدا|الا|باستثناء|ليس\w*|غير صحيح\w*|خاطي\w*|خطا|except|\bnot\b)")


@dataclass(frozen=True)
class Question:
    """A row of a file. id: file and row number; order: the letters of its options, one of letters.ORDERS.

    gold: the right option's place; None for an open question, or where `problem` says why it could not be found
    suggested: the wrong option that a misleading preamble names, where it names just one
    """

    id: str
    task: str
    kind: Kind
    text: str
    answer: str
    options: list[str] = field(default_factory=list)
    order: str = ""
    gold: int | None = None
    category: str = ""
    bias: str = ""
    suggested: int | None = None
    negated: bool = False
    problem: str | None = None


def read_questions(file: Path, kind: Kind, forms: Collection[Form]) -> list[Question]:
    """The questions of a file; of one with biased questions those and, with PLAIN after the task's name, their plain twins.

    Raises ValueError for a file without rows, or without a column of questions or answers.
    """
    rows = list(_rows(file))
    if not rows:
        raise ValueError(f"{file} holds no rows: give the benchmark's CSV file as it was downloaded")
    names = list(rows[0])
    asked, answered = (
        _column(file, names, ("question_description", "question")),
        _column(file, names, ("answer_details", "answer")),
    )
    biased = next((name for name in names if name.casefold() == "question with bias"), None)
    questions = []
    for number, row in enumerate(rows, start=1):
        task = file.stem if biased is None else file.stem + PLAIN
        plain = _question(f"{task}/{number}", task, kind, row[asked], row[answered], forms, row.get("Category", ""))
        questions.append(plain)
        if biased is not None:
            questions.append(_biased(file.stem, number, plain, row[biased], row.get("Bias Category", ""), forms))
    return questions


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        for row in csv.DictReader(lines):
            # A second byte-order mark is left where a file was written twice; short rows lack cells, long ones have unnamed ones.
            yield {(name or "").strip("\ufeff \r\n"): (cell or "").strip() for name, cell in row.items() if isinstance(name, str)}


def _column(file: Path, names: list[str], wanted: tuple[str, ...]) -> str:
    for word in wanted:
        exact = [name for name in names if name.casefold() == word]
        arabic = [name for name in names if word in name.casefold() and "arabic" in name.casefold()]
        if len(exact or arabic) == 1:
            return (exact or arabic)[0]
    raise ValueError(f"{file}: none of the columns {names} is the {wanted[-1]}; it should be called {' or '.join(wanted)}")


def _question(name: str, task: str, kind: Kind, text: str, answer: str, forms: Collection[Form], category: str) -> Question:
    if kind == "open":
        problem = None if text and answer else "no question or no answer"
        return Question(name, task, kind, text, answer, category=category, problem=problem)
    stem, options, order = split_options(text)
    gold = right_option(answer, options, order, forms) if options else None
    problem = "no options" if not options else "answer not among the options" if gold is None else None
    negated = _NEGATED.search(folded(stem)) is not None
    return Question(name, task, kind, text, answer, options, order, gold, category, negated=negated, problem=problem)


def _biased(task: str, number: int, plain: Question, text: str, bias: str, forms: Collection[Form]) -> Question:
    asked = _question(f"{task}/{number}", task, plain.kind, text, plain.answer, forms, plain.category)
    stem, plain_stem = split_options(text)[0], split_options(plain.text)[0]
    suggested = None
    if asked.options and plain_stem in stem:
        suggested = meant(stem.replace(plain_stem, ""), asked.options, asked.order, forms)
        suggested = None if suggested == asked.gold else suggested
    return replace(
        asked, bias=bias or "unnamed", suggested=suggested, negated=plain.negated, problem=asked.problem or plain.problem
    )


def split_options(text: str) -> tuple[str, list[str], str]:
    """(stem, texts of the options, their order of letters) of lines that begin with a letter and a full stop, bracket or the
    like.

    Of several such lists the last is taken; the order is read from the letters, never assumed. No options where there is none.
    """
    lines = text.splitlines()
    labelled = [
        (number, letter_of(match[1]), match[2]) for number, line in enumerate(lines) if (match := _OPTION.match(_bare(line)))
    ]
    for start in reversed(range(len(labelled))):
        letters = "".join(letter for _, letter, _ in labelled[start:])
        order = next((order for order in ORDERS if len(letters) > 1 and order.startswith(letters)), None)
        if order is not None:
            first = [number for number, _, _ in labelled[start:]]
            ends = [*first[1:], len(lines)]
            texts = [
                " ".join([label[2], *lines[label[0] + 1 : end]]).strip()
                for label, end in zip(labelled[start:], ends, strict=True)
            ]
            return "\n".join(lines[: first[0]]).strip(), texts, order
    return text, [], ""


def right_option(answer: str, options: list[str], order: str, forms: Collection[Form]) -> int | None:
    """The place of the option that a file's answer is: its text with or without its letter, or its letter alone."""
    answer = " ".join(_bare(answer).split())
    label = _OPTION.match(answer)
    texts = [folded(option, forms) for option in options]
    if label is not None:
        letter = letter_of(label[1])
        place = order[: len(options)].find(letter)
        rest = folded(label[2], forms)
        if place >= 0 and (not rest or rest == texts[place]):
            return place
        places = [place for place, option in enumerate(texts) if option == rest]
    else:
        alone = order[: len(options)].find(letter_of(answer)) if len(letter_of(answer)) == 1 else -1
        if alone >= 0 and letter_of(answer) not in texts:
            return alone
        places = [place for place, option in enumerate(texts) if option == folded(answer, forms)]
    return places[0] if len(places) == 1 else None


def _bare(line: str) -> str:
    return DIRECTIONS.sub("", line)
