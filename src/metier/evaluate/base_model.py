"""Scores of base models that move smoothly in training and rank models as their tuned versions will rank."""

from __future__ import annotations

import gc
import logging
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, TypeAlias

from metier.artifacts import Items, Model
from metier.engines.generate.open import open_language_model
from metier.engines.stats.trust import Trust, trust
from metier.evaluate.item import Item, in_full, items_table
from metier.evaluate.measure import Norm, measure, normalised, option_values
from metier.evaluate.task import letters
from metier.method import method
from metier.models.precision import Precision
from metier.progress import task

logger = logging.getLogger(__name__)

Form: TypeAlias = Literal["blank", "options", "letters", "light"]
Span: TypeAlias = Literal["option", "tail"]
Row: TypeAlias = dict[str, Any]

FORMS: dict[str, tuple[Form, ...]] = {"choice": ("blank", "options", "letters"), "generate": ("light",)}
AIMS: tuple[Form, ...] = ("letters", "light")  # how tuned models are asked: a task has one of them
INSTRUCTION = "Answer the question. Give the answer alone."
# A gap in a question: a run of underscores (or a single one that stands alone), or empty brackets.
BLANK = re.compile(r"_{2,}|(?<!\S)_(?!\S)|\(\s+\)|\[\s*\]")
SHARED = re.compile(
    r"\b(all|none|both|neither|any|either) of (the )?(above|these|them)\b|\b(both|neither)\b.*\b(and|nor)\b", re.IGNORECASE
)
FRAME = re.compile(r"\A(?:Question: )?(?P<stem>.*?)(?:\nAnswer:)?\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Reading:
    """One model on one task in one form.

    accuracy: share of right answers, with error sqrt(p (1 - p) / n); margin: mean of (best wrong option's score less the right one's) in the
    units of the norm, positive where it is right; gold_probability: mean softmax of the scores at the right option; both None for free
    answers. unparsed: share of free answers in which no answer was found.
    """

    model: str
    task: str
    form: Form
    num_items: int
    accuracy: float
    error: float
    margin: float | None
    gold_probability: float | None
    unparsed: float


@dataclass(frozen=True)
class BaseReadings:
    """readings of every model; trust: what each task and form is worth for following the run; left_out: items by reason, of each task."""

    readings: list[Reading]
    trust: list[Trust]
    left_out: dict[str, dict[str, int]]


@method(
    paper="Toward Stable and Consistent Evaluation Results: A New Methodology for Base Model Evaluation, arXiv 2503.00812 (abstract only)",
    claim="a question put as a gap to fill moves with training where letters of options only jitter",
)
def base_model(
    series: list[Model],
    items: list[Items],
    practice: list[Items] | None = None,
    bases: list[Model] | None = None,
    tuned: list[Model] | None = None,
    *,
    steps: list[float] | None = None,
    shots: int = 0,
    span: Span = "option",
    norm: Norm = "bytes",
    instruction: str = INSTRUCTION,
    min_stability: float = 0.7,
    min_consistency: float = 0.6,
    dtype: Precision = "auto",
    seed: int = 0,
) -> BaseReadings:
    """The scores of the checkpoints of one run, in every form that a task can be put in, and which of them to watch.

    blank: the option's text stands in the question's gap, or after the question; no list of options is shown. options: the list is shown,
    the text scored; letters: the list is shown, the letter scored. light: free answers, each worked example with its own short instruction,
    greedy, cut where the next example would begin. Options that no gap can hold ("all of the above"), equal options, and options that begin
    another are left out of all forms and counted. `bases` and `tuned` (its version after post-training, in the same order) give consistency;
    tuned models are asked in letters (free answers: light), whatever the form of the base.
    Only the abstract of the paper was at hand; connector, normaliser and thresholds are ours.
    Raises ValueError for fewer than 4 checkpoints, steps that do not rise, and a task without items left.
    Settings:
        steps: of the checkpoints, rising; null counts them
        shots: worked examples, drawn from `practice` by task; 5 is usual for free answers
        span: what is scored where the gap is inside the question: the option, or the option and all that follows it
        norm: what an option's log-probability is divided by, or less: bytes (comparable across tokenizers), tokens, unconditional, none
        instruction: the short sentence of the light form
        min_stability: least tau-b of step and score for a task to be kept; ours, not the paper's
        min_consistency: least tau-b of base and tuned scores; ours
        dtype: precision of the computation; auto is bfloat16 where the processor is fast at it, else float32
    """
    counted = [float(number) for number in range(1, len(series) + 1)] if steps is None else steps
    if len(counted) != len(series) or len(series) < 4:
        raise ValueError(
            f"{len(series)} checkpoints and {len(counted)} steps: give four checkpoints or more, and a step for each"
        )
    pairs = list(zip(bases or [], tuned or [], strict=True)) if len(bases or []) == len(tuned or []) else None
    if pairs is None:
        raise ValueError(f"{len(bases or [])} bases and {len(tuned or [])} tuned models: they are pairs, in one order")
    left_out: dict[str, dict[str, int]] = {}
    asked = asked_items(items, practice or [], shots, span, instruction, seed, left_out)
    with task("scoring", total=len(series) + 2 * len(pairs), unit="model") as progress:

        def read(models: Sequence[Model], forms: dict[tuple[str, Form], list[Item]]) -> list[list[Reading]]:
            found = []
            for model in models:
                found.append(_readings(model, forms, norm, dtype))
                progress.advance()
            return found

        aims = {key: part for key, part in asked.items() if key[1] in AIMS}
        run, before, after = read(series, asked), read([base for base, _ in pairs], asked), read([end for _, end in pairs], aims)
    verdicts = []
    for place, reading in enumerate(run[0]):
        column = [readings[place] for readings in run]
        ends = [next(one for one in part if one.task == reading.task) for part in after]
        verdicts.append(
            trust(
                f"{reading.task}, {reading.form}",
                counted,
                [one.accuracy for one in column],
                errors=[one.error for one in column],
                pairs=[(part[place].accuracy, end.accuracy) for part, end in zip(before, ends, strict=True)],
                min_stability=min_stability,
                min_consistency=min_consistency,
                seed=seed,
            )
        )
    return BaseReadings(list(chain.from_iterable([*run, *before, *after])), verdicts, left_out)


def asked_items(
    items: Sequence[Items],
    practice: Sequence[Items],
    shots: int,
    span: Span,
    instruction: str,
    seed: int,
    left_out: dict[str, dict[str, int]] | None = None,
) -> dict[tuple[str, Form], list[Item]]:
    """Every task in each of its forms, as items ready to be measured. `left_out` is filled with counts by task and reason."""
    tasks, shown = _by_task(items), _by_task(practice)
    found: dict[tuple[str, Form], list[Item]] = {}
    for name, rows in tasks.items():
        reasons = Counter(reason for row in rows if (reason := unfit(row)) is not None)
        kept = [row for row in rows if unfit(row) is None]
        if left_out is not None and reasons:
            left_out[name] = dict(reasons)
        if not kept:
            raise ValueError(f"task {name!r}: none of its {len(rows)} items is left: {dict(reasons)}")
        pool = [row for row in shown.get(name, []) if unfit(row) is None]
        if len(pool) < shots:
            raise ValueError(f"task {name!r}: {len(pool)} practice questions are too few for {shots} worked examples")
        drawn = random.Random(f"{seed} {name}").sample(pool, shots)
        for form in FORMS[kept[0]["kind"]]:
            examples = "".join(f"{_worked(row, form, instruction)}\n\n" for row in drawn)
            found[name, form] = [_item(row, form, examples, span, instruction) for row in kept]
    return found


def unfit(row: Row) -> str | None:
    """Why an item can't be put as a gap to fill; None where it can."""
    if row["kind"] == "generate":
        return None
    options = [normalised(option) for option in row["options"]]
    if any(SHARED.search(option) for option in row["options"]):
        return "an option speaks of the others"
    if len(set(options)) < len(options):
        return "two options are equal"
    if any(one != other and other.startswith(one) for one in options for other in options):
        return "an option begins another"
    return None


def filled(stem: str, option: str, span: Span) -> tuple[str, str]:
    """What the model reads before what is scored, and what is scored, with the option in the stem's gap or after it."""
    gap = BLANK.search(stem)
    if gap is None or not stem[: gap.start()].strip():  # what begins with its gap gives the model nothing to read before it
        return f"{stem}\nAnswer:", f" {option}"
    tail = stem[gap.end() :] if span == "tail" else ""
    return stem[: gap.start()], f"{option}{tail}"


def _by_task(tables: Sequence[Items]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in chain.from_iterable(in_full(table).to_pylist() for table in tables):
        if row["kind"] not in FORMS or not row["prompt"]:
            raise ValueError(
                f"item {row['id']!r} of task {row['task']!r} is no question (kind {row['kind']}): leave the task out"
            )
        found[row["task"]].append(row)
    return dict(found)


def _stem(row: Row) -> str:
    found = FRAME.match(row["prompt"])
    assert found is not None  # it matches every text
    return found["stem"].strip()


def _listed(row: Row) -> str:
    return f"{_stem(row)}\n" + "\n".join(
        f"{letter}. {text}" for letter, text in zip(letters(len(row["options"])), row["options"], strict=True)
    )


def _worked(row: Row, form: Form, instruction: str) -> str:
    if form == "light":
        return f"{instruction}\n{_stem(row)}\nAnswer: {row['answer']}"
    if form == "blank":
        gap = BLANK.search(_stem(row))
        right = row["options"][row["gold"]]
        return _stem(row)[: gap.start()] + right + _stem(row)[gap.end() :] if gap else f"{_stem(row)}\nAnswer: {right}"
    answer = row["options"][row["gold"]] if form == "options" else letters(len(row["options"]))[row["gold"]]
    return f"{_listed(row)}\nAnswer: {answer}"


def _item(row: Row, form: Form, examples: str, span: Span, instruction: str) -> Item:
    if form == "light":
        prompt = f"{examples}{instruction}\n{_stem(row)}\nAnswer:"
        changes: Row = {
            "prompt": prompt,
            "stop": ["\n\n", instruction],
            "max_new_tokens": row["max_new_tokens"] or 64,
            "chat": False,
        }
    elif form == "blank":
        parts = [filled(_stem(row), option, span) for option in row["options"]]
        changes = {"prompt": examples + parts[0][0], "options": [after.removeprefix(" ") for _, after in parts]}
    else:
        options = row["options"] if form == "options" else letters(len(row["options"]))
        changes = {"prompt": f"{examples}{_listed(row)}\nAnswer:", "options": options}
    return Item(**(row | changes))


def _readings(model: Model, asked: dict[tuple[str, Form], list[Item]], norm: Norm, dtype: Precision) -> list[Reading]:
    opened = open_language_model(model, dtype=dtype)
    name = str(model.path)
    found = [
        reading(name, form, list(measure(opened, items_table(part), norm=norm).rows()), norm) for (_, form), part in asked.items()
    ]
    del opened
    gc.collect()  # cycles hold what a process loads first: without this two networks would be in memory
    return found


def reading(model: str, form: Form, rows: Sequence[Row], norm: Norm) -> Reading:
    """The reading of one task's score rows."""
    accuracy = sum(row["numerator"] for row in rows) / len(rows)
    margins, probabilities = [], []
    for row in rows if form != "light" else ():
        values = option_values(row, norm)
        gold = values.pop(row["gold"])
        margins.append(gold - max(values))
        probabilities.append(1 / (1 + sum(math.exp(value - gold) for value in values)))
    return Reading(
        model=model,
        task=rows[0]["task"],
        form=form,
        num_items=len(rows),
        accuracy=accuracy,
        error=math.sqrt(accuracy * (1 - accuracy) / len(rows)),
        margin=sum(margins) / len(margins) if margins else None,
        gold_probability=sum(probabilities) / len(probabilities) if probabilities else None,
        unparsed=sum(row["kind"] == "generate" and not (row["extracted"] or "").strip() for row in rows) / len(rows),
    )
