"""Documents with thoughts teach answers of several steps that as many tokens of documents alone do not teach.

A document is a sum modulo five, half of them with the answer and half with a question mark, as exercises are found in the wild; a
program in the writer's place gives the running totals. Three arms train the same Llama of two blocks and 0.2 million random
parameters on equally many tokens: documents; documents with thoughts (through the method, with its own
checks, but for languages, of which digits have none); documents with the thoughts of
others, so that the tokens are the same and their sense is not.
Exact match on problems never trained on: the first arm answers directly (the likeliest of five digits), the others write a thought
and the last digit of it counts. The baseline of each seed is the better of the first and the third arm. Sizes and learning rate
were chosen in trials with other seeds, the same for all arms.

Contradicted if thoughts do worse by an interval that excludes 0; not shown if the interval holds 0. Whether direct answers get better, too,
is told in the notes: the thought follows the answer, so they need not. That thoughts of a real model teach a real domain is not
tested here.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from metier.artifacts import Corpus
from metier.core.evidence import Evidence, paired
from metier.curate.thinking_augmented import thinking_augmented
from metier.curate.thinking_augmented.prompts import OPENING, SEPARATOR
from metier.engines.generate.open import open_language_model
from metier.engines.generate.verify import Rules
from metier.models.language_model import Completion, LanguageModel, Prompt
from metier.models.tiny import BOS, make_tiny
from metier.pretrain.continued import continued

RULES = Rules(length=None, min_kept=0.0, min_related=0.0, copy_limit=0.9, language=False)
BASE = 5
DIGITS = "01234"


def prove(quick: bool) -> Evidence:
    """Three seeds: sums of five digits; when quick, of three, with too few tokens to learn anything, and without the third arm."""
    settings = (
        {"terms": 3, "tokens": 15_000, "questions": 100, "others": False}
        if quick
        else {"terms": 5, "tokens": 400_000, "questions": 200, "others": True}
    )
    evidence = paired(
        with_thoughts,
        without,
        claim="documents with thoughts teach answers of several steps that as many tokens of documents alone do not teach",
        metric="exact match on unseen problems",
        better="higher",
        seeds=range(3),
        settings=settings,
    )
    arms = [accuracies(seed, **settings) for seed in evidence.seeds]
    means = {name: round(fmean(getattr(one, name) for one in arms), 3) for name in Accuracies._fields}
    return replace(evidence, notes=f"means over seeds: {means}; chance is {1 / BASE}")


def with_thoughts(seed: int, terms: int, tokens: int, questions: int, others: bool) -> float:
    return accuracies(seed, terms, tokens, questions, others).thoughts


def without(seed: int, terms: int, tokens: int, questions: int, others: bool) -> float:
    found = accuracies(seed, terms, tokens, questions, others)
    return max(found.documents, found.thoughts_of_others) if others else found.documents


class Accuracies(NamedTuple):
    """Exact match by arm; `direct_with_thoughts`: the second arm asked for the answer at once."""

    documents: float
    thoughts: float
    thoughts_of_others: float
    direct_with_thoughts: float


@cache
def accuracies(seed: int, terms: int, tokens: int, questions: int, others: bool) -> Accuracies:
    generator = random.Random(seed)
    unseen = {tuple(generator.choices(range(BASE), k=terms)) for _ in range(questions)}
    shortest = 2 * terms + 3  # tokens of a document: no arm reads one twice
    problems = [digits for digits in _problems(generator, terms, tokens // shortest) if digits not in unseen]
    rows = [_document(number, digits, generator.random() < 0.5) for number, digits in enumerate(problems)]
    asked = sorted(unseen)
    plain = _trained(rows, tokens, seed)
    some = rows[: tokens // (4 * terms)]
    thinking = _trained(_augmented(some, Steps()), tokens, seed)
    confused = _thought(_trained(_augmented(some, OthersSteps(seed)), tokens, seed), asked) if others else math.nan
    return Accuracies(_direct(plain, asked), _thought(thinking, asked), confused, _direct(thinking, asked))


def _problems(generator: random.Random, terms: int, count: int) -> list[tuple[int, ...]]:
    return [tuple(generator.choices(range(BASE), k=terms)) for _ in range(count)]


def _question(digits: Sequence[int]) -> str:
    return "+".join(map(str, digits)) + "="


def _document(number: int, digits: Sequence[int], answered: bool) -> dict[str, Any]:
    return {"id": str(number), "text": f"{_question(digits)}{sum(digits) % BASE if answered else '?'}", "source": "sums"}


class Steps:
    """The writer: a program that adds one after the other."""

    name = "steps"

    def generate(self, prompts: Sequence[Prompt], **_sampling: Any) -> list[Completion]:
        return [Completion(f"{OPENING}{steps(_digits(prompt))}", 1) for prompt in prompts]


class OthersSteps(Steps):
    """Writes a good thought about another problem of the same length."""

    def __init__(self, seed: int) -> None:
        self._generator = random.Random(f"{seed} others")

    def generate(self, prompts: Sequence[Prompt], **_sampling: Any) -> list[Completion]:
        others = [self._generator.choices(range(BASE), k=len(_digits(prompt))) for prompt in prompts]
        return [Completion(f"{OPENING}{steps(digits)}", 1) for digits in others]


def steps(digits: Sequence[int]) -> str:
    """The running totals modulo `BASE`: `3 2 1` for 3, 4, 4."""
    totals = [sum(digits[: place + 1]) % BASE for place in range(len(digits))]
    return " ".join(map(str, totals))


def _digits(prompt: Prompt) -> list[int]:
    assert not isinstance(prompt, str)
    return [int(digit) for digit in prompt[0]["content"].splitlines()[1].partition("=")[0].split("+")]


def _augmented(rows: list[dict[str, Any]], writer: Steps) -> list[dict[str, Any]]:
    found = thinking_augmented(
        Corpus.from_rows(rows), writer, min_doc_tokens=1, keep_tags=False, check_sums=False, rules=RULES  # type: ignore[arg-type]
    )  # fmt: skip
    # The few thoughts that look like stammering, such as 0 0 0 0 0 0 0, fail; their documents stay as they were.
    return [{name: row[name] for name in ("id", "text", "source")} for row in found.rows()]


def _trained(rows: list[dict[str, Any]], tokens: int, seed: int) -> LanguageModel:
    with tempfile.TemporaryDirectory() as folder:
        model = continued(
            make_tiny(Path(folder) / "start", seed=seed, hidden_size=64, layers=2, std=0.1),
            Corpus.from_rows(rows),
            tokens=tokens,
            learning_rate=6e-3,
            sequence_length=128,
            batch_tokens=512,
            precision="float32",
            checkpoint_seconds=1e6,
            seed=seed,
            workdir=Path(folder) / "work",
        )
        asked = open_language_model(model, dtype="float32", cache=False)
        asked.score([("", "0")])  # loads the weights before the folder goes
    return asked


def _direct(model: LanguageModel, problems: Sequence[Sequence[int]]) -> float:
    scores = iter(model.score([(BOS + _question(digits), digit) for digits in problems for digit in DIGITS]))
    right = 0
    for digits in problems:
        logprobs = [next(scores).logprob for _ in DIGITS]
        right += logprobs.index(max(logprobs)) == sum(digits) % BASE
    return right / len(problems)


def _thought(model: LanguageModel, problems: Sequence[Sequence[int]]) -> float:
    prompts = [f"{BOS}{_question(digits)}?{SEPARATOR}" for digits in problems]
    answers = model.generate(prompts, max_new_tokens=3 * len(problems[0]))
    return fmean(answer.text.strip()[-1:] == str(sum(digits) % BASE) for answer, digits in zip(answers, problems, strict=True))
