"""The answers behind an audit: both models on the same questions, each by its best prompt, the base by the candidate's too."""

from __future__ import annotations

import gc
import random
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from metier.artifacts import Model
from metier.engines.generate.open import open_language_model
from metier.evaluate.adaptation_progress.prompts import Prompt, Row, candidate_prompts, sample_templates
from metier.evaluate.adaptation_progress.results import DECODINGS, Decoding
from metier.evaluate.adaptation_progress.search import MAX_NEW_TOKENS, Asker, Found, search
from metier.models.precision import Precision
from metier.progress import task

LEAST_VALIDATION = 10


@dataclass(frozen=True)
class Plan:
    """One task: the questions of its test, those a prompt is chosen on, and the prompts to choose from."""

    task: str
    rows: list[Row]
    validation: list[Row]
    candidates: list[Prompt]


@dataclass(frozen=True)
class Asked:
    """One model's answers to one task's test by one prompt."""

    answers: list[int | None]
    prompt: int

    def right(self, rows: Sequence[Row]) -> np.ndarray:
        return np.array([float(answer == row["gold"]) for answer, row in zip(self.answers, rows, strict=True)])

    @property
    def unparsed(self) -> float:
        return sum(answer is None for answer in self.answers) / len(self.answers)


Key = tuple[str, Decoding, Literal["candidate", "own", "copied"]]


def plan_task(
    name: str,
    rows: list[Row],
    practice: list[Row],
    num_shots: int,
    num_templates: int,
    num_shot_seeds: int,
    max_validation: int,
    seed: int,
) -> Plan:
    """Practice questions shuffled, four fifths to draw examples from (none without shots), the rest to choose a prompt on.

    Raises ValueError for too few of either, and for a practice question that the test asks too.
    """
    asked = {_plain(row): row["id"] for row in rows}
    for row in practice:
        if _plain(row) in asked:
            raise ValueError(f"task {name!r}: practice question {row['id']!r} is test question {asked[_plain(row)]!r}: remove it")
    shuffled = random.Random(f"{seed} {name}").sample(practice, len(practice))
    cut = len(shuffled) * 4 // 5 if num_shots else 0
    train, validation = shuffled[:cut], shuffled[cut:][:max_validation]
    if len(validation) < LEAST_VALIDATION or len(train) < num_shots:
        raise ValueError(
            f"task {name!r}: {len(practice)} practice questions leave {len(validation)} to choose a prompt on and {len(train)} to "
            f"show, and it takes {LEAST_VALIDATION} and {num_shots}: give more"
        )
    templates = sample_templates(num_templates, seed)
    return Plan(name, rows, validation, candidate_prompts(templates, train, num_shots, num_shot_seeds, seed))


def _plain(row: Row) -> tuple[str, ...]:
    """What tells two questions apart, whatever their case, spaces and order of options."""
    first, *others = (
        " ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in [row["prompt"], *row["options"]]
    )
    return (first, *sorted(others))


def check_windows(model: Model, plans: Sequence[Plan]) -> None:
    """Raises ValueError naming the task whose longest prompt and its answer exceed what the model reads at once."""
    config, tokenizer = model.config().get_text_config(), model.tokenizer()
    window = getattr(config, "max_position_embeddings", None)
    if window is None:
        return
    for plan in plans:
        row = max(plan.rows + plan.validation, key=lambda row: len(row["prompt"]) + sum(map(len, row["options"])))
        text = max((prompt.text(row) for prompt in plan.candidates), key=len)
        size = len(tokenizer(text, verbose=False)["input_ids"])
        if size + MAX_NEW_TOKENS > window:
            raise ValueError(
                f"task {plan.task!r}: a prompt has {size} tokens and {MAX_NEW_TOKENS} follow, and {model.path} reads {window}: "
                "lower num_shots, or leave the task out for both models"
            )


def ask_both(candidate: Model, base: Model, plans: Sequence[Plan], dtype: Precision, notes: list[str]) -> dict[Key, Asked]:
    """All answers to the tests. The models are in memory one after the other."""
    answers: dict[Key, Asked] = {}
    wanted = [(plan, decoding) for plan in plans for decoding in DECODINGS]
    with task("auditing", total=2 * len(wanted), unit="task") as progress:
        asker = _asker(candidate, candidate, dtype)
        chosen: dict[tuple[str, Decoding], Found] = {}
        for plan, decoding in wanted:
            found = chosen[plan.task, decoding] = search(asker, plan.candidates, plan.validation, decoding)
            answers[plan.task, decoding, "candidate"] = _ask([asker], plan, found, decoding)
            _note_insensitive(found, "candidate", plan, decoding, notes)
            progress.advance()
        del asker
        gc.collect()  # cycles hold what a process loads first: without this two networks would be in memory
        own, copying = _base_askers(base, candidate, dtype, notes)
        for plan, decoding in wanted:
            found = search(own, plan.candidates, plan.validation, decoding)
            answers[plan.task, decoding, "own"] = _ask([own], plan, found, decoding)
            answers[plan.task, decoding, "copied"] = _ask(copying, plan, chosen[plan.task, decoding], decoding)
            _note_insensitive(found, "base", plan, decoding, notes)
            progress.advance()
    return answers


def _asker(model: Model, chat_of: Model, dtype: Precision) -> Asker:
    tokenizer = chat_of.tokenizer()
    return Asker(open_language_model(model, dtype=dtype), tokenizer if tokenizer.chat_template is not None else None)


def _base_askers(base: Model, candidate: Model, dtype: Precision, notes: list[str]) -> tuple[Asker, list[Asker]]:
    """The base as it is asked with its own prompt, and in what ways with the candidate's."""
    own, foreign = _asker(base, base, dtype), candidate.tokenizer()
    if own.chat is not None or foreign.chat_template is None:
        return own, [own]
    known = base.tokenizer().get_vocab()
    marks = dict.fromkeys([*foreign.all_special_tokens, *foreign.get_added_vocab()])
    unknown = tuple(sorted((mark for mark in marks if mark not in known), key=len, reverse=True))
    if unknown:
        notes.append(f"marks of the candidate's chat template that the base does not know were left out: {', '.join(unknown)}")
    notes.append(
        "the base has no chat template: copied prompts were asked with the candidate's and without, the larger claim counts"
    )
    return own, [own, replace(own, chat=foreign, unknown=unknown)]


def _ask(askers: list[Asker], plan: Plan, found: Found, decoding: Decoding) -> Asked:
    """The answers to the test, by whichever asker has fewest right."""
    tried = [Asked(asker.answers([(found.best, row) for row in plan.rows], decoding), found.number) for asker in askers]
    return min(tried, key=lambda asked: asked.right(plan.rows).sum())


def _note_insensitive(found: Found, who: str, plan: Plan, decoding: Decoding, notes: list[str]) -> None:
    if found.insensitive:
        notes.append(f"{plan.task}, {decoding}: the {who} answers all prompts alike: insensitive to prompt, probably degenerate")
