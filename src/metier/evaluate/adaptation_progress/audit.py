"""From the answers to the audit: cells, parts, checklist, sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from metier.artifacts import Corpus
from metier.engines.stats.groups import mean_of_groups
from metier.engines.stats.paired import compare_pairs
from metier.evaluate.adaptation_progress.answers import Asked, Key, Plan
from metier.evaluate.adaptation_progress.results import (
    DECODINGS,
    PROMPT_CELLS,
    Answered,
    Audit,
    Cell,
    Decoding,
    Outcome,
    Part,
    PromptCell,
)
from metier.evaluate.adaptation_progress.seen import seen_questions

LEAST_TASKS = 5  # for an interval over tasks
MANY_UNPARSED = 0.05


def audit(
    plans: Sequence[Plan],
    answers: dict[Key, Asked],
    adapted_on: Corpus | None,
    same_base: Answered,
    notes: Sequence[str],
    *,
    replicates: int,
    seed: int,
) -> Audit:
    """The audit of all answers; `notes` are those made while asking."""
    cells = [
        _cell(plan, prompt_cell, decoding, answers, replicates, seed)
        for plan in plans
        for prompt_cell in PROMPT_CELLS
        for decoding in DECODINGS
    ]
    groups = [differences(plan, answers) for plan in plans]
    seen = seen_questions({plan.task: plan.rows for plan in plans}, adapted_on) if adapted_on is not None else None
    claimed, prompt, form, remaining = _parts(groups, replicates, seed)
    return Audit(
        cells=cells,
        claimed=claimed,
        prompt=prompt,
        format=form,
        remaining=remaining,
        interval_over="rows and tasks" if len(groups) >= LEAST_TASKS else "rows",
        unseen=_unseen(plans, groups, seen, replicates, seed) if seen is not None else None,
        num_seen=len(seen) if seen is not None else None,
        rates=rates(cells),
        checklist={
            "same base": same_base,
            "own prompts": "pass",
            "intervals": "pass",
            "more than one decoding": "pass",
            "test items disjoint from adaptation text": "unknown" if seen is None else "fail" if seen else "pass",
        },
        sentence=_sentence(claimed, prompt, form, remaining),
        notes=[*notes, *_format_notes(cells)],
    )


def differences(plan: Plan, answers: dict[Key, Asked]) -> np.ndarray:
    """What each row adds to claimed, prompt, format and remaining: (rows, 4), the first the sum of the others."""

    def difference(decoding: Decoding, cell: PromptCell) -> np.ndarray:
        ours, theirs = answers[plan.task, decoding, "candidate"], answers[plan.task, decoding, cell]
        return np.asarray(ours.right(plan.rows) - theirs.right(plan.rows))

    claimed, own, constrained = difference("greedy", "copied"), difference("greedy", "own"), difference("constrained", "own")
    return np.stack([claimed, claimed - own, own - constrained, constrained], axis=1)


def rates(cells: Sequence[Cell]) -> dict[str, dict[Outcome, float]]:
    """Share of tasks won, tied and lost in the greedy cells, by "<prompt cell>, <interval or sign>"."""
    outcomes: tuple[Outcome, ...] = ("win", "tie", "loss")
    found: dict[str, dict[Outcome, float]] = {}
    for prompt_cell in PROMPT_CELLS:
        part = [cell for cell in cells if cell.prompt_cell == prompt_cell and cell.decoding == "greedy"]
        for rule, counts in (
            ("interval", Counter(cell.outcome for cell in part)),
            ("sign", Counter(cell.sign for cell in part)),
        ):
            found[f"{prompt_cell}, {rule}"] = {outcome: counts[outcome] / len(part) for outcome in outcomes}
    return found


def _cell(plan: Plan, prompt_cell: PromptCell, decoding: Decoding, answers: dict[Key, Asked], replicates: int, seed: int) -> Cell:
    base, candidate = answers[plan.task, decoding, prompt_cell], answers[plan.task, decoding, "candidate"]
    was, now, ones = base.right(plan.rows), candidate.right(plan.rows), np.ones(len(plan.rows))
    found = compare_pairs((was, ones), (now, ones), seed=seed, replicates=replicates)
    return Cell(
        task=plan.task,
        num_items=len(plan.rows),
        prompt_cell=prompt_cell,
        decoding=decoding,
        base=float(was.mean()),
        candidate=float(now.mean()),
        difference=found.value,
        low=found.low,
        high=found.high,
        outcome=outcome(found.low, found.high),
        sign=outcome(found.value, found.value),
        unparsed_base=base.unparsed,
        unparsed_candidate=candidate.unparsed,
        prompt_base=base.prompt,
        prompt_candidate=candidate.prompt,
    )


def outcome(low: float, high: float) -> Outcome:
    """win or loss where the interval excludes 0; the raw sign's for an interval without width."""
    return "win" if low > 0 else "loss" if high < 0 else "tie"


def _parts(groups: Sequence[np.ndarray], replicates: int, seed: int) -> list[Part]:
    found = mean_of_groups(groups, draw_groups=len(groups) >= LEAST_TASKS, seed=seed, replicates=replicates)
    return [Part(*interval) for interval in found]


def _unseen(plans: Sequence[Plan], groups: Sequence[np.ndarray], seen: set[str], replicates: int, seed: int) -> Part | None:
    kept = [group[[row["id"] not in seen for row in plan.rows]] for plan, group in zip(plans, groups, strict=True)]
    kept = [group for group in kept if len(group)]
    return _parts(kept, replicates, seed)[-1] if kept else None


def _format_notes(cells: Sequence[Cell]) -> Iterator[str]:
    for cell in cells:
        unparsed = (cell.unparsed_base, cell.unparsed_candidate)
        if max(unparsed) > MANY_UNPARSED or abs(unparsed[0] - unparsed[1]) > MANY_UNPARSED:
            yield (
                f"{cell.task}, {cell.prompt_cell} prompts: {unparsed[0]:.0%} of the base's greedy answers and {unparsed[1]:.0%} of "
                "the candidate's name no option, so the comparison is of formats: read the constrained one"
            )


def _sentence(claimed: Part, prompt: Part, form: Part, remaining: Part) -> str:
    half = (remaining.high - remaining.low) / 2
    return (
        f"Of the claimed {100 * claimed.value:+.1f} points, {100 * prompt.value:.1f} are prompt, {100 * form.value:.1f} are "
        f"format, {100 * remaining.value:.1f} ± {100 * half:.1f} remain."
    )
