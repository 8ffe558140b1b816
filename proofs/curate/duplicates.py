"""curate.duplicates finds what comparing all pairs finds, and candidates are found as often as the formula says.

Contradicted if a document is marked that comparing all pairs would not mark (sets of word 5-grams, no hashing), if more than 2% of the
documents that comparing all pairs at the threshold marks are missed, if any is missed that it marks at a similarity of 0.9, or if, with 14
bands of 8 hashes and no second look, the share of pairs found at some similarity differs from 1 - (1 - s^8)^14 by more than four
standard errors.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict

from metier.artifacts import Corpus
from metier.core.evidence import Check, Evidence, exact
from metier.curate.duplicates import duplicates
from metier.engines.data.minhash import Banding

WORDS = [f"w{number}" for number in range(5000)]
BANDING = Banding(14, 8)
Shingles = set[tuple[str, ...]]


def prove(quick: bool) -> Evidence:
    """Random families of copies with known shares of changed words."""
    checks = [*_all_pairs(150 if quick else 600, 0.8), *_all_pairs(150 if quick else 600, 0.6), _curve(400 if quick else 4000)]
    return exact(
        claim="what is marked is what comparing all pairs marks, but for the pairs that MinHash misses as often as its formula says",
        metric="documents marked wrongly; share missed; standard errors from the formula",
        checks=checks,
        notes="texts of 20 to 300 random words of 5,000; three copies each with 0.2 to 10% of the words changed; for the formula pairs of 200 words",
    )


def _all_pairs(families: int, threshold: float) -> list[Check]:
    generator = random.Random(families)
    texts: list[list[str]] = []
    for _ in range(families):
        original = generator.choices(WORDS, k=generator.randint(20, 300))
        texts += [original, *(_changed(generator, original, generator.choice([0.002, 0.01, 0.03, 0.1])) for _ in range(3))]
    generator.shuffle(texts)
    shingles = [_shingles(text) for text in texts]
    expected, sure = _marked(shingles, threshold), _marked(shingles, max(0.9, threshold))
    found = _found(texts, threshold=threshold)
    return [
        Check(f"threshold {threshold}: documents marked that are no copies", len(found - expected), 0.5),
        Check(f"threshold {threshold}: share of copies missed ({len(expected)})", len(expected - found) / len(expected), 0.02),
        Check(f"threshold {threshold}: copies of similarity 0.9 missed ({len(sure)})", len(sure - found), 0.5),
    ]


def _marked(shingles: list[Shingles], threshold: float) -> set[int]:
    """All but the first of each component of the graph of similar pairs; pairs without a common 5-gram are not similar."""
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    first = list(range(len(shingles)))

    def root(number: int) -> int:
        while first[number] != number:
            number = first[number]
        return number

    for number, own in enumerate(shingles):
        for other in {index for gram in own for index in holders[gram]}:
            if len(own & shingles[other]) >= threshold * len(own | shingles[other]) - 1e-9:
                low, high = sorted((root(number), root(other)))
                first[high] = low
        for gram in own:
            holders[gram].append(number)
    return {number for number in range(len(first)) if first[number] != number}


def _curve(pairs: int) -> Check:
    """The largest distance from the formula, in standard errors, over shares of changed words; each pair at its own similarity."""
    generator = random.Random(pairs)
    worst = 0.0
    for share in (0.01, 0.03, 0.05, 0.08):
        texts, chances = [], []
        for _ in range(pairs):
            original = generator.choices(WORDS, k=200)
            texts += [original, _changed(generator, original, share)]
            one, other = _shingles(texts[-2]), _shingles(texts[-1])
            chances.append(BANDING.found(len(one & other) / len(one | other)))
        found = len(_found(texts, threshold=None, bands=BANDING.bands, rows=BANDING.rows))
        error = math.sqrt(sum(chance * (1 - chance) for chance in chances))
        worst = max(worst, abs(found - sum(chances)) / max(error, 0.5))
    return Check("pairs found by 14 bands of 8: standard errors from the formula", worst, 4.0)


def _found(texts: list[list[str]], **settings: object) -> set[int]:
    corpus = Corpus.from_rows([{"id": str(number), "text": " ".join(text), "source": ""} for number, text in enumerate(texts)])
    rows = duplicates(corpus, **settings).frame().to_pydict()  # type: ignore[arg-type]
    return {int(name) for name, reason in zip(rows["id"], rows["drop_reason"], strict=True) if reason is not None}


def _shingles(words: list[str]) -> Shingles:
    return {tuple(words[start : start + 5]) for start in range(max(1, len(words) - 4))}


def _changed(generator: random.Random, words: list[str], share: float) -> list[str]:
    return [word if generator.random() >= share else generator.choice(WORDS) for word in words]
