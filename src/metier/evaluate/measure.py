"""Asks a model the items and keeps every number: one row an item, from which any metric can be made again."""

from __future__ import annotations

import logging
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from metier.artifacts import Items, Scores
from metier.artifacts.comparison import Role
from metier.artifacts.scores import score_row
from metier.engines.answers.equal import same_values
from metier.engines.generate.failures import check_failures
from metier.engines.stats.bootstrap import ratio
from metier.evaluate.item import in_full
from metier.models.language_model import Completion, LanguageModel

logger = logging.getLogger(__name__)

Norm = Literal["bytes", "tokens", "unconditional", "none"]
Row = dict[str, Any]
WRAPPING, ENDING = " \"'`*_“”‘’«»", ".,;:!?。！？… "

METRICS = {"choice": "accuracy", "generate": "exact match", "text": "bits per byte"}


@dataclass(frozen=True)
class Estimate:
    """A task's value for one model with its 95% bootstrap interval; chance is what guessing gives, None where there is no guessing."""

    task: str
    role: Role
    metric: str
    num_items: int
    value: float
    low: float
    high: float
    chance: float | None


def measure(model: LanguageModel, items: Items, *, norm: Norm = "bytes", name: str | None = None) -> Scores:
    """The scores of one model on the items. `name` stands in the column `model`; the model's own unless given.

    Choices are scored by the log-probability of each option's text after the prompt, divided by its bytes or tokens, or less its
    log-probability after "Answer:" (norm "unconditional"); a tie is wrong. Options without a prompt are whole texts, such as a sentence and
    its ungrammatical twin: their log-probabilities are compared as they are, whatever the norm. Texts give bits and bytes. Generated answers
    are compared once normalised (see `normalised`); one that failed is wrong, and its row says why in `failure`.
    Raises RuntimeError when more than 5% of the generations fail, ValueError for log-probabilities that are no numbers, no items, unknown
    kinds, a task that mixes kinds, and an empty text.
    """
    rows = in_full(items).to_pylist()
    if not rows:
        raise ValueError("there are no items to ask")
    by_kind: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_kind[row["kind"]].append(row)
    askers: dict[str, Callable[[LanguageModel, list[Row]], list[Row]]] = {
        "choice": lambda asked, part: _choices(asked, part, norm),
        "generate": _generations,
        "text": _texts,
    }
    unknown = sorted(set(by_kind) - set(askers))
    if unknown:
        raise ValueError(f"items of the kinds {unknown} cannot be asked; known are {sorted(askers)}")
    _check_tasks(rows)
    found: dict[str, Row] = {}
    for kind, part in by_kind.items():
        for row, numbers in zip(part, askers[kind](model, part), strict=True):
            found[row["id"]] = _row(row, name or model.name, METRICS[kind]) | numbers
    return Scores.from_rows([found[row["id"]] for row in rows])


def summarise(scores: Scores) -> list[Estimate]:
    """One estimate a task, in order of first appearance, for the scores of a single model."""
    tasks: dict[str, list[Row]] = defaultdict(list)
    for row in scores.rows():
        if row["denominator"] > 0:
            tasks[row["task"]].append(row)
    estimates = []
    for task, rows in tasks.items():
        value, low, high = ratio([row["numerator"] for row in rows], [row["denominator"] for row in rows], seed=0)
        estimates.append(Estimate(task, rows[0]["role"], rows[0]["metric"], len(rows), value, low, high, chance(rows)))
    return estimates


def chance(rows: Sequence[Row]) -> float | None:
    """The accuracy of guessing on choice rows; None for other kinds."""
    if any(row["kind"] != "choice" for row in rows):
        return None
    return sum(1 / len(row["options"]) for row in rows) / len(rows)


def normalised(answer: str) -> str:
    """An answer without what does not count: outer space, quotes and emphasis, full stops and other ends of sentences, case, runs of
    space. Signs that belong to an answer stay: -5, C++, 10%."""
    words = " ".join(unicodedata.normalize("NFC", answer).split())
    bare = words
    while (shorter := bare.strip(WRAPPING).rstrip(ENDING)) != bare:
        bare = shorter
    return (bare or words).casefold()  # an answer of such signs alone is not the empty one


def extracted(text: str, pattern: str) -> str | None:
    """The answer in a text: the last match of the pattern, its first group where it has one; all of it for no pattern; None for no match."""
    if not pattern:
        return text
    found = list(re.finditer(pattern, text))[-1:]
    return next((match[1] if match.re.groups else match[0] for match in found), None)


def are_right(given: Sequence[str | None], items: Sequence[Row]) -> list[bool]:
    """For each answer whether it is the item's, by the item's `compare`; the right answer is read by the same `extract`. No answer is wrong."""
    pairs = [
        (extracted(item["answer"], item["extract"]) or item["answer"], answer) for item, answer in zip(items, given, strict=True)
    ]
    by_value = [place for place, (_, answer) in enumerate(pairs) if answer is not None and items[place]["compare"] == "value"]
    equal = dict(zip(by_value, same_values([(pairs[place][0], str(pairs[place][1])) for place in by_value]), strict=True))
    return [
        equal[place] if place in equal else answer is not None and normalised(answer) == normalised(gold)
        for place, (gold, answer) in enumerate(pairs)
    ]


