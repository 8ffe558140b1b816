"""Prompts for questions with options, drawn from a small grammar, and reading what was answered.

The grammar's parts and their numbers follow the authors' code (arXiv 2411.04118, after Sclar et al. 2023); the wording is ours.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]  # of Items, kind choice

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

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
    """How a question is written: headers, their case, what stands between header and text, blocks and options, and around letters."""

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
