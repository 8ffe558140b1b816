"""curate.decontaminate finds every planted question and marks no document that shares fewer words.

Contradicted if a document into which 13 or more words in a row of a long question, or all words of a short one, were written is not marked with that
question's id; if one with 12 words in a row, or all but the last word of a short question, is marked; or if the counts by item are not
those of what was planted.
"""

from __future__ import annotations

import random
from collections import Counter

from metier.artifacts import Corpus, Items
from metier.core.evidence import Check, Evidence, exact
from metier.curate.decontaminate import decontaminate

WORDS = [f"w{number}" for number in range(20_000)]


def prove(quick: bool) -> Evidence:
    """Documents of 300 random words with runs of questions of 5 to 60 words planted, in other case and punctuation."""
    generator = random.Random(0)
    questions = [
        generator.choices(WORDS, k=generator.choice([5, 6, 8, 12, 13, 14, 20, 60])) for _ in range(200 if quick else 2000)
    ]
    texts, expected = [], []
    for _ in range(1000 if quick else 20_000):
        words = generator.choices(WORDS, k=300)
        planted: list[str] = []
        if generator.random() < 0.3:
            number = generator.randrange(len(questions))
            question = questions[number]
            least = min(13, len(question))
            length = generator.choice([least - 1, least, len(question)])
            start = generator.randint(0, len(question) - length)
            place = generator.randint(0, 300)
            words[place:place] = [word.upper() + generator.choice(["", ",", " -"]) for word in question[start : start + length]]
            planted = [f"q{number}"] if length >= least else []
        texts.append(" ".join(words))
        expected.append(planted)
    found = decontaminate(_corpus(texts), [_items(questions)])
    rows, items = found.corpus.frame().to_pydict(), found.items.frame().to_pydict()
    marked = rows["contaminated_by"]
    counts = Counter(name for names in expected for name in names)
    return exact(
        claim="a document is marked with a question's id where it holds 13 words in a row of it, or all of a shorter one",
        metric="documents or items that differ",
        checks=[
            Check(
                "documents not marked with what was planted",
                sum(not set(a) <= set(b) for a, b in zip(expected, marked, strict=True)),
                0.5,
            ),
            Check(
                "documents marked with what was not planted",
                sum(not set(b) <= set(a) for a, b in zip(expected, marked, strict=True)),
                0.5,
            ),
            Check(
                "items with wrong counts",
                sum(counts[name] != n for name, n in zip(items["id"], items["num_documents"], strict=True)),
                0.5,
            ),
        ],
        notes=f"{len(texts)} documents, {len(questions)} questions, {sum(map(bool, expected))} planted; chance runs of 5 of 20,000 words don't occur",
    )


def _corpus(texts: list[str]) -> Corpus:
    return Corpus.from_rows([{"id": f"d{number}", "text": text, "source": ""} for number, text in enumerate(texts)])


def _items(questions: list[list[str]]) -> Items:
    rest = {
        "task": "t",
        "role": "general",
        "kind": "generate",
        "options": [],
        "gold": None,
        "answer": "",
        "chat": False,
        "source": "",
    }
    return Items.from_rows([{"id": f"q{number}", "prompt": " ".join(words)} | rest for number, words in enumerate(questions)])
