"""Questions whose contexts no training set contains: rules, patterns, facts among noise. Made from a seed, judged exactly."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from metier.engines.stats.exact import binomial_interval
from metier.method import method
from metier.models.language_model import LanguageModel

Ability: TypeAlias = Literal[
    "head_and_tail", "full_repeating", "head_slicing", "replace_lowercase", "replace_word", "counting", "key_retrieval",
    "one_fact", "two_facts",
]  # fmt: skip
ALPHABET = string.ascii_lowercase + string.ascii_uppercase + "!#%&*+"
PEOPLE, PLACES = ["Mary", "John", "Sandra", "Daniel"], ["kitchen", "garden", "office", "hallway", "bathroom", "bedroom"]
THINGS = ["apple", "ball", "book", "lamp", "cup"]


@dataclass(frozen=True)
class Question:
    """prompt: continued by the model; answer: the whole first line of a right reply; form: a regular expression for replies that can be read."""

    ability: Ability
    prompt: str
    answer: str
    form: str


@dataclass(frozen=True)
class Grade:
    """accuracy: share of exact replies, with its exact 95% interval; unparsed: share of replies without the answer's form, which are wrong."""

    ability: Ability
    num_items: int
    accuracy: float
    low: float
    high: float
    unparsed: float


@method(
    paper="FLM-101B, arXiv 2309.03852, section on IQ evaluation (task definitions partly inferred: its appendix was not at hand)",
    claim="abilities measured on contexts that cannot have been memorised",
)
def iq(
    model: LanguageModel,
    *,
    abilities: list[Ability] | None = None,
    num_items: int = 100,
    noise_lines: int = 20,
    length: int = 6,
    seed: int = 0,
) -> list[Grade]:
    """A grade an ability: exact match of the first line of a greedy reply. Chance is near 0 but for one_fact and two_facts (1 in 6).

    Pattern mining (head_and_tail, full_repeating, head_slicing) shows five examples and no instruction, rules (replace_*) four examples and
    one, counting none. 100 items give an interval of some 10 points either way.
    Settings:
        abilities: which; null for all nine
        num_items: questions of each
        noise_lines: lines among which a key or a fact is hidden; more are harder
        length: characters of random words; more are harder
        seed: of the questions
    """
    asked = [
        question for ability in abilities or list(MAKERS) for question in questions(ability, num_items, noise_lines, length, seed)
    ]
    room = max(len(question.answer) for question in asked) + 8
    replies = model.generate([question.prompt for question in asked], max_new_tokens=room, stop=["\n"])
    failed = next((reply.error for reply in replies if reply.error is not None), None)
    if failed is not None:
        raise ValueError(f"{model.name} did not answer every question: {failed}")
    return grades(asked, [reply.text for reply in replies])


def questions(ability: Ability, num_items: int, noise_lines: int = 20, length: int = 6, seed: int = 0) -> list[Question]:
    """The questions of an ability, the same for the same arguments. Raises ValueError for none, and for what cannot be hidden or cut."""
    if ability not in MAKERS:
        raise ValueError(f"ability {ability!r} is unknown: choose of {', '.join(MAKERS)}")
    if num_items < 1 or noise_lines < 0 or length < 3:
        raise ValueError(f"num_items={num_items}, noise_lines={noise_lines}, length={length}: give at least 1, 0 and 3")
    made = []
    for number in range(num_items):
        prompt, answer, form = MAKERS[ability](random.Random(f"{seed} {ability} {number}"), length, noise_lines)
        made.append(Question(ability, prompt, answer, form))
    return made


def grades(asked: Sequence[Question], replies: Sequence[str]) -> list[Grade]:
    """The grade of each ability, in order of first appearance."""
    found: dict[Ability, list[tuple[bool, bool]]] = {}
    for question, reply in zip(asked, replies, strict=True):
        line = reply.strip().partition("\n")[0].strip()
        readable = re.fullmatch(question.form, line) is not None
        found.setdefault(question.ability, []).append((readable and line == question.answer, not readable))
    result = []
    for ability, rows in found.items():
        right = sum(one for one, _ in rows)
        share = binomial_interval(right, len(rows))
        result.append(
            Grade(ability, len(rows), right / len(rows), share.low, share.high, sum(lost for _, lost in rows) / len(rows))
        )
    return result


Made: TypeAlias = tuple[str, str, str]  # prompt, answer, form


def _word(draw: random.Random, length: int, letters: str = ALPHABET) -> str:
    return "".join(draw.choice(letters) for _ in range(length))


