"""A part of a corpus that fits a budget, made of whole groups."""

from __future__ import annotations

import random

from metier.artifacts import Corpus
from metier.method import method

REASON = "not sampled"


@method(claim="cuts a corpus to a budget without cutting its groups apart")
def sample(corpus: Corpus, *, characters: int, by: str | None = "source", seed: int = 0) -> Corpus:
    """The corpus with all documents beyond `characters` marked "not sampled".

    Groups are taken whole in an order drawn from `seed`; one that would exceed the budget is passed over, and smaller ones after
    it may still fit. When not even the first group fits, its documents are taken in their order as far as they do, so that the
    sample is never empty. Documents marked before stay as they are and cost nothing.
    Settings:
        characters: most characters of text to keep; about four make a token of English
        by: column whose equal values form a group; null takes each document for itself
    """
    if characters <= 0:
        raise ValueError(f"characters={characters} keeps nothing: give a positive budget")
    if by is not None and by not in corpus.frame().column_names:
        raise ValueError(f"by={by!r} is no column of the corpus; it has {corpus.frame().column_names}")
    rows = corpus.frame().to_arrow().to_pylist()
    groups: dict[object, list[int]] = {}
    for index, row in enumerate(rows):
        if row.get("drop_reason") is None and row.get("error") is None:
            groups.setdefault(row[by] if by is not None else index, []).append(index)
    kept = _within_budget(list(groups.values()), [len(row["text"] or "") for row in rows], characters, random.Random(seed))
    for index, row in enumerate(rows):
        row.setdefault("drop_reason", None)
        if row["drop_reason"] is None and row.get("error") is None and index not in kept:
            row["drop_reason"] = REASON
    return Corpus.from_rows(rows, corpus.frame().column_names)


def _within_budget(groups: list[list[int]], sizes: list[int], budget: int, generator: random.Random) -> set[int]:
    order = generator.sample(range(len(groups)), len(groups))
    kept: set[int] = set()
    left = budget
    for group in (groups[position] for position in order):
        size = sum(sizes[index] for index in group)
        if size <= left:
            kept.update(group)
            left -= size
    if not kept and order:
        for index in groups[order[0]]:
            if sizes[index] > left:
                break
            kept.add(index)
            left -= sizes[index]
    return kept
