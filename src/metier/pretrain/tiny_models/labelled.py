"""A corpus as texts to pretrain on and documents to classify by where they come from, with the names that would give it away left out."""

from __future__ import annotations

import logging
import random
import re
from collections import defaultdict
from typing import Any, NamedTuple

from metier.artifacts import Corpus
from metier.method import method

logger = logging.getLogger(__name__)

Row = dict[str, Any]


class Labelled(NamedTuple):
    """texts: everything else, to pretrain on. train, test: documents with a column `label`."""

    texts: Corpus
    train: Corpus
    test: Corpus


@method(
    paper="Tiny language models, arXiv 2507.14871, section 2 (data sets of so many documents a class)",
    claim="a balanced classification of a corpus by source, disjoint from the texts to pretrain on",
)
def labelled(
    corpus: Corpus,
    *,
    by: str = "source",
    classes: int = 10,
    per_class: tuple[int, int] = (100, 100),
    hidden: tuple[str, ...] = ("source", "module", "name"),
    seed: int = 0,
) -> Labelled:
    """Documents of the largest classes, drawn at random; where a class has fewer than asked, what it has is shared in proportion, and logged.

    Texts to pretrain on keep their names. Raises ValueError for fewer classes than asked, and for one so small that a side would be empty.
    Settings:
        by: the column that names a document's class
        classes: how many, the largest; the paper's sets have 4 to 64
        per_class: documents of each class to train on and to test; the paper's range from 100 and 100 to 1,000 and 1,000
        hidden: columns whose words are taken out of the labelled texts, for they name the class
    """
    if classes < 2 or min(per_class) < 1:
        raise ValueError(
            f"classes={classes}, per_class={per_class}: give 2 or more classes, and a document of each on both sides"
        )
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in corpus.rows():
        if row["text"]:
            groups[str(row[by])].append(row)
    largest = sorted(groups, key=lambda name: (-len(groups[name]), name))[:classes]
    if len(largest) < classes or len(groups[largest[-1]]) < 2:
        raise ValueError(
            f"classes={classes}, but {by!r} has {len(groups)} values, of which some have a single document: ask for fewer"
        )
    sides: tuple[list[Row], list[Row]] = ([], [])
    taken: set[str] = set()
    for name in largest:
        drawn = random.Random(f"{seed} {name}").sample(groups[name], min(sum(per_class), len(groups[name])))
        first = max(1, min(len(drawn) - 1, round(len(drawn) * per_class[0] / sum(per_class))))
        if len(drawn) < sum(per_class):
            logger.info("class %s has %d documents: %d to train on, %d to test", name, len(drawn), first, len(drawn) - first)
        for side, rows in zip(sides, (drawn[:first], drawn[first:]), strict=True):
            side += [{"id": row["id"], "text": _hidden(row, hidden), "source": row["source"], "label": name} for row in rows]
        taken.update(row["id"] for row in drawn)
    texts = [row for rows in groups.values() for row in rows if row["id"] not in taken]
    columns = ["id", "text", "source"]
    return Labelled(Corpus.from_rows(texts, columns=columns), Corpus.from_rows(sides[0]), Corpus.from_rows(sides[1]))


def _hidden(row: Row, columns: tuple[str, ...]) -> str:
    """The text without the words of these columns, whole words of two letters and more, in any case."""
    words = {word for name in columns if name in row for word in re.findall(r"[^\W_]{2,}", str(row[name]))}
    if not words:
        return str(row["text"])
    pattern = "|".join(sorted(map(re.escape, words), key=lambda word: (-len(word), word)))
    return re.sub(rf"(?<![^\W_])(?:{pattern})(?![^\W_])", " ", str(row["text"]), flags=re.IGNORECASE)
