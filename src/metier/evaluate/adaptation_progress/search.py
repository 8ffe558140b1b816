"""A model that answers questions by a prompt, and its best prompt, found on practice questions only."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metier.evaluate.adaptation_progress.prompts import LETTERS, Prompt, Row, Template, parse_choice
from metier.evaluate.adaptation_progress.results import Decoding
from metier.models.language_model import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_NEW_TOKENS = 64


@dataclass(frozen=True)
class Asker:
    """A model with the chat template that its prompts go through; None for none. `unknown`: marks left out of a foreign one."""

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
        """The likeliest of the letters: the restricted softmax's argmax, for they follow the same context in equally many
        tokens."""
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
                    f"question {row['id']!r}: {self.model.name} writes the letters in {lengths} tokens, so they cannot "
                    "be compared; give fewer options"
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
    """The first of the most accurate candidates. `accuracies`: of all, in order; `insensitive`: whether all were answered alike."""

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
