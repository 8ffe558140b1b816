"""What the arms need of tables: training sequences, suites with one score each, and a warning where a test was trained on."""

from __future__ import annotations

import gc
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from metier.artifacts import Corpus, Examples, Items, Model
from metier.engines.generate.open import open_language_model
from metier.engines.text.chat import tokenize_examples
from metier.engines.text.sequences import TokenSequence, tokenize_texts
from metier.evaluate.measure import METRICS, measure

logger = logging.getLogger(__name__)

BEGINNING = 200  # characters of a text that tell it from others; suites cut long texts


def sequences_of(part: Corpus | Examples, model: Model, *, longest: int) -> list[TokenSequence]:
    """Texts whole, of examples the answers only; those longer than `longest` are cut and left out, as the training methods do.

    Raises ValueError where nothing is left to predict.
    """
    tokenizer = model.tokenizer()
    if isinstance(part, Corpus):
        sequences = list(tokenize_texts(((row["text"], row["source"]) for row in part.rows()), tokenizer, longest=longest))
    else:
        sequences, too_long = tokenize_examples(part.rows(), tokenizer, longest=longest)
        if too_long:
            logger.warning(
                "%d of %d examples are longer than %d tokens and left out", too_long, too_long + len(sequences), longest
            )
    sequences = [sequence for sequence in sequences if sequence.num_predicted]
    if not sequences:
        raise ValueError(f"a {type(part).__name__} of `tasks` or `rehearsal` holds nothing to learn: look at the stage before")
    return sequences


def metric_of(suites: Sequence[Items]) -> str:
    """The one metric of all items. Raises ValueError where they are of several, whose mean would say nothing."""
    found: set[str] = {METRICS.get(row["kind"], row["kind"]) for suite in suites for row in suite.rows()}
    if len(found) != 1:
        raise ValueError(
            f"suites measure {sorted(found)}: scores of different scales have no mean; "
            "give items of one kind, or measure in several calls"
        )
    return found.pop()


def names_of(suites: Sequence[Items], taken: Sequence[str] = ()) -> list[str]:
    """A name for each suite: its first item's task, numbered where that is not unique."""
    tasks = [next(iter(suite.rows()), {"task": "empty"})["task"] for suite in suites]
    return [task if tasks.count(task) == 1 and task not in taken else f"{task} {number}" for number, task in enumerate(tasks, 1)]


def scorer(
    suites: Sequence[Items], general: Sequence[Items], *, precision: Literal["auto", "float32", "bfloat16"]
) -> Callable[[Model, Sequence[int]], list[float]]:
    """A function that gives a model's scores on the suites of the given numbers, and on every general suite; higher is better.

    Accuracy and exact match as they are, bits per byte with a minus; a suite of several tasks has their mean.
    """

    def score(model: Model, asked: Sequence[int]) -> list[float]:
        gc.collect()  # a trainer and its callbacks are a cycle that holds a network and its optimiser
        # Not from the cache of answers: its key looks at the ends of large files only, and stages may differ in between.
        opened = open_language_model(model, dtype=precision, cache=False)
        return [_score(list(measure(opened, suite).rows())) for suite in [*(suites[number] for number in asked), *general]]

    return score


def overlaps(names: Sequence[str], suites: Sequence[Items], parts: Sequence[Corpus | Examples]) -> dict[str, int]:
    """How many items of a suite are also trained on, by "suite in task"; compared by how their texts begin. Logged where there
    are any.

    An item that a later task trains on looks like backward transfer.
    """
    trained = [{_beginning(text) for row in part.rows() for text in _texts(row)} for part in parts]
    found = {}
    for name, suite in zip(names, suites, strict=True):
        for other, texts in zip(names, trained, strict=False):
            count = sum(_beginning(row["prompt"]) in texts for row in suite.rows() if row["prompt"])
            if count:
                found[f"{name} in {other}"] = count
                logger.warning(
                    "%d items of %r occur in the training data of %r: its scores after that task mislead", count, name, other
                )
    return found


def _score(rows: list[dict[str, Any]]) -> float:
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        sums[row["task"]][0] += row["numerator"]
        sums[row["task"]][1] += row["denominator"]
    sign = -1.0 if rows[0]["metric"] == METRICS["text"] else 1.0
    return sign * sum(above / below for above, below in sums.values()) / len(sums)


def _texts(row: dict[str, Any]) -> Iterator[str]:
    for name in ("text", "prompt", "messages"):
        value = row.get(name)
        if isinstance(value, str):
            yield value
        elif value is not None:
            yield from (message["content"] for message in value if message.get("role") == "user")


def _beginning(text: str) -> str:
    return " ".join(text.split())[:BEGINNING]
