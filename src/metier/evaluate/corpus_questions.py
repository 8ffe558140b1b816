"""Questions made from documents without any model: what has the specialist taken in, and does it carry over?"""

from __future__ import annotations

import logging
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from metier.artifacts import Corpus, Items
from metier.artifacts.comparison import Role
from metier.evaluate.item import Item, items_table
from metier.method import method

logger = logging.getLogger(__name__)

NAME = "name from description"
DESCRIPTION = "description from name"
SENTENCE = "next sentence"
CLOSEST = 8  # wrong options are drawn from this many candidates of the most similar length
ALIKE = 0.6  # share of common words from which two options would both be right
SHORTEST, LONGEST = 15, 300  # characters of a description or a sentence


@dataclass(frozen=True)
class _Fact:
    """A question in the making: `cue` asks, `answer` is right; other facts' answers of the same group are the wrong options."""

    document: str
    group: str
    cue: str
    answer: str
    passage: str = ""


@method(claim="questions that a model answers better after learning the documents, made without any model")
def corpus_questions(train: Corpus, held_out: Corpus, *, num_questions: int = 250, num_options: int = 4, seed: int = 0) -> Items:
    """Multiple-choice items on training documents (role acquired) and on held-out ones (role held_out), for each direction.

    Where documents have a name and a description (columns `name` and `summary`, or a title line before the text), two directions: which
    name does this description belong to, and which description fits this name. Elsewhere: which sentence continues this passage. Wrong
    options come from the same group (`source`), of the most similar length; a description that holds its own name is not asked, options
    that share most of their words never stand together, and right answers are spread evenly over the places. A document is asked at most once
    a direction. Raises ValueError when no question can be made of either corpus.
    Settings:
        num_questions: most questions for each role and direction; 250, pooled over two directions, shows a gain of about 5 points
        num_options: options of a question; guessing gets 1 / num_options
    """
    if num_options < 2:
        raise ValueError(f"num_options={num_options} makes no choice: give 2 or more")
    items: list[Item] = []
    parts: tuple[tuple[Role, Corpus], ...] = (("acquired", train), ("held_out", held_out))
    for role, corpus in parts:
        made = list(_questions(role, list(corpus.rows()), num_questions, num_options, seed))
        if not made:
            logger.warning("no questions could be made of the %d %s documents", len(corpus), role)
        items += made
    if not items:
        raise ValueError(
            f"no question could be made of {len(train)} training and {len(held_out)} held-out documents: they have neither names with "
            f"descriptions nor passages of a few sentences, or fewer than {num_options} of them"
        )
    return items_table(items)


def _questions(role: Role, rows: list[dict[str, Any]], count: int, num_options: int, seed: int) -> Iterator[Item]:
    clear = [fact for row in rows if (fact := _named(row)) is not None and not _gives_away(fact)]
    if len(clear) >= max(num_options, len(rows) // 4):
        reverse = [_Fact(fact.document, fact.group, fact.answer, fact.cue) for fact in clear]
        yield from _ask(NAME, role, reverse, count, num_options, seed, "Question: Which of these is described as: {cue}\nAnswer:")
        yield from _ask(DESCRIPTION, role, clear, count, num_options, seed, "Question: What is {cue}?\nAnswer:")
    else:
        sentences = [fact for row in rows for fact in _continuations(row)]
        yield from _ask(SENTENCE, role, sentences, count, num_options, seed, "{cue}")


def _ask(
    direction: str, role: Role, facts: list[_Fact], count: int, num_options: int, seed: int, template: str
) -> Iterator[Item]:
    generator = random.Random(f"{seed} {role} {direction}")
    by_group: dict[str, list[_Fact]] = defaultdict(list)
    for fact in facts:
        by_group[fact.group].append(fact)
    where = {"acquired": "its documents", "held_out": "documents held out"}[role]
    asked: set[str] = set()
    gold = 0
    for fact in generator.sample(facts, len(facts)):
        if len(asked) >= count:
            return
        wrong = _wrong_options(fact, by_group[fact.group], facts, num_options - 1, generator)
        if fact.document in asked or len(wrong) < num_options - 1:
            continue
        asked.add(fact.document)
        gold = (
            (gold + 1 + generator.randrange(num_options)) % num_options
            if len(asked) % num_options == 0
            else (gold + 1) % num_options
        )
        options = [*wrong[:gold], fact.answer, *wrong[gold:]]
        yield Item(
            id=f"{role}/{direction}/{fact.document}",
            task=f"{direction} ({where})",
            role=role,
            kind="choice",
            prompt=template.format(cue=fact.cue),
            options=options,
            gold=gold,
            source=fact.document,
        )


def _wrong_options(
    fact: _Fact, near: Sequence[_Fact], everywhere: Sequence[_Fact], count: int, generator: random.Random
) -> list[str]:
    """Answers of other facts, from the same group first, unlike the right one and each other; fewer than `count` when there are none."""
    chosen: list[str] = []
    for pool in (near, everywhere):
        if len(chosen) == count:
            break
        candidates = [other.answer for other in pool if other.document != fact.document or other.passage != fact.passage]
        if pool is everywhere and len(candidates) > 200:
            candidates = generator.sample(candidates, 200)
        candidates = sorted(set(candidates) - {fact.answer}, key=lambda answer: (abs(len(answer) - len(fact.answer)), answer))
        closest = [answer for answer in candidates if not _alike(answer, fact.answer)][:CLOSEST]
        for answer in generator.sample(closest, len(closest)):
            if len(chosen) < count and not any(_alike(answer, other) for other in chosen):
                chosen.append(answer)
    return chosen


def _named(row: dict[str, Any]) -> _Fact | None:
    """The document's name and description: its columns, or a title line and the first sentence below it."""
    name, summary = row.get("name"), row.get("summary")
    if not (name and summary):
        title, _, rest = row["text"].strip().partition("\n")
        name, summary = title.strip("# \t="), next(iter(_sentences(rest)), "")
        if len(name) > 80 or name.endswith((".", "!", "?")) or not rest.strip():
            return None
    summary = " ".join(str(summary).split())
    if not SHORTEST <= len(summary) <= LONGEST or not 2 <= len(name) <= 120:
        return None
    return _Fact(row["id"], row["source"], str(name), summary)


def _gives_away(fact: _Fact) -> bool:  # the description holds the last part of the name: "copy.copy", "Return a copy"
    last = re.split(r"[\s.]", fact.cue)[-1].strip("_").casefold()
    return last in fact.answer.casefold() or fact.cue.casefold() in fact.answer.casefold()


def _continuations(row: dict[str, Any]) -> Iterator[_Fact]:
    """Passages of two sentences with the one that follows, at distances that leave other sentences for wrong options."""
    sentences = _sentences(row["text"])
    for start in range(0, len(sentences) - 2, 3):
        passage, answer = " ".join(sentences[start : start + 2]), sentences[start + 2]
        if SHORTEST <= len(answer) <= LONGEST:
            yield _Fact(row["id"], row["source"], passage, answer, passage)


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n\s*\n", text) if part.strip()]


def _alike(a: str, b: str) -> bool:
    """Whether two options say nearly the same: most words of the shorter stand in the longer."""
    if re.fullmatch(r"[\w.]+", a) and re.fullmatch(r"[\w.]+", b):  # names such as json.dump and json.dumps differ, however alike
        return a == b
    words = [Counter(re.findall(r"\w+", text.casefold())) for text in (a, b)]
    return (words[0] & words[1]).total() > ALIKE * min(words[0].total(), words[1].total())
