"""Texts never trained on, for bits per byte."""

from __future__ import annotations

import random

from metier.artifacts import Corpus, Items
from metier.evaluate.item import Item, items_table
from metier.method import method


@method(claim="measures a model on texts of the domain that it never saw, comparably across tokenizers")
def held_out_text(corpus: Corpus, *, characters: int = 60_000, longest: int = 3000, seed: int = 0) -> Items:
    """Documents drawn from the corpus as texts whose bits per byte are measured (role held_out).

    Drawn in an order of the seed until the budget is used up, so that the same documents come again for the same seed; a document longer
    than `longest` is cut there. Raises ValueError for a corpus without text.
    Settings:
        characters: of all texts together
        longest: of one text; about 700 tokens at 3000
    """
    if characters < 1 or longest < 1:
        raise ValueError(f"characters={characters}, longest={longest}: both must be positive")
    rows = [row for row in corpus.rows() if row["text"].strip()]
    if not rows:
        raise ValueError("the held-out corpus holds no text: hold more out in data.split")
    items, left = [], characters
    for row in random.Random(seed).sample(rows, len(rows)):
        text = row["text"][: min(longest, left)]
        items.append(Item(f"text/{row['id']}", "held-out text", "held_out", "text", text, source=row["id"]))
        left -= len(text)
        if left <= 0:
            break
    return items_table(items)
