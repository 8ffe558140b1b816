"""bioS: biographies of people who do not exist, in a chosen number of wordings and orders, with questions about them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from metier.artifacts import Corpus, Examples, Items, Table
from metier.method import method
from metier.pretrain.knowledge_storage.people import (
    ATTRIBUTES,
    QUESTIONS,
    TEMPLATES,
    Person,
    draw,
    made_values,
    read_values,
    sentence,
)

_FORM = re.compile(r"(single|multi(\d+))(\+permute(\d*))?(\+couple)?(\+fullname)?")
COUPLES = (("birth_date", "birth_city"), ("university", "major"), ("employer", "company_city"))


@dataclass(frozen=True)
class Augmentation:
    """entries: drawings of templates; orders: shuffles of each (0: the fixed order); couple: shuffled in fixed pairs; fullname: the
    name in every sentence instead of a pronoun"""

    entries: int
    orders: int
    couple: bool
    fullname: bool

    @classmethod
    def of(cls, name: str) -> Self:
        """From a name such as multi5+permute. Raises ValueError for another form."""
        found = _FORM.fullmatch(name)
        if found is None:
            raise ValueError(
                f"augmentation={name!r} is unknown: give single or multiM, then +permute (or single+permuteP), +couple, +fullname, in this order"
            )
        entries, orders = int(found[2] or 1), int(found[4] or 1) if found[3] else 0
        if entries < 1 or (found[3] and orders < 1):
            raise ValueError(f"augmentation={name!r} makes no entry: give numbers of 1 or more")
        if orders > 1 and found[1] != "single":
            raise ValueError(f"augmentation={name!r}: each entry of multi is shuffled once; give {found[1]}+permute")
        if found[5] and found[3]:
            raise ValueError(f"augmentation={name!r} shuffles sentences, and pairs of them: give permute or couple")
        return cls(entries, orders, found[5] is not None, found[6] is not None)


class Biographies(NamedTuple):
    """corpus: id, text, source (biography or celebrity), entity, starts (where each value begins, by ATTRIBUTES). facts: entity,
    attribute, value. questions: prompt, completion, entity, attribute of the people of the training half; examination: those of the
    others, to be asked."""

    corpus: Corpus
    facts: Table
    questions: Examples
    examination: Items


@method(
    paper="Physics of Language Models: Part 3.1, Knowledge Storage and Extraction, arXiv 2309.14316, section 2",
    claim="every entry holds all six values of one person, in the wordings and orders asked for",
)
def biographies(
    *,
    people: int = 1000,
    augmentation: str = "multi5+permute",
    celebrities: int = 0,
    values: Path | None = None,
    trained_share: float = 0.5,
    seed: int = 0,
) -> Biographies:
    """Biographies with six attributes each, of which company_city follows from employer; and six questions about each person.

    The first sentence has the full name, the others a pronoun. Templates are our own: 49 an attribute (the paper has 46 to 52), of seven
    verbs in seven frames; names and values are made of syllables unless `values` brings lists. As in the paper and unlike its published
    generator, the pronoun is drawn for each person and employer comes before company_city. Celebrities are further people with
    multi5+permute, source celebrity; they are not asked about. Raises ValueError for settings out of range.
    Settings:
        people: how many; the paper's 100,000; probing needs many more than there are values
        augmentation: single, multiM (M entries, templates drawn anew), with +permute (shuffled), single+permuteP (P shuffles), +couple
            (pairs shuffled), +fullname
        celebrities: how many people more, with multi5+permute
        values: folder with the authors' lists (first_name.txt, ... company.txt); null for made ones
        trained_share: of the people whose questions are for training, between 0 and 1; the paper's half
    """
    form = Augmentation.of(augmentation)
    if not 0 < trained_share < 1 or celebrities < 0:
        raise ValueError(f"trained_share={trained_share}, celebrities={celebrities}: give a share between 0 and 1, and 0 or more")
    generator = random.Random(seed)
    everyone = draw(read_values(values) if values is not None else made_values(seed), people + celebrities, generator)
    asked, famous = everyone[:people], everyone[people:]
    rows = list(_entries(asked, form, "biography", generator))
    rows += _entries(famous, Augmentation.of("multi5+permute"), "celebrity", generator)
    facts = [
        {"entity": person.name, "attribute": name, "value": person.values[name]} for person in everyone for name in ATTRIBUTES
    ]
    number = round(trained_share * people)
    questions = [{"prompt": q, "completion": f" {a}", "entity": e, "attribute": n} for e, n, q, a in _questions(asked[:number])]
    return Biographies(
        Corpus.from_rows(rows),
        Table.from_rows(facts),
        Examples.from_rows(questions, columns=["prompt", "completion", "entity", "attribute"]),
        Items.from_rows([_item(*parts) for parts in _questions(asked[number:])]),
    )


def _entries(people: Sequence[Person], form: Augmentation, source: str, generator: random.Random) -> Iterator[dict[str, Any]]:
    for number, person in enumerate(people):
        for entry in range(form.entries):
            drawn = {name: generator.choice(TEMPLATES[name]) for name in ATTRIBUTES}
            for order in range(max(1, form.orders)):
                names = _order(form, generator)
                text, starts = _told(person, names, drawn, form.fullname)
                yield {
                    "id": f"{source}-{number}-{entry}-{order}",
                    "text": text,
                    "source": source,
                    "entity": person.name,
                    "starts": [starts[name] for name in ATTRIBUTES],
                }


def _order(form: Augmentation, generator: random.Random) -> list[str]:
    if form.couple:
        return [name for pair in generator.sample(COUPLES, len(COUPLES)) for name in pair]
    return generator.sample(ATTRIBUTES, len(ATTRIBUTES)) if form.orders else list(ATTRIBUTES)


def _told(person: Person, order: Sequence[str], drawn: dict[str, tuple[str, str]], fullname: bool) -> tuple[str, dict[str, int]]:
    text, starts = "", {}
    for name in order:
        subject = person.name if fullname or not text else person.pronoun
        told, at = sentence(name, drawn[name], subject, person.values[name])
        text += " " if text else ""
        starts[name] = len(text) + at
        text += told
    return text, starts


def _questions(people: Sequence[Person]) -> Iterator[tuple[str, str, str, str]]:
    """Name, attribute, question, answer."""
    for person in people:
        for name in ATTRIBUTES:
            yield person.name, name, f"{QUESTIONS[name].format(name=person.name)} Answer:", person.values[name]


def _item(entity: str, attribute: str, question: str, answer: str) -> dict[str, Any]:
    return {
        "id": f"{entity}: {attribute}",
        "task": attribute,
        "role": "acquired",
        "kind": "generate",
        "prompt": question,
        "options": None,
        "gold": None,
        "answer": answer,
        "chat": False,
        "source": entity,
        "stop": ["\n"],
    }
