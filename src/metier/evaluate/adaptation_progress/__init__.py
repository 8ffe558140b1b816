"""How much of a claimed gain is left once the base model has its own prompt, another decoding and an interval."""

from __future__ import annotations

import logging
from itertools import chain

from metier.artifacts import Corpus, Items, Model
from metier.evaluate.adaptation_progress.prompts import Row
from metier.evaluate.adaptation_progress.results import Answered, Audit
from metier.method import method
from metier.models.precision import Precision

logger = logging.getLogger(__name__)

SHAPE = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


@method(
    paper="Medical Adaptation of Large Language and Vision-Language Models: Are We Making Progress?, arXiv 2411.04118",
    claim="splits a claimed gain into prompt, answer format and what remains",
)
def adaptation_progress(
    candidate: Model,
    base: Model,
    items: list[Items],
    practice: list[Items],
    adapted_on: Corpus | None = None,
    *,
    num_shots: int = 3,
    num_templates: int = 10,
    num_shot_seeds: int = 10,
    max_validation: int = 500,
    replicates: int = 10_000,
    any_base: bool = False,
    dtype: Precision = "auto",
    seed: int = 0,
) -> Audit:
    """The audit of a gain: both models' answers in four cells of prompt and decoding, and where the gain comes from.

    Each model searches its best prompt, once a decoding, on practice questions of the same task names: four fifths are examples
    to show, the rest is to choose on. Then the base is also asked with the candidate's prompt. Greedy answers are words that are
    parsed; constrained ones the likeliest letter. A base without chat template whose candidate has one is asked both with that
    template and without when it is given the candidate's prompt, and the lower accuracy counts as the claim's. Outcomes by
    interval are head_to_head's (engines/stats/paired.py), a little wider than the paper's plain bootstrap. Not done: image
    questions, temperatures above 0, and the tuning of both models on each task.
    Raises ValueError, before a model is asked, for items without options, tasks without practice, questions that stand in both,
    prompts beyond a window, and a base that cannot be the candidate's parent because it has another shape.
    Settings:
        num_shots: examples before each question; the paper reports 0 and 3
        num_templates: templates tried beside the default one; 10 in the authors' code
        num_shot_seeds: draws of examples tried with each template; 10 in the authors' code
        max_validation: practice questions a prompt is chosen on, at most; 500 in the authors' code
        replicates: bootstrap draws
        any_base: whether a base of another shape is compared all the same, so that size and adaptation are mixed up
        dtype: precision that both compute in; auto is bfloat16 where the processor is fast at it, else float32
    """
    from metier.evaluate.adaptation_progress.answers import LEAST_VALIDATION, ask_both, check_windows, plan_task
    from metier.evaluate.adaptation_progress.audit import audit

    if num_shots < 0 or num_templates < 0 or num_shot_seeds < 1:
        raise ValueError(
            f"num_shots={num_shots}, num_templates={num_templates}, num_shot_seeds={num_shot_seeds}: "
            "the first two must be 0 or more, the last 1 or more"
        )
    if max_validation < LEAST_VALIDATION:
        raise ValueError(f"max_validation={max_validation} questions choose no prompt: give {LEAST_VALIDATION} or more")
    tests, practised = _by_task(items, "items"), _by_task(practice, "practice")
    plans = [
        plan_task(name, rows, practised.get(name, []), num_shots, num_templates, num_shot_seeds, max_validation, seed)
        for name, rows in tests.items()
    ]
    notes: list[str] = []
    same_base = _same_base(candidate, base, any_base, notes)
    for model in (candidate, base):
        check_windows(model, plans)
    answers = ask_both(candidate, base, plans, dtype, notes)
    return audit(plans, answers, adapted_on, same_base, notes, replicates=replicates, seed=seed)


def _by_task(tables: list[Items], name: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in chain.from_iterable(table.rows() for table in tables):
        if row["kind"] != "choice" or not row["prompt"]:
            raise ValueError(
                f"{name}: item {row['id']!r} of task {row['task']!r} is no question with options (kind {row['kind']}), and "
                "the audit compares the choice among options by both decodings: leave it out"
            )
        found.setdefault(row["task"], []).append(row)
    if not found:
        raise ValueError(f"{name} holds no questions")
    return found


def _same_base(candidate: Model, base: Model, any_base: bool, notes: list[str]) -> Answered:
    """Whether base can be the parent: "fail" by its shape, "unknown" where the tokenizers differ by more than added tokens."""
    ours, theirs = candidate.config().get_text_config(), base.config().get_text_config()
    shapes = {name: (getattr(theirs, name, None), getattr(ours, name, None)) for name in SHAPE}
    different = {name: values for name, values in shapes.items() if values[0] != values[1]}
    if different:
        told = f"base and candidate differ in {different}, so {base.path} is not the parent of {candidate.path}"
        if not any_base:
            raise ValueError(f"{told} and a difference would not be the adaptation's: give the parent, or set any_base")
        notes.append(told)
        return "fail"
    known = candidate.tokenizer().get_vocab()
    if any(known.get(token) != number for token, number in base.tokenizer().get_vocab().items()):
        notes.append("the tokenizers differ, so the base may be of another generation than the candidate's parent")
        logger.warning("the tokenizers of %s and %s differ: is the base the candidate's parent?", base.path, candidate.path)
        return "unknown"
    return "pass"