def _check_tasks(rows: list[Row]) -> None:
    kinds: dict[str, str] = {}
    for row in rows:
        kind = kinds.setdefault(row["task"], row["kind"])
        if row["kind"] != kind:
            raise ValueError(
                f"task {row['task']!r} holds items of kind {kind} and {row['kind']} (item {row['id']!r}): name them apart"
            )
        if row["kind"] == "text" and not row["prompt"]:
            raise ValueError(f"item {row['id']!r} is an empty text, which has no bits per byte: leave it out")


def _row(item: Row, model: str, metric: str) -> Row:
    # Not `error`: a table takes a row with that for one that could not be read and leaves it out, and a failed answer would not count.
    empty: Row = {
        "chosen": None,
        "completion": None,
        "extracted": None,
        "failure": None,
        "logprobs": [],
        "num_tokens": [],
        "num_bytes": [],
    }
    return score_row(item, model, metric) | {name: item[name] for name in ("options", "gold", "source")} | empty


def _choices(model: LanguageModel, items: list[Row], norm: Norm) -> list[Row]:
    pairs = [(item["prompt"], _continued(item["prompt"], option)) for item in items for option in item["options"]]
    scores = iter(model.score(pairs))
    free = iter(
        model.score([("Answer:", f" {option}") for item in items for option in item["options"]])
        if norm == "unconditional"
        else ()
    )
    rows = []
    for item in items:
        found = [next(scores) for _ in item["options"]]
        unconditional = [next(free).logprob for _ in item["options"]] if norm == "unconditional" else []
        _check(item["id"], [score.logprob for score in found])
        numbers: Row = {
            "logprobs": [score.logprob for score in found],
            "unconditional_logprobs": unconditional,
            "num_tokens": [score.num_tokens for score in found],
            "num_bytes": [score.num_bytes for score in found],
        }
        values = option_values(item | numbers, norm)
        best = max(range(len(values)), key=values.__getitem__)
        right = best == item["gold"] and values.count(values[best]) == 1
        rows.append(
            {
                **numbers,
                "chosen": best,
                "numerator": float(right),
                "denominator": 1.0,
            }
        )
    return rows


def _continued(prompt: str, option: str) -> str:
    return option if not prompt or prompt[-1].isspace() else f" {option}"


def option_values(row: Row, norm: Norm) -> list[float]:
    """The score of each option of a row of scores, the higher the better: its log-probability, normalised."""
    logprobs: list[float] = list(row["logprobs"])
    if norm == "none" or not row["prompt"]:
        return logprobs
    if norm == "unconditional":
        return [logprob - free for logprob, free in zip(logprobs, row["unconditional_logprobs"], strict=True)]
    return [logprob / max(1, size) for logprob, size in zip(logprobs, row[f"num_{norm}"], strict=True)]


def _check(item: str, logprobs: list[float]) -> None:
    if not all(math.isfinite(logprob) for logprob in logprobs):
        raise ValueError(
            f"item {item!r}: the model's log-probabilities {logprobs} are no finite numbers; its weights are broken or overflow its precision"
        )


def _texts(model: LanguageModel, items: list[Row]) -> list[Row]:
    scores = model.score_texts([item["prompt"] for item in items])
    for item, score in zip(items, scores, strict=True):
        _check(item["id"], [score.logprob])
    return [
        {
            "logprobs": [score.logprob],
            "num_tokens": [score.num_tokens],
            "num_bytes": [score.num_bytes],
            "numerator": -score.logprob / math.log(2),
            "denominator": float(score.num_bytes),
        }
        for score in scores
    ]


def _generations(model: LanguageModel, items: list[Row]) -> list[Row]:
    prompts = [[{"role": "user", "content": item["prompt"]}] if item["chat"] else item["prompt"] for item in items]
    groups: dict[tuple[int, tuple[str, ...]], list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        # No tokenizer needs more tokens than bytes: no right answer is cut, and how an item is asked depends on no other item.
        room = item["max_new_tokens"] or 8 * math.ceil((len(item["answer"].encode()) + 4) / 8)
        several_lines = "\n" in item["answer"].strip()
        stop = item["stop"] or ([] if several_lines else ["\n"])  # spares what a model rambles on with
        groups[room, tuple(stop)].append(place)
    answers: dict[int, Completion] = {}
    for (room, stop), places in groups.items():
        found = model.generate([prompts[place] for place in places], max_new_tokens=room, stop=list(stop))
        answers.update(zip(places, found, strict=True))
    completions = [answers[place] for place in range(len(items))]
    check_failures([completion.error for completion in completions], "answers")
    given = [
        extracted(one.text, item["extract"]) if one.error is None else None for one, item in zip(completions, items, strict=True)
    ]
    return [
        {
            "completion": completion.text,
            "failure": completion.error,
            "num_tokens": [completion.num_tokens],
            "extracted": answer,
            "numerator": float(right),
            "denominator": 1.0,
        }
        for completion, answer, right in zip(completions, given, are_right(given, items), strict=True)
    ]
