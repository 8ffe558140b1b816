"""Does the specialist beat the model it came from? Both on the same items, win, tie or loss with intervals."""

from __future__ import annotations

import gc
import random
from collections.abc import Sequence
from typing import Any

from metier.artifacts import Items, Model, Scores
from metier.artifacts.comparison import Comparison
from metier.engines.generate.open import open_language_model
from metier.engines.stats.bootstrap import ratio
from metier.engines.stats.holm import holm
from metier.engines.stats.paired import compare_pairs
from metier.evaluate.item import in_full
from metier.evaluate.measure import Norm, chance, measure
from metier.evaluate.own_prompts import plan_prompts, with_own_prompts
from metier.evaluate.verdict import POOLED, verdict
from metier.method import method
from metier.models.language_model import LanguageModel
from metier.models.precision import Precision
from metier.progress import task

SAMPLE_TOKENS = 60


@method(
    paper="The Limited Impact of Medical Adaptation of Large Language and Vision-Language Models, arXiv 2411.08870",
    claim="calls a gain only what a paired interval supports",
)
def head_to_head(
    candidate: Model,
    base: Model,
    items: list[Items],
    practice: list[Items] | None = None,
    *,
    norm: Norm = "bytes",
    num_shots: int = 3,
    num_templates: int = 10,
    replicates: int = 10_000,
    num_samples: int = 10,
    dtype: Precision = "auto",
    seed: int = 0,
) -> Scores:
    """The scores of both models on all items, a comparison for each task, and the verdict.

    A task's outcome is better or worse where the 95% paired interval of the difference excludes 0, and tie where it holds it. The interval
    is the bootstrap's, made wider where few items decide (engines/stats/paired.py). p-values are given plain and corrected for all tasks at
    once (Holm). Questions are also pooled by role where a role has several tasks.
    Samples are both models' words after the prompts of questions drawn by `seed` before any answer is known; they are shown, not scored.
    The models are in memory one after the other.
    Where `practice` holds questions of a task, each model is asked that task by the prompt it does best with on them (header words,
    separators, option marks, chat template or none; worked examples from four fifths of the practice), and chooses between the options'
    letters (the paper's constrained decoding): a gain that is only the prompt's then goes to both. Not done: the paper's tuning of both models.
    Settings:
        norm: what an option's log-probability is divided by, or less: bytes, tokens, unconditional, none
        num_shots: worked examples in searched prompts; the paper reports 0 and 3
        num_templates: prompts tried beside the default one; 10 in the authors' code
        replicates: bootstrap draws; 10,000 in the paper
        num_samples: questions both models answer in their own words, for the report
        dtype: precision that both compute in; auto is bfloat16 where the processor is fast at it, else float32
    """
    everything = _join(items)
    plans = plan_prompts(everything, practice or [], num_shots, num_templates, seed)
    drawn = _draw(everything, num_samples, seed)
    scored: dict[str, list[dict[str, Any]]] = {}
    with task("examining", total=2, unit="model") as progress:
        for name, model in (("base", base), ("candidate", candidate)):
            asked = open_language_model(model, dtype=dtype)
            own = with_own_prompts(asked, model, everything, plans)
            scored[name] = list(measure(asked, own, norm=norm, name=name).rows()) + _samples(asked, drawn, name)
            del asked
            gc.collect()  # cycles hold what a process loads first: without this two networks would be in memory
            progress.advance()
    comparisons = compare(scored["base"], scored["candidate"], replicates=replicates, seed=seed)
    table = Scores.from_rows([*scored["base"], *scored["candidate"]])
    return Scores(table.frame(), comparisons=comparisons, verdict=verdict(comparisons))


