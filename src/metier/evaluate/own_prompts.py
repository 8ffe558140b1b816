"""Each model asked by the prompt that suits it: chosen on practice questions, the same candidates for every model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import chain

from metier.artifacts import Items, Model
from metier.evaluate.adaptation_progress.answers import Plan, plan_task
from metier.evaluate.adaptation_progress.prompts import LETTERS, Prompt, Row
from metier.evaluate.adaptation_progress.search import Asker, search
from metier.evaluate.item import Item, in_full, items_table
from metier.models.language_model import LanguageModel

logger = logging.getLogger(__name__)

NUM_SHOT_SEEDS, MAX_VALIDATION = 10, 500  # the authors' code
FEWEST = 20  # questions that a prompt is tried on at first


def plan_prompts(items: Items, practice: Iterable[Items], num_shots: int, num_templates: int, seed: int) -> dict[str, Plan]:
    """The candidate prompts and validation questions of each task of choices that practice questions exist for.

    Raises ValueError for practice of a task that is not asked or has no options, and where too little of it is left (see plan_task).
    """
    practised: dict[str, list[Row]] = {}
    for row in chain.from_iterable(table.rows() for table in practice):
        practised.setdefault(row["task"], []).append(row)
    plans = {}
    for name, given in practised.items():
        asked = [row for row in items.rows() if row["task"] == name]
        if not asked or any(row["kind"] != "choice" for row in [*asked, *given]):
            raise ValueError(
                f"practice questions of task {name!r} help nothing: the items have no such task of questions with options"
            )
        plans[name] = plan_task(name, asked, given, num_shots, num_templates, NUM_SHOT_SEEDS, MAX_VALIDATION, seed)
    return plans


def with_own_prompts(asked: LanguageModel, model: Model, items: Items, plans: dict[str, Plan]) -> Items:
    """The items, those of planned tasks with the prompt that this model does best with, and the letters of their options to choose from."""
    if not plans:
        return items
    tokenizer = model.tokenizer()
    askers = [Asker(asked), *([Asker(asked, tokenizer)] if tokenizer.chat_template is not None else [])]
    chosen = {}
    for name, plan in plans.items():
        asker, prompt, accuracy = best_prompt(askers, plan)
        chosen[name] = asker, prompt
        logger.info(
            "%s: %s does best with %s, %d examples%s: %.1f%% of %d practice questions", name, model.path, prompt.template, len(prompt.shots),
            " and its chat template" if asker.chat is not None else "", 100 * accuracy, len(plan.validation),
        )  # fmt: skip
    rows = []
    for row in in_full(items).to_pylist():
        if row["task"] in chosen:
            asker, prompt = chosen[row["task"]]
            row |= {"prompt": asker.context(prompt.text(row)), "options": list(LETTERS[: len(row["options"])])}
        rows.append(Item(**row))
    return items_table(rows)


def best_prompt(askers: Sequence[Asker], plan: Plan) -> tuple[Asker, Prompt, float]:
    """The way of asking and the prompt with the highest accuracy on the validation questions, the first of equals.

    Successive halving: all are tried on a ninth of the questions, the best quarter on a third, the best quarter of those on all; the paper
    tries all on all, at about five times the cost.
    """
    left = [(asker, prompt) for asker in askers for prompt in plan.candidates]
    size = len(plan.validation)
    for number in (max(FEWEST, size // 9), max(FEWEST, size // 3), size):
        accuracies: list[float] = []
        for asker in askers:
            prompts = [prompt for other, prompt in left if other is asker]
            if prompts:
                accuracies += search(asker, prompts, plan.validation[:number], "constrained").accuracies
        order = sorted(range(len(left)), key=lambda place: -accuracies[place])
        best = left[order[0]], accuracies[order[0]]
        if number >= size:
            break
        left = [left[place] for place in sorted(order[: max(4, len(left) // 4)])]
    return *best[0], best[1]
