"""Exercises that a language model writes about a passage: what it is asked for, how its answer is read, and what of it is
believed."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from metier.engines.data.exercises import Exercise
from metier.engines.data.words import words
from metier.models.language_model import Prompt

TASKS: dict[str, tuple[str, ...]] = {
    "summarise": ("Ask for a summary of the text in one or two sentences.", "Ask what the main point of the text is."),
    "explain": ("Ask why something in the text is so.", "Ask for an explanation of a process that the text describes."),
    "infer": ("Ask what follows from two statements of the text taken together.", "Ask for a conclusion that the text supports."),
    "ask": ("Ask for a fact that the text states.", "Ask a question whose answer is a number, name or term of the text."),
    "define": ("Ask what a technical term of the text means.", "Ask for the definition of a concept that the text introduces."),
    "compare": ("Ask how two things in the text differ.", "Ask what two things in the text have in common."),
    "rephrase": ("Ask to say a sentence of the text in plain words.", "Ask for another wording of a statement of the text."),
}
_FORM = (
    'Answer with a JSON list and nothing else: [{{"question": "...", "answer": "..."}}, ...], {count} entries, in the order of the '
    "tasks. "
    "Each question can be understood with the text at hand; each answer is complete and rests on the text alone."
)
_LINES = re.compile(
    r"(?:Question|Q)\s*\d*\s*[:.]\s*(.+?)\s*\n+\s*(?:Answer|A)\s*\d*\s*[:.]\s*(.+?)\s*(?=\n+\s*(?:Question|Q)\s*\d*\s*[:.]|\Z)",
    re.DOTALL,
)
_LONG_WORD = 4
_STEM = 5


def request(passage: str, domain: str, num_tasks: int, generator: random.Random, *, chat: bool) -> Prompt:
    """What the writer is asked: `num_tasks` different kinds of exercise about the passage. As messages, or (not `chat`) as a text
    that a base model continues after its first "Question:"."""
    if not chat:
        return f"{passage}\n\nQuestions about this {domain} text, each with its answer.\n\nQuestion:"
    kinds = generator.sample(sorted(TASKS), min(num_tasks, len(TASKS)))
    tasks = "\n".join(f"{place}. {generator.choice(TASKS[kind])}" for place, kind in enumerate(kinds, 1))
    content = f"Write exercises about a {domain} text.\n\nTEXT\n{passage}\n\nTASKS\n{tasks}\n\n{_FORM.format(count=len(kinds))}"
    return [{"role": "user", "content": content}]


def recheck(passage: str, question: str, *, chat: bool) -> Prompt:
    """Asks a question anew, without its answer."""
    asked = f"{passage}\n\nAnswer from the text alone, as shortly as possible.\nQuestion: {question}\nAnswer:"
    return [{"role": "user", "content": asked}] if chat else asked


def pairs_in(answer: str) -> list[tuple[str, str]]:
    """The questions and answers in what a model wrote: a JSON list (whole, or the objects in it that can be read), or lines that
    begin with Question: and Answer:, the first "Question:" perhaps left out. Empty where there is none."""
    pairs = [_pair(entry) for entry in _objects(answer)]
    found = [pair for pair in pairs if pair is not None]
    if not found:
        start = answer if re.match(r"\s*(?:Question|Q)\s*\d*\s*[:.]", answer) else f"Question: {answer}"
        found = [(question, told) for question, told in _LINES.findall(start)]
    return [(question.strip(), told.strip()) for question, told in found]


def believed(pairs: Sequence[tuple[str, str]], passage: str, min_support: float) -> tuple[list[Exercise], Counter[str]]:
    """The pairs that pass as exercises, and how many fail, by reason: "no pair" (nothing to read), "empty", "same" (the answer
    repeats the question), "twice" (a question asked before), "unsupported" (see `support`)."""
    kept: list[Exercise] = []
    failed: Counter[str] = Counter() if pairs else Counter({"no pair": 1})
    for question, answer in pairs:
        normal = " ".join(words(question.lower()))
        if not normal or not words(answer):
            failed["empty"] += 1
        elif " ".join(words(answer.lower())) == normal:
            failed["same"] += 1
        elif normal in {" ".join(words(exercise.first.lower())) for exercise in kept}:
            failed["twice"] += 1
        elif support(answer, passage) < min_support:
            failed["unsupported"] += 1
        else:
            kept.append(Exercise("written", "written", question, answer))
    return kept, failed


def support(answer: str, passage: str) -> float:
    """How far a passage bears out an answer, 0 to 1: 1 for a part of it; else the share of the answer's longer words (four
    letters and more, compared by their first five) that it holds. 0 where a number of the answer is not in the passage, 1 for
    "yes" and "no"."""
    told, known = words(answer.lower()), words(passage.lower())
    if " ".join(told) in ("yes", "no") or f" {' '.join(told)} " in f" {' '.join(known)} ":
        return 1.0
    if not {word for word in told if any(map(str.isdigit, word))} <= set(known):
        return 0.0
    stems = {word[:_STEM] for word in known}
    content = [word for word in told if len(word) >= _LONG_WORD]
    return sum(word[:_STEM] in stems for word in content) / len(content) if content else 0.0


def agreement(one: str, other: str) -> float:
    """F1 of two answers' words, 0 to 1."""
    first, second = Counter(words(one.lower())), Counter(words(other.lower()))
    shared = (first & second).total()
    return 2 * shared / (first.total() + second.total()) if shared else 0.0


def _objects(answer: str) -> list[Any]:
    whole = answer[answer.find("[") : answer.rfind("]") + 1]
    try:
        found = json.loads(whole)
    except (ValueError, RecursionError):
        found = []
        for part in re.findall(r"\{[^{}]*\}", answer):
            try:
                found.append(json.loads(part))
            except ValueError:  # cut short, or not JSON: the others may be whole
                continue
    return found if isinstance(found, list) else []


def _pair(entry: Any) -> tuple[str, str] | None:
    if isinstance(entry, Mapping) and isinstance(entry.get("question"), str) and isinstance(entry.get("answer"), str):
        return entry["question"], entry["answer"]
    return None