def compare(
    base: Sequence[dict[str, Any]], candidate: Sequence[dict[str, Any]], *, replicates: int = 10_000, seed: int = 0
) -> list[Comparison]:
    """A comparison for each task of two models' score rows, paired by item, pooled ones first in their role.

    Raises ValueError when the two did not answer the same items, or none.
    """
    theirs = {row["item"]: row for row in candidate if row["denominator"] > 0}
    ours = {row["item"]: row for row in base if row["denominator"] > 0}
    if ours.keys() != theirs.keys():
        raise ValueError(f"the models answered different items: {len(ours.keys() ^ theirs.keys())} of one only")
    if not ours:
        raise ValueError("the models answered no items, so there is nothing to compare")
    groups: dict[tuple[str, str], list[str]] = {}
    for name, row in ours.items():
        groups.setdefault((row["role"], row["task"]), []).append(name)
    for role, task_name in POOLED.items():
        tasks = [key for key in groups if key[0] == role and ours[groups[key][0]]["kind"] == "choice"]
        if len(tasks) > 1:
            groups[(role, task_name)] = [name for key in tasks for name in groups[key]]
    order = {"acquired": 0, "held_out": 1, "general": 2}
    found = [
        _comparison(task_name, [ours[name] for name in names], [theirs[name] for name in names], replicates, seed)
        for (_, task_name), names in sorted(
            groups.items(), key=lambda group: (order[group[0][0]], group[0][1] not in POOLED.values())
        )
    ]
    adjusted = holm([comparison.p for comparison in found])
    return [comparison.with_holm(p) for comparison, p in zip(found, adjusted, strict=True)]


def _comparison(
    task_name: str, ours: list[dict[str, Any]], theirs: list[dict[str, Any]], replicates: int, seed: int
) -> Comparison:
    a, b = ([[row[part] for row in rows] for part in ("numerator", "denominator")] for rows in (ours, theirs))
    base, candidate = (ratio(*numbers, seed=seed, replicates=replicates) for numbers in (a, b))
    difference = compare_pairs((a[0], a[1]), (b[0], b[1]), seed=seed, replicates=replicates)
    lower_is_better = ours[0]["metric"] == "bits per byte"
    up, down = ("worse", "better") if lower_is_better else ("better", "worse")
    return Comparison(
        task=task_name,
        role=ours[0]["role"],
        metric=ours[0]["metric"],
        better="lower" if lower_is_better else "higher",
        num_items=len(ours),
        base=base.value,
        base_low=base.low,
        base_high=base.high,
        candidate=candidate.value,
        candidate_low=candidate.low,
        candidate_high=candidate.high,
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        p=difference.p,
        p_holm=difference.p,
        outcome=up if difference.low > 0 else down if difference.high < 0 else "tie",  # type: ignore[arg-type]
        chance=chance(ours),
        num_gained=sum(now > was for was, now in zip(a[0], b[0], strict=True)) if ours[0]["metric"] != "bits per byte" else None,
        num_lost=sum(now < was for was, now in zip(a[0], b[0], strict=True)) if ours[0]["metric"] != "bits per byte" else None,
    )


def _join(items: list[Items]) -> Items:
    import daft
    import pyarrow as pa

    if not items:
        raise ValueError("there are no items to compare the models on")
    joined = pa.concat_tables([in_full(part) for part in items])
    names = joined["id"].to_pylist()
    if len(set(names)) != len(names):
        raise ValueError("two items have the same id, so they could not be paired: give each set of items once")
    return Items(daft.from_arrow(joined))


def _draw(items: Items, num_samples: int, seed: int) -> list[dict[str, Any]]:
    questions = [row for row in items.rows() if row["kind"] == "choice" and row["role"] != "general"]
    asked = [row for row in questions if row["role"] == "acquired"] or questions
    return random.Random(seed).sample(asked, min(num_samples, len(asked)))


def _samples(model: LanguageModel, drawn: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    if not drawn:
        return []
    completions = model.generate([row["prompt"] for row in drawn], max_new_tokens=SAMPLE_TOKENS, stop=["\n\n"])
    return [
        {
            "item": f"sample-{row['id']}",
            "task": row["task"],
            "role": row["role"],
            "kind": "sample",
            "model": name,
            "metric": "shown",
            "numerator": 0.0,
            "denominator": 0.0,
            "prompt": row["prompt"],
            "options": row["options"],
            "gold": row["gold"],
            "answer": row["options"][row["gold"]],
            "completion": completion.text if completion.error is None else f"({completion.error})",
            "source": row["source"],
        }
        for row, completion in zip(drawn, completions, strict=True)
    ]
