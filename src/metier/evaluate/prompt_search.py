"""Prompts for questions with options, drawn from a small grammar, and the best of them for a model: found on practice questions only.

The grammar's parts and their numbers follow the authors' code (arXiv 2411.04118, after Sclar et al. 2023); the wording is ours.
"""

from __future__ import annotations

import operator
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from metier.models.language_model import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]
Decoding = Literal["greedy", "constrained"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MAX_NEW_TOKENS = 64

CASES: dict[str, Callable[[str], str]] = {
    "as is": str,
    "title": str.title,
    "upper": str.upper,
    "lower": str.lower,
    "hash": "### {}".format,
    "bold": "**{}**".format,
}
SEPARATORS = (": ", ":", " : ", ":: ", ":\n", " = ", "= ", " - ", "- ", " -- ", "\n", "\n\n", " ")
BLOCK_SPACES = ("\n", "\n\n", " ", " || ")
OPTION_SPACES = ("\n", "\n\n", " ", "  ", ", ", "; ", " | ", " || ")
QUESTION_HEADERS = ("Question", "")
OPTION_HEADERS = ("", "Options", "Choices")
ANSWER_HEADERS = ("Answer", "Correct answer")
WRAPPERS = ("({})", "{}.", "{})", "{} )", "[{}]", "<{}>")


@dataclass(frozen=True)
class Template:
    """How a question is written: headers, their case, what stands between header and text, blocks, options, and around letters."""

    case: str = "as is"
    separator: str = ": "
    block_space: str = "\n"
    option_space: str = "\n"
    question_header: str = "Question"
    option_header: str = ""
    answer_header: str = "Answer"
    wrapper: str = "{}."

    def render(self, row: Row, answer: str = "") -> str:
        """The question of an Items row, with the letter of the answer or up to where it belongs."""
        options = (f"{self.wrapper.format(letter)} {option}" for letter, option in zip(LETTERS, row["options"], strict=False))
        blocks = [
            self._headed(self.question_header, row["prompt"]),
            self._headed(self.option_header, self.option_space.join(options)),
            self._headed(self.answer_header, answer),
        ]
        return self.block_space.join(blocks)

    def stop(self) -> list[str]:
        """What begins another question, so that a model that runs on is cut."""
        header = self.question_header or self.option_header or self.answer_header
        return [f"\n{self._headed(header, '').rstrip()}"]

    def _headed(self, header: str, text: str) -> str:
        return f"{CASES[self.case](header)}{self.separator}{text}" if header else text


@dataclass(frozen=True)
class Prompt:
    """A template with the examples shown before each question."""

    template: Template
    shots: tuple[Row, ...] = ()

    def text(self, row: Row) -> str:
        shown = [self.template.render(shot, LETTERS[shot["gold"]]) for shot in self.shots]
        return "\n\n".join([*shown, self.template.render(row)])


@dataclass(frozen=True)
class Asker:
    """A model with the chat template that its prompts go through; None for none. `unknown`: marks taken out of a foreign template."""

    model: LanguageModel
    chat: PreTrainedTokenizerBase | None = None
    unknown: tuple[str, ...] = ()

    def context(self, text: str) -> str:
        """The text as the model reads it."""
        if self.chat is None:
            return text
        messages = [{"role": "user", "content": text.rstrip()}]
        rendered = str(self.chat.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
        for mark in self.unknown:
            rendered = rendered.replace(mark, "")
        return rendered

    def answers(self, questions: Sequence[tuple[Prompt, Row]], decoding: Decoding) -> list[int | None]:
        """The option chosen for each question; None where the words of a greedy answer name none."""
        return self._constrained(questions) if decoding == "constrained" else self._greedy(questions)

    def _constrained(self, questions: Sequence[tuple[Prompt, Row]]) -> list[int | None]:
        """The likeliest of the letters: the restricted softmax's argmax, for they follow the same context in equally many tokens."""
        contexts = [self.context(prompt.text(row)) for prompt, row in questions]
        requests = [
            (context, LETTERS[place])
            for context, (_, row) in zip(contexts, questions, strict=True)
            for place in range(len(row["options"]))
        ]
        scores = iter(self.model.score(requests))
        chosen: list[int | None] = []
        for _, row in questions:
            found = [next(scores) for _ in row["options"]]
            if len({score.num_tokens for score in found}) > 1:
                lengths = {letter: score.num_tokens for letter, score in zip(LETTERS, found, strict=False)}
                raise ValueError(
                    f"question {row['id']!r}: {self.model.name} writes the letters in {lengths} tokens, so they cannot be compared; "
                    "give fewer options"
                )
            chosen.append(max(range(len(found)), key=lambda place: found[place].logprob))
        return chosen

    def _greedy(self, questions: Sequence[tuple[Prompt, Row]]) -> list[int | None]:
        chosen: list[int | None] = [None] * len(questions)
        by_template: dict[Template, list[int]] = {}
        for place, (prompt, _) in enumerate(questions):
            by_template.setdefault(prompt.template, []).append(place)
        for template, places in by_template.items():
            contexts = [self.context(questions[place][0].text(questions[place][1])).rstrip(" ") for place in places]
            found = self.model.generate(contexts, max_new_tokens=MAX_NEW_TOKENS, stop=template.stop())
            for place, completion in zip(places, found, strict=True):
                if completion.error is not None:
                    raise RuntimeError(f"question {questions[place][1]['id']!r}: {self.model.name} failed: {completion.error}")
                chosen[place] = parse_choice(completion.text, questions[place][1]["options"])
        return chosen


@dataclass(frozen=True)
class Found:
    """The first of the most accurate candidates. `accuracies`: of all, in order; `insensitive`: whether all got the same answers."""

    best: Prompt
    number: int
    accuracies: list[float]
    insensitive: bool


def search(asker: Asker, candidates: Sequence[Prompt], validation: Sequence[Row], decoding: Decoding) -> Found:
    """What a model makes of every candidate prompt on the same questions."""
    answers = asker.answers([(prompt, row) for prompt in candidates for row in validation], decoding)
    size = len(validation)
    by_candidate = [answers[start : start + size] for start in range(0, len(answers), size)]
    golds = [row["gold"] for row in validation]
    accuracies = [sum(map(operator.eq, found, golds)) / size for found in by_candidate]
    number = accuracies.index(max(accuracies))
    insensitive = len(candidates) > 1 and all(found == by_candidate[0] for found in by_candidate)
    return Found(candidates[number], number, accuracies, insensitive)


def sample_templates(count: int, seed: int) -> list[Template]:
    """The default template and `count` others drawn from the grammar; where blocks share a line, so does everything in them."""
    generator = random.Random(seed)
    templates = [Template()]
    while len(templates) < count + 1:
        drawn = Template(
            generator.choice(list(CASES)),
            *map(generator.choice, (SEPARATORS, BLOCK_SPACES, OPTION_SPACES)),
            *map(generator.choice, (QUESTION_HEADERS, OPTION_HEADERS, ANSWER_HEADERS, WRAPPERS)),
        )
        one_line = "\n" not in drawn.block_space
        if drawn not in templates and not (one_line and "\n" in drawn.separator + drawn.option_space):
            templates.append(drawn)
    return templates


def candidate_prompts(
    templates: Sequence[Template], train: Sequence[Row], num_shots: int, num_shot_seeds: int, seed: int
) -> list[Prompt]:
    """Every template with every draw of examples, or without any where num_shots is 0."""
    draws = [
        tuple(random.Random(f"{seed} {number}").sample(list(train), num_shots))
        for number in range(num_shot_seeds if num_shots else 1)
    ]
    return [Prompt(template, shots) for template in templates for shots in draws]


def parse_choice(text: str, options: Sequence[str]) -> int | None:
    """The option that a written answer names: the first bare letter, else the one option whose text stands in it, else None.

    The authors' rule, but for the texts: theirs looks for the right option's only, which counts no paraphrase of a wrong one.
    """
    letters = LETTERS[: len(options)]
    found = re.search(rf"(?:^|(?<=[\s(\[<]))([{letters}])(?=$|[\s.)\]>])", text)
    if found is not None:
        return letters.index(found[1])
    words = _bare(text)
    named = [place for place, option in enumerate(options) if _bare(option).strip() and _bare(option) in words]
    return named[0] if len(named) == 1 else None


def _bare(text: str) -> str:
    """Lower-case words between single spaces, with one on either side, so that only whole phrases are found."""
    words = re.findall(r"\w+", text.casefold())
    return f" {' '.join(words)} "