def _shown(draw: random.Random, shots: int, length: int, rule: Callable[[str], str], letters: str = ALPHABET) -> Made:
    words = [_word(draw, length, letters) for _ in range(shots + 1)]
    examples = "".join(f"Input: {word}\nOutput: {rule(word)}\n\n" for word in words[:-1])
    return f"{examples}Input: {words[-1]}\nOutput:", rule(words[-1]), r"\S+"


def _head_and_tail(draw: random.Random, length: int, _: int) -> Made:
    head, tail = _word(draw, 3), _word(draw, 3)
    return _shown(draw, 5, length, lambda word: head + word + tail)


def _full_repeating(draw: random.Random, length: int, _: int) -> Made:
    return _shown(draw, 5, length, lambda word: word + word)


def _head_slicing(draw: random.Random, length: int, _: int) -> Made:
    size = draw.randint(1, length - 1)
    return _shown(draw, 5, length, lambda word: word[:size])


def _replace_lowercase(draw: random.Random, length: int, _: int) -> Made:
    prompt, answer, form = _shown(draw, 4, length, str.upper, string.ascii_letters)
    return f"Turn the lowercase letters into uppercase letters.\n\n{prompt}", answer, form


def _replace_word(draw: random.Random, length: int, _: int) -> Made:
    old, new, others = "", "", [_word(draw, length, string.ascii_lowercase) for _ in range(12)]
    while old in ("", *others) or new in ("", old, *others):
        old, new = (_word(draw, length, string.ascii_lowercase) for _ in range(2))
    lines = []
    for _ in range(5):
        words = draw.sample(others, 3)
        words.insert(draw.randrange(4), old)
        lines.append((" ".join(words), " ".join(new if word == old else word for word in words)))
    examples = "".join(f"Input: {before}\nOutput: {after}\n\n" for before, after in lines[:-1])
    return f"Replace the word {old} by {new}.\n\n{examples}Input: {lines[-1][0]}\nOutput:", lines[-1][1], r"\S+( \S+){3}"


def _counting(draw: random.Random, length: int, _: int) -> Made:
    things = [draw.choice(THINGS) for _ in range(2 * length)]
    kind = draw.choice(THINGS)
    sentence = ", ".join(f"a {thing}" for thing in things)
    return (
        f"On the table are {sentence}.\nHow many times is {kind} named? Write the number.\nAnswer:",
        str(things.count(kind)),
        r"\d+",
    )


def _key_retrieval(draw: random.Random, length: int, noise: int) -> Made:
    keys = {_word(draw, length, string.ascii_lowercase): _word(draw, length, string.digits) for _ in range(5)}
    lines = [f"The value of {key} is {value}." for key, value in keys.items()]
    lines += [" ".join(_word(draw, length, string.ascii_lowercase) for _ in range(4)) + "." for _ in range(noise)]
    draw.shuffle(lines)
    key = draw.choice(list(keys))
    return "\n".join([*lines, f"The value of {key} is"]), keys[key] + ".", r"\d+\."


def _one_fact(draw: random.Random, _: int, noise: int) -> Made:
    where: dict[str, str] = {}
    lines = []
    for _number in range(2 + noise):
        person, place = draw.choice(PEOPLE), draw.choice(PLACES)
        where[person] = place
        lines.append(f"{person} went to the {place}.")
    person = draw.choice(list(where))
    return "\n".join([*lines, f"Where is {person}? Answer in one word.\nAnswer:"]), where[person], "|".join(PLACES)


def _two_facts(draw: random.Random, _: int, noise: int) -> Made:
    thing, holder = draw.choice(THINGS), draw.choice(PEOPLE)
    lines, where = [f"{holder} took the {thing}."], ""
    for number in range(2 + noise):
        person = holder if number == 0 else draw.choice(PEOPLE)
        place = draw.choice(PLACES)
        where = place if person == holder else where
        lines.append(f"{person} went to the {place}.")
    return "\n".join([*lines, f"Where is the {thing}? Answer in one word.\nAnswer:"]), where, "|".join(PLACES)


MAKERS: dict[Ability, Callable[[random.Random, int, int], Made]] = {
    "head_and_tail": _head_and_tail,
    "full_repeating": _full_repeating,
    "head_slicing": _head_slicing,
    "replace_lowercase": _replace_lowercase,
    "replace_word": _replace_word,
    "counting": _counting,
    "key_retrieval": _key_retrieval,
    "one_fact": _one_fact,
    "two_facts": _two_facts,
}
