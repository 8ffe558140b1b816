"""Questions made from documents without any model: what has the specialist taken in, and does it carry over?"""

from __future__ import annotations

import heapq
import logging
import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from metier.artifacts import Corpus, Items
from metier.artifacts.comparison import Role
from metier.evaluate.facts import Fact, Row, confusable, continued, described, titled
from metier.evaluate.item import Item, items_table
from metier.method import method

logger = logging.getLogger(__name__)

CLOSEST = 8  # wrong options are drawn from this many candidates of the most similar length
MOST_DOCUMENTS = 20_000  # of a corpus that questions are made of
MOST_LOOKED_AT = 400  # candidates for wrong options in one group

WHERE: dict[Role, str] = {"acquired": "its documents", "held_out": "documents held out"}


@dataclass(frozen=True)
class _Direction:
    """A way to ask for facts: with one side given, the other side is the answer."""

    name: str
    answer: Literal["name", "text"]
    prompt: str


DESCRIBED = (
    _Direction("name from description", "name", "Question: Which of these is described as: {0.text}\nAnswer:"),
    _Direction("description from name", "text", "Question: What is {0.name}?\nAnswer:"),
)
TITLED = (
    _Direction("title from beginning", "name", "Question: Which title has the text that begins: {0.text}\nAnswer:"),
    _Direction("beginning from title", "text", "{0.name}\n\n"),
)
CONTINUED = (_Direction("next sentence", "text", "{0.name}"),)


@method(claim="questions that a model answers better after learning the documents, made without any model")
def corpus_questions(train: Corpus, held_out: Corpus, *, num_questions: int = 250, num_options: int = 4, seed: int = 0) -> Items:
    """Multiple-choice items on training documents (role acquired) and on held-out ones (role held_out), for each direction.

    Where documents have a name and a description (columns `name` and `summary`) there are two directions: which name does this
    description belong to, and which description fits this name. Elsewhere: which title has the text that begins so, how does the
    text of this title begin, and which sentence continues this passage. Wrong options come from the same group (`module` and `kind`, or the
    document that the passage is of), then from the same `source`, then from anywhere, of the most similar length. What would fit two options
    is not asked with both: same names, descriptions that share most words. A description that holds its own name is not asked. Right
    answers stand in each place equally often. Of more than 20,000 documents so many are drawn.
    The log says how many were left out and why. Raises ValueError when no question can be made of either corpus.
    Settings:
        num_questions: most questions for each role and direction; 250, pooled over two directions, shows a gain of about 5 points
        num_options: options of a question; guessing gets 1 / num_options
    """
    if num_options < 2:
        raise ValueError(f"num_options={num_options} makes no choice: give 2 or more")
    if num_questions < 1:
        raise ValueError(f"num_questions={num_questions} asks nothing: give 1 or more")
    parts: dict[Role, list[Row]] = {"acquired": _documents(train, seed), "held_out": _documents(held_out, seed)}
    named = _are_named([row for rows in parts.values() for row in rows], num_options)
    items: list[Item] = []
    for role, rows in parts.items():
        made = [
            item
            for directions, facts in _facts(role, rows, named, num_questions, seed)
            for direction in directions
            for item in _ask(direction, role, facts, num_questions, num_options, seed)
        ]
        if not made:
            logger.warning("no question could be made of the %d documents of role %s", len(rows), role)
        items += made
    if not items:
        raise ValueError(
            f"no question could be made of {len(train)} training and {len(held_out)} held-out documents: they have neither names with "
            f"descriptions nor titles nor passages of a few sentences, or fewer than {num_options} of them that differ"
        )
    return items_table(items)


def _documents(corpus: Corpus, seed: int) -> list[Row]:
    """All rows in order, or MOST_DOCUMENTS of them drawn by the seed, without holding more."""
    generator = random.Random(f"{seed} documents")
    drawn = heapq.nsmallest(MOST_DOCUMENTS, ((generator.random(), number, row) for number, row in enumerate(corpus.rows())))
    return [row for _, _, row in sorted(drawn, key=lambda entry: entry[1])]


def _are_named(rows: Sequence[Row], num_options: int) -> bool:
    return sum(bool(row.get("name") and row.get("summary")) for row in rows) >= max(num_options, len(rows) / 2)


def _facts(role: Role, rows: list[Row], named: bool, count: int, seed: int) -> Iterator[tuple[Sequence[_Direction], list[Fact]]]:
    """What can be asked of the documents, by the directions it can be asked in."""
    if named:
        facts = [fact for row in rows if (fact := described(row)) is not None]
        _report(role, rows, facts, "descriptions that fit and do not hold their name")
        yield DESCRIBED, facts
        return
    facts = [fact for row in rows if (fact := titled(row)) is not None]
    _report(role, rows, facts, "titles that their first sentence does not hold")
    yield TITLED, facts
    most = max(4, math.ceil(4 * count / max(1, len(rows))))  # of a document: some are skipped, and the others give wrong options
    facts = [fact for row in rows for fact in continued(row, most, seed)]
    _report(role, rows, facts, "passages of three sentences")
    yield CONTINUED, facts


def _report(role: Role, rows: Sequence[Row], facts: Sequence[Fact], what: str) -> None:
    holding = len({fact.document for fact in facts})
    logger.info("%s: %d of %d documents have %s", WHERE[role], holding, len(rows), what)


def _ask(direction: _Direction, role: Role, facts: list[Fact], count: int, num_options: int, seed: int) -> Iterator[Item]:
    generator = random.Random(f"{seed} {role} {direction.name}")
    groups: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        for group in dict.fromkeys(fact.groups):
            groups[group].append(fact)
    # Each document is asked once before any is asked twice.
    order = sorted(generator.sample(facts, len(facts)), key=lambda fact: fact.place)
    places: list[int] = []
    skipped = asked = 0
    for fact in order:
        if asked == count:
            break
        pools = [*(groups[group] for group in fact.groups), facts]
        wrong = _wrong_options(fact, pools, direction, num_options - 1, generator)
        if len(wrong) < num_options - 1:
            skipped += 1
            continue
        asked += 1
        places = places or generator.sample(range(num_options), num_options)
        gold = places.pop()
        yield Item(
            id=f"{role}/{direction.name}/{fact.document}/{fact.place}",
            task=f"{direction.name} ({WHERE[role]})",
            role=role,
            kind="choice",
            prompt=direction.prompt.format(fact),
            options=[*wrong[:gold], getattr(fact, direction.answer), *wrong[gold:]],
            gold=gold,
            source=fact.document,
        )
    logger.info("%s (%s): %d questions, %d skipped for lack of wrong options", direction.name, WHERE[role], asked, skipped)


def _wrong_options(
    fact: Fact, pools: Sequence[list[Fact]], direction: _Direction, count: int, generator: random.Random
) -> list[str]:
    """Answers to other facts, of the first pools that have them; fewer than `count` when there are no more."""
    answer = getattr(fact, direction.answer)
    chosen: list[Fact] = []
    for pool in pools:
        looked_at = pool if len(pool) <= MOST_LOOKED_AT else generator.sample(pool, MOST_LOOKED_AT)
        by_length = sorted(
            looked_at, key=lambda other: (abs(len(getattr(other, direction.answer)) - len(answer)), other.document)
        )
        closest = list(islice((other for other in by_length if not confusable(fact, other)), CLOSEST))
        for other in generator.sample(closest, len(closest)):
            if len(chosen) < count and not any(confusable(other, known) for known in chosen):
                chosen.append(other)
        if len(chosen) == count:
            break
    return [getattr(other, direction.answer) for other in chosen]
