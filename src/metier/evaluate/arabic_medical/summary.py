"""The tables of a report, from arabic_medical's rows: groups with intervals, agreement, what bias does, what votes reach."""

from __future__ import annotations

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from metier.artifacts import Scores
from metier.engines.stats.bootstrap import ratio
from metier.engines.stats.exact import mcnemar_p
from metier.evaluate.arabic_medical import VOTE
from metier.evaluate.arabic_medical.open_answers import chrf, rouge_l, separation
from metier.evaluate.arabic_medical.questions import PLAIN
from metier.evaluate.arabic_medical.vote import kappa

Row = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """What a member reached on the rows of a file, or of one category, bias or form of question in it.

    value, low, high: accuracy with its 95% Wilson interval, or mean chrF with a bootstrap one; num_unread: refused or not to be
    parsed, counted as wrong; num_left_out: rows without a right answer to compare with
    """

    model: str
    task: str
    group: str
    num: int
    value: float
    low: float
    high: float
    num_unread: int
    num_left_out: int


@dataclass(frozen=True)
class BiasEffect:
    """What misleading preambles of one type do to a member: rows paired with their plain twins.

    flips: share whose answer changed; toward: of the rows whose preamble names one wrong option, the share that changed to it
    (nan where none does, num_suggested 0); p: McNemar's, of no change in accuracy
    """

    model: str
    bias: str
    num: int
    plain: float
    biased: float
    flips: float
    toward: float
    num_suggested: int
    p: float


def wilson(correct: int, answered: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927). Narrower than the exact one, which covers 95% at least."""
    found = stats.binomtest(correct, answered).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def groups(scores: Scores) -> list[Group]:
    """One line for each member and file ("all"), then for each category, bias and negated stems, in order of appearance."""
    found: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in scores.rows():
        if row["kind"] in ("choice", "generate"):
            names = ["all"] + [row[name] for name in ("category", "bias") if row[name]] + ["negated"] * bool(row["negated"])
            for name in names:
                found[row["model"], row["task"], name].append(row)
    return [_group(*key, rows) for key, rows in found.items() if any(row["denominator"] > 0 for row in rows)]


def _group(model: str, task: str, name: str, rows: list[Row]) -> Group:
    counted = [row for row in rows if row["denominator"] > 0]
    right = math.fsum(row["numerator"] for row in counted)
    if counted[0]["kind"] == "choice":
        low, high = wilson(round(right), len(counted))
    else:
        _, low, high = ratio([row["numerator"] for row in counted], [1.0] * len(counted), seed=0)
    unread = sum(row["failure"] is not None for row in counted)
    return Group(model, task, name, len(counted), right / len(counted), low, high, unread, len(rows) - len(counted))


def agreement(scores: Scores, task: str) -> dict[tuple[str, str], float]:
    """Cohen's kappa of each two members on the choices of a file."""
    chosen = _chosen(scores, task)
    return {
        (a, b): kappa(list(chosen[a].values()), [chosen[b][item] for item in chosen[a]])
        for a, b in itertools.combinations(chosen, 2)
    }


def oracle(scores: Scores, task: str) -> float:
    """The share of questions that some member has right: what no vote can exceed. Raises ValueError where the file has no
    choices."""
    gold = {row["item"]: row["gold"] for row in _choices(scores, task)}
    if not gold:
        raise ValueError(f"no choices of {task!r} were scored")
    return sum(any(answers[item] == right for answers in _chosen(scores, task).values()) for item, right in gold.items()) / len(
        gold
    )


def bias_effects(scores: Scores) -> list[BiasEffect]:
    """For each member and type of bias, from the files that have both forms of a question."""
    rows = {(row["model"], row["item"]): row for row in scores.rows() if row["kind"] == "choice" and row["denominator"] > 0}
    pairs: dict[tuple[str, str], list[tuple[Row, Row]]] = defaultdict(list)
    for (model, _), row in rows.items():
        stem, _, number = row["item"].rpartition("/")
        plain = rows.get((model, f"{stem}{PLAIN}/{number}"))
        if row["bias"] and plain is not None:
            pairs[model, row["bias"]].append((plain, row))
    return [_effect(model, bias, both) for (model, bias), both in pairs.items()]


def _effect(model: str, bias: str, pairs: Sequence[tuple[Row, Row]]) -> BiasEffect:
    changed = [a["chosen"] != b["chosen"] for a, b in pairs]
    suggested = [(a, b) for a, b in pairs if b["suggested"] is not None]
    moved = sum(b["chosen"] == b["suggested"] != a["chosen"] for a, b in suggested)
    lost, gained = (sum(x["numerator"] > y["numerator"] for x, y in side) for side in (pairs, [(b, a) for a, b in pairs]))
    return BiasEffect(
        model=model,
        bias=bias,
        num=len(pairs),
        plain=sum(a["numerator"] for a, _ in pairs) / len(pairs),
        biased=sum(b["numerator"] for _, b in pairs) / len(pairs),
        flips=sum(changed) / len(pairs),
        toward=moved / len(suggested) if suggested else math.nan,
        num_suggested=len(suggested),
        p=mcnemar_p(lost, gained),
    )


def separations(scores: Scores, task: str, *, seed: int = 0) -> dict[tuple[str, str], float]:
    """d' of (member, metric) on an open file: how far a metric tells a member's answers from its answers to other questions."""
    found = {}
    rows = [row for row in scores.rows() if row["task"] == task and row["kind"] == "generate" and row["denominator"] > 0]
    for model in dict.fromkeys(row["model"] for row in rows):
        own = random.Random(seed).sample(part := [row for row in rows if row["model"] == model], len(part))
        for name, metric in (("chrF", chrf), ("ROUGE-L", rouge_l)):
            true, shuffled = (
                [metric(row["completion"], other["answer"]) for row, other in zip(own, others, strict=True)]
                for others in (own, [*own[1:], *own[:1]])
            )
            found[model, name] = separation(true, shuffled)
    return found


def _choices(scores: Scores, task: str) -> list[Row]:
    return [
        row
        for row in scores.rows()
        if row["task"] == task and row["kind"] == "choice" and row["denominator"] > 0 and row["model"] != VOTE
    ]


def _chosen(scores: Scores, task: str) -> dict[str, dict[str, int | None]]:
    chosen: dict[str, dict[str, int | None]] = defaultdict(dict)
    for row in _choices(scores, task):
        chosen[row["model"]][row["item"]] = row["chosen"]
    return dict(chosen)
