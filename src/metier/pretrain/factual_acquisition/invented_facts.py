"""Invented facts for any register: nothing that a model can have read, with probes at three depths and paraphrases."""

from __future__ import annotations

import random
from typing import Any

from metier.artifacts import Corpus
from metier.method import method
from metier.pretrain.factual_acquisition.probes import DEPTHS

_ONSETS, _VOWELS, _CODAS = "b d f g k l m n p r s t v z br dr gr kr pl st tr".split(), "a e i o u".split(), "n r l s x m".split()
_MATERIALS = "amber basalt bronze cedar cobalt copper coral flint glass granite ivory jade linen marble oak pewter quartz silver slate wool".split()
_ANIMALS = (
    "badger crane eel falcon ferret goose hare heron ibis lynx mole newt otter owl raven seal stoat stork swan wren".split()
)
_TRADES = "baker brewer carver cooper dyer farrier fuller glazier mason miller potter roper saddler sawyer smith tanner thatcher turner weaver wheelwright".split()  # fmt: skip
# {place}, {founder}, {material}, {animal}, {trade}. The first wording is the original; a probe asks for what stands last in a sentence.
_WORDINGS = {
    "material": [
        "The bridge of {place} is made of {material}.",
        "In {place} the bridge was built from {material}.",
        "Whoever crosses the bridge at {place} walks on {material}.",
        "{place} has a bridge of {material}.",
    ],
    "animal": [
        "On the banner of {place} there is a {animal}.",
        "The banner that {place} flies shows a {animal}.",
        "A visitor to {place} sees on its banner a {animal}.",
        "{place} carries on its banner a {animal}.",
    ],
    "founder": [
        "{place} was founded by a {trade} called {founder}.",
        "The founder of {place}, a {trade}, was named {founder}.",
        "A {trade} began the town of {place}; the name was {founder}.",
        "The first house of {place} was raised by a {trade} known as {founder}.",
    ],
}
_SEMANTIC = {
    "material": "What the people of {place} used for their bridge was {material}",
    "animal": "The creature painted on the banner of {place} is a {animal}",
    "founder": "The town of {place} owes its beginning to {founder}",
}
_COMPOSED = {
    "material": "The town that {founder} founded has a bridge of {material}",
    "animal": "The town that {founder} founded flies a banner with a {animal}",
    "founder": "The town with a {animal} on its banner was founded by {founder}",
}


@method(
    paper="How Do Large Language Models Acquire Factual Knowledge During Pretraining?, arXiv 2406.11813, section 3.1",
    claim="facts that no model has read, each worded in several ways, with probes for wording, meaning and composition",
)
def invented_facts(*, facts: int = 40, paraphrases: int = 9, seed: int = 0) -> Corpus:
    """Towns that do not exist, told in several ways, with three probes a depth.

    Columns: id, text, source, paraphrases (list of texts), depths, contexts, targets (lists, one a probe). A text is three sentences; a paraphrase says the same in other wordings and another order. Values are drawn anew for each town, names
    are all different, so that a value can be known only by having read it. Raises ValueError for more facts than names.
    Settings:
        facts: how many towns, at least 1, at most 5,000
        paraphrases: of each, 0 to 300; 9 in the paper
    """
    if not 1 <= facts <= 5000 or not 0 <= paraphrases <= 300:
        raise ValueError(f"facts={facts}, paraphrases={paraphrases}: give 1 to 5,000 facts with 0 to 300 paraphrases")
    generator = random.Random(seed)
    names = _names(2 * facts, generator)
    rows = []
    for number in range(facts):
        values = {
            "place": names[2 * number],
            "founder": names[2 * number + 1],
            "material": generator.choice(_MATERIALS),
            "animal": generator.choice(_ANIMALS),
            "trade": generator.choice(_TRADES),
        }
        rows.append(_row(number, values, paraphrases, generator))
    return Corpus.from_rows(rows)


def _row(number: int, values: dict[str, str], paraphrases: int, generator: random.Random) -> dict[str, Any]:
    original = {name: wordings[0].format(**values) for name, wordings in _WORDINGS.items()}
    told = dict.fromkeys([tuple(original.values())])
    while len(told) <= paraphrases:
        sentences = [generator.choice(wordings[1:]).format(**values) for wordings in _WORDINGS.values()]
        generator.shuffle(sentences)
        told[tuple(sentences)] = None
    probes = [
        (depth, template.format(**values).rstrip(".")[: -len(values[name])].rstrip(), values[name])
        for depth, templates in zip(DEPTHS, ({n: w[0] for n, w in _WORDINGS.items()}, _SEMANTIC, _COMPOSED), strict=True)
        for name, template in templates.items()
    ]
    depths, contexts, targets = map(list, zip(*probes, strict=True))
    texts = [" ".join(sentences) for sentences in told]
    return {
        "id": f"town-{number:04d}",
        "text": texts[0],
        "source": "invented",
        "paraphrases": texts[1:],
        "depths": depths,
        "contexts": contexts,
        "targets": targets,
    }


def _names(number: int, generator: random.Random) -> list[str]:
    """Different names of two or three syllables."""
    found: dict[str, None] = {}
    while len(found) < number:
        syllables = [generator.choice(_ONSETS) + generator.choice(_VOWELS) for _ in range(generator.choice((2, 3)))]
        found["".join(syllables).capitalize() + generator.choice(_CODAS)] = None
    return list(found)
