"""Refiners asked, many texts at once: what they wrote, read as programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metier.curate.prox.program import Drop, Keep, Level, Program, merged, parse
from metier.curate.prox.prompts import NOISE, chunk_prompt, document_prompt, keeps, noise_prompt, quality_prompts, score_in
from metier.models.language_model import Completion, LanguageModel, Prompt

Asking = Literal["plain", "chat", "instructed"]

_DECISION_TOKENS = 16
_REASONS_TOKENS = 256


@dataclass(frozen=True)
class Written:
    """program: as read; said: the model's own words; num_tokens: that they took; error: why there is no answer, None for one."""

    program: Program
    said: str
    num_tokens: int = 0
    error: str | None = None


def storable(text: str) -> str:
    """The text without what no table can hold: lone surrogates and NULs become question marks."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def ask_documents(model: LanguageModel, texts: Sequence[str], asking: Asking, drop_above: float | None) -> list[Written]:
    """A decision for each text. drop_above: None has the model write it; a number drops where P(drop) of the two programs is above it.

    Raises ValueError where a decision is to be scored in a chat, which has no text to continue.
    """
    if drop_above is not None and asking != "plain":
        raise ValueError(
            f"drop_above={drop_above} compares continuations of a plain prompt, and asking={asking!r} asks in a chat"
        )
    if asking == "instructed":
        return _rated(model, texts)
    prompts: list[Prompt] = [document_prompt(text, asking) for text in texts]
    if drop_above is None:
        return ask(model, prompts, "document", _DECISION_TOKENS)
    requests = [(str(prompt), program) for prompt in prompts for program in ("drop_doc()", "keep_doc()")]
    logprobs = [score.logprob for score in model.score(requests)]
    found = []
    for drop, keep in zip(logprobs[::2], logprobs[1::2], strict=True):
        p = 1 / (1 + math.exp(min(keep - drop, 700.0)))
        said = f"{'drop_doc' if p > drop_above else 'keep_doc'}()  # P(drop) {p:.4f}"
        found.append(Written(parse(said, "document"), said))
    return found


def ask_chunks(
    model: LanguageModel, shown: Sequence[tuple[Sequence[str], int]], asking: Asking, max_new_tokens: int
) -> list[Written]:
    """A program for each (lines, number of the first): one answer, or, from an instructed model, one for each kind of noise, merged."""
    if asking != "instructed":
        return ask(model, [chunk_prompt(lines, start, asking) for lines, start in shown], "chunk", max_new_tokens)
    prompts: list[Prompt] = [noise_prompt(lines, start, kind) for lines, start in shown for kind in NOISE]
    answers = ask(model, prompts, "chunk", max_new_tokens)
    return [_together(answers[place : place + len(NOISE)]) for place in range(0, len(answers), len(NOISE))]


def ask(model: LanguageModel, prompts: Sequence[Prompt], level: Level, max_new_tokens: int) -> list[Written]:
    """One greedy answer to each prompt, read as a program."""
    answers = model.generate(prompts, max_new_tokens=max_new_tokens)
    return [Written(parse(answer.text, level), answer.text, answer.num_tokens, answer.error) for answer in answers]


def _together(answers: Sequence[Written]) -> Written:
    return Written(
        merged([answer.program for answer in answers]),
        "\n".join(answer.said for answer in answers),
        sum(answer.num_tokens for answer in answers),
        next((answer.error for answer in answers if answer.error is not None), None),
    )


def _rated(model: LanguageModel, texts: Sequence[str]) -> list[Written]:
    answers = model.generate([prompt for text in texts for prompt in quality_prompts(text)], max_new_tokens=_REASONS_TOKENS)
    return [_decided(*pair) for pair in zip(answers[::2], answers[1::2], strict=True)]


def _decided(content: Completion, form: Completion) -> Written:
    """The decision of two scores; an empty program where one can't be read."""
    scores = score_in(content.text), score_in(form.text)
    error, tokens = content.error if content.error is not None else form.error, content.num_tokens + form.num_tokens
    if scores[0] is None or scores[1] is None or error is not None:
        return Written(Program(), f"# scores not read: {content.text[-60:]!r}, {form.text[-60:]!r}", tokens, error)
    keep = keeps(scores[0], scores[1])
    said = f"{'keep' if keep else 'drop'}_doc()  # content {scores[0]}, form {scores[1]}"
    return Written(Program((Keep() if keep else Drop(),)), said, tokens)
