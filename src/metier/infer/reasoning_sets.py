"""The twelve reasoning sets of Zero-shot-CoT (arXiv 2205.11916): how each is asked, and questions of the two made ones."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from metier.artifacts import Items
from metier.engines.answers.extract import Form


@dataclass(frozen=True)
class ReasoningSet:
    """What the answers of a set look like, and the sentence that asks for one: "the answer (arabic numerals) is"."""

    form: Form
    sentence: str


def _letters(last: str) -> ReasoningSet:
    letters = "ABCDEF"[: "ABCDEF".index(last) + 1]
    return ReasoningSet(Form("letter", letters), f"among A through {last}, the answer is")


_NUMBER = ReasoningSet(Form("number"), "the answer (arabic numerals) is")
_YES_NO = ReasoningSet(Form("yes/no"), "the answer (Yes or No) is")

SETS: dict[str, ReasoningSet] = {
    **dict.fromkeys(("gsm8k", "addsub", "multiarith", "singleeq", "svamp"), _NUMBER),
    **dict.fromkeys(("aqua", "commonsensqa"), _letters("E")),
    "bigbench_date": _letters("F"),
    "object_tracking": _letters("C"),
    **dict.fromkeys(("strategyqa", "coin_flip"), _YES_NO),
    "last_letters": ReasoningSet(Form("string"), "the answer is"),
}


def reasoning_set(name: str) -> ReasoningSet:
    """The set of a name. Raises ValueError for another than the twelve, with the nearest and the list."""
    if name not in SETS:
        near = difflib.get_close_matches(name.lower(), SETS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name!r} is none of the twelve reasoning sets{hint} They are {', '.join(SETS)}".replace("?,", "?"))
    return SETS[name]


def choice_question(name: str, question: str, choices: list[str], answer: int, *, seed: int = 1) -> tuple[str, str]:
    """The question with its choices as the set puts them, and the letter of the right one (`answer` is its index).

    bigbench_date: the choices in an order drawn from the seed and the question (in the set's file the right one always stands
    first).
    Raises ValueError where the choices are more or fewer than the letters allow.
    """
    letters = reasoning_set(name).form.letters
    if not 2 <= len(choices) <= len(letters) or not 0 <= answer < len(choices):
        raise ValueError(
            f"{name}: {len(choices)} choices with number {answer} right; it has the letters {letters}: {question[:80]!r}"
        )
    order = list(range(len(choices)))
    if name == "bigbench_date":
        random.Random(f"{seed} {question}").shuffle(order)
    ask = "\nWhich choice is true ? Answer Choices:" if name == "object_tracking" else " Answer Choices:"
    listed = "".join(f" ({letter}) {choices[place]}" for letter, place in zip(letters, order, strict=False))
    return f"{question.strip()}{ask}{listed}", letters[order.index(answer)]


def number_answer(reference: object) -> str:
    """A reference number as the authors write it: what follows the last `#### ` of a worked answer, and 39.0 as 39."""
    text = str(reference).rpartition("#### ")[2].strip()
    return text.removesuffix(".0")


def reasoning_items(name: str, rows: Iterable[Mapping[str, Any]], *, seed: int = 1) -> Items:
    """Items of one of the twelve sets, from rows with question and answer, and choices where it has letters (answer: an index).

    Their ids are `name-0000` on, their task is the set's name, in the order of the rows. Raises ValueError for rows that hold no
    question.
    """
    kind = reasoning_set(name).form.kind
    pairs = []
    for number, row in enumerate(rows):
        question = str(row.get("question") or "").strip()
        if not question or row.get("answer") is None:
            raise ValueError(f"{name}: row {number} has no question or no answer: {dict(row)!r:.200}")
        if kind == "letter":
            pairs.append(choice_question(name, question, list(row["choices"]), int(row["answer"]), seed=seed))
        else:
            pairs.append((question, number_answer(row["answer"]) if kind == "number" else str(row["answer"])))
    return _items(name, pairs)


def coin_flip_items(*, num_items: int = 500, people: int = 4, seed: int = 1) -> Items:
    """Questions whether a coin that is heads up still is after `people` persons flipped it or not, each by a fair draw."""

    def make(generator: random.Random) -> tuple[str, str]:
        flips = [generator.random() < 0.5 for _ in range(people)]
        told = "".join(
            f" {name} {'flips' if flip else 'does not flip'} the coin."
            for name, flip in zip(generator.sample(NAMES, people), flips, strict=True)
        )
        question = f'A coin is heads up.{told} Is the coin still heads up? Note that "flip" here means "reverse".'
        return question, "no" if sum(flips) % 2 else "yes"

    return _made("coin_flip", make, num_items, people, seed)


def last_letters_items(*, num_items: int = 500, words: int = 4, seed: int = 1) -> Items:
    """Questions for the last letters of `words` names, put together."""

    def make(generator: random.Random) -> tuple[str, str]:
        names = generator.sample(NAMES, words)
        question = f'Take the last letters of each words in "{" ".join(names)}" and concatenate them.'
        return question, "".join(name[-1] for name in names)

    return _made("last_letters", make, num_items, words, seed)


def _made(name: str, make: Callable[[random.Random], tuple[str, str]], num_items: int, names: int, seed: int) -> Items:
    """Different questions, drawn until there are as many as asked for."""
    if not 1 <= names <= len(NAMES):
        raise ValueError(f"{name}: {names} names a question; there are {len(NAMES)}, so give 1 to that many")
    generator, found = random.Random(f"{name} {seed}"), dict[str, str]()
    for _ in range(20 * num_items + 100):
        if len(found) == num_items:
            break
        question, answer = make(generator)
        found[question] = answer
    if len(found) < num_items or not found:
        raise ValueError(
            f"{name}: num_items={num_items}, but {names} names make only about {len(found)} questions: give more names"
        )
    return _items(name, list(found.items()))


def _items(name: str, pairs: list[tuple[str, str]]) -> Items:
    common = {"task": name, "role": "general", "kind": "generate", "options": [], "gold": -1, "chat": False, "source": ""}
    width = max(4, len(str(len(pairs))))
    rows = [
        {"id": f"{name}-{number:0{width}}", "prompt": question, "answer": answer} | common
        for number, (question, answer) in enumerate(pairs)
    ]
    return Items.from_rows(rows)


# The authors took the 2000 most frequent first names, each once; these are fewer, so names come again, in other questions.
NAMES = (
    "Ada Adrian Aisha Alan Albert Alice Amara Amy Andre Angela Anna Anton Arthur Aurora Ava Beatrice Ben Bianca Boris "
    "Brenda Brian Bruno Carla Carlos Caroline Celia Charles Chloe Clara Colin Daisy Daniel David Deborah Diana Diego "
    "Donald Dora Edgar Edith Elena Eli Elsa Emil Emma Eric Esther Eva Fabian Fatima Felix Fiona Frank Frida George Gina "
    "Grace Greta Guy Hannah Harold Hassan Hector Helen Henry Hugo Ida Igor Ines Ingrid Irene Isaac Ivan Ivy Jack Jacob "
    "Jane Jasmine Joel John Jonas Julia Karen Karl Kate Keith Kim Kurt Lara Laura Lena Leo Lily Linda Louis Lucy Luke "
    "Magnus Marco Maria Mark Martha Max Maya Mia Miriam Mohamed Monica Nadia Naomi Nathan Neil Nicholas Nina Noah Nora "
    "Olaf Olga Oliver Oscar Otto Pablo Patrick Paula Peter Philip Priya Quentin Rachel Ralph Rebecca Rita Robert Rosa "
    "Roy Ruth Samuel Sandra Sarah Simon Sofia Stella Steven Susan Sven Tara Thea Theo Thomas Tim Tom Ulla Ursula Vera "
    "Victor Viola Walter Wanda Wendy Will Xavier Yara Yusuf Zachary Zoe"
).split()
