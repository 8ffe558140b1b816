"""What the models said, side by side: sampled answers, and questions on which the two differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from metier.artifacts import Scores
from metier.report.excerpt import Excerpt

NAMES = {"base": "Base", "candidate": "Specialist"}


@dataclass(frozen=True)
class Answer:
    """What one model said; `right` is None where nothing says so."""

    model: str
    text: Excerpt
    right: bool | None


@dataclass(frozen=True)
class Exchange:
    """One prompt, the right answer where there is one, and an answer a model."""

    task: str
    prompt: Excerpt
    expected: Excerpt | None
    answers: list[Answer]


@dataclass(frozen=True)
class Answers:
    """`num_gained`: questions that only the specialist got right, `num_lost`: that only the base did; `differing` holds some of them."""

    samples: list[Exchange]
    num_samples: int
    differing: list[Exchange]
    num_gained: int
    num_lost: int


@dataclass
class _Item:
    task: str
    kind: str
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)


def answers(scores: Iterable[Scores], most: int) -> Answers:
    """At most `most` sampled answers in their order, and as many questions on which base and specialist differ.

    Of those, gained and lost ones are shown in the proportion in which there are, at least one of each kind that occurs.
    """
    samples: dict[tuple[int, str], _Item] = {}
    questions: dict[tuple[int, str], _Item] = {}
    for index, table in enumerate(scores):
        for row in table.rows():
            if row["kind"] in ("sample", "choice", "generate"):
                items = samples if row["kind"] == "sample" else questions
                item = items.setdefault((index, row["item"]), _Item(row["task"], row["kind"]))
                item.rows.setdefault(row["model"], row)  # an item scored in several ways counts as scored first
    gained = [item for item in questions.values() if _right(item, "candidate") and _right(item, "base") is False]
    lost = [item for item in questions.values() if _right(item, "base") and _right(item, "candidate") is False]
    share = _share(len(gained), len(lost), most)
    shown = [*gained[:share], *lost[: most - share]]
    return Answers(
        samples=[_sampled(item) for item in list(samples.values())[:most]],
        num_samples=len(samples),
        differing=[_asked(item) for item in shown],
        num_gained=len(gained),
        num_lost=len(lost),
    )


def _right(item: _Item, model: str) -> bool | None:
    row = item.rows.get(model)
    return None if row is None or row["numerator"] is None else row["numerator"] > 0


def _share(gained: int, lost: int, most: int) -> int:  # how many of `most` places go to the gained ones
    if gained + lost <= most or not (gained and lost and most):
        return min(gained, most)
    return min(max(1, round(most * gained / (gained + lost))), max(1, most - 1), gained)


def _models(item: _Item) -> Sequence[str]:  # base, specialist, then others by name
    return sorted(item.rows, key=lambda model: (list(NAMES).index(model) if model in NAMES else len(NAMES), model))


def _sampled(item: _Item) -> Exchange:
    first = next(iter(item.rows.values()))
    expected = first.get("answer")
    return Exchange(
        item.task,
        Excerpt.of(first.get("prompt") or "", 500),
        Excerpt.of(expected, 300) if expected else None,
        [Answer(NAMES.get(name, name), Excerpt.of(item.rows[name].get("completion") or "", 300), None) for name in _models(item)],
    )


def _asked(item: _Item) -> Exchange:
    prompt = next(iter(item.rows.values())).get("prompt") or ""
    said = [Answer(NAMES.get(name, name), Excerpt.of(_said(item, name), 300), _right(item, name)) for name in _models(item)]
    return Exchange(item.task, Excerpt.of(prompt, 500), None, said)  # one of the two is the right answer: no need to repeat it


def _said(item: _Item, model: str) -> str:
    row = item.rows[model]
    options, chosen = row.get("options") or [], row.get("chosen")
    if item.kind == "choice" and chosen is not None and 0 <= chosen < len(options):
        return str(options[chosen])
    return row.get("completion") or ""
