"""How toxic a corpus is where it speaks of groups of people, and how much less than another one, with intervals."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from metier.artifacts import Corpus, Table
from metier.curate.beancounter.descriptors import DESCRIPTORS, finder_of
from metier.curate.beancounter.effects import Scored, effect_rows
from metier.curate.beancounter.mentions import Found, collect
from metier.curate.beancounter.scorers import open_scorer, score_all
from metier.method import method
from metier.models.language_model import LanguageModel

logger = logging.getLogger(__name__)


class Toxicity(NamedTuple):
    """What was measured.

    groups: a row a descriptor, an axis and one for all: level, axis, descriptor, num_sentences (distinct), num_scored, num_filings (of
        the scored ones), mean (of scores, 0 to 1), low, high, and where there is a reference the same of it (reference_...), change
        (mean / reference_mean - 1), change_low, change_high, p, p_holm (over descriptors), welch_p (as the paper's, which takes
        sentences for independent); null where nothing can be said
    prevalence: axis, descriptor (null for any of the axis; kinds of pronouns for the axis "pronouns"), num_filings, of (filings), share,
        low, high: of an axis among all filings, of a descriptor among those with one of its axis
    sentences: side (corpus or reference), axis, descriptor, filing, text, score
    """

    groups: Table
    prevalence: Table
    sentences: Table


def fingerprint(*, scorer: str | Callable[..., Any] | None = None, **settings: Any) -> str:
    """Of the scorer's files: name, size and time of those in a model's folder, the source of a function's module."""
    digest = hashlib.sha256()
    if isinstance(scorer, str) and Path(scorer).is_dir():
        for file in sorted(Path(scorer).rglob("*")):
            digest.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}\n".encode())
    elif isinstance(scorer, str) and ":" in scorer and "//" not in scorer:
        found = importlib.util.find_spec(scorer.partition(":")[0])
        if found is not None and found.origin is not None and Path(found.origin).is_file():
            digest.update(Path(found.origin).read_bytes())
    return digest.hexdigest()[:32]


@method(
    paper="BeanCounter, arXiv 2409.17827, section 4",
    claim="intervals of toxicity by group that hold where sentences of one filing are alike; tests of single sentences do not",
    fingerprint=fingerprint,
)
def toxicity(
    corpus: Corpus,
    reference: Corpus | None = None,
    judge: LanguageModel | None = None,
    *,
    scorer: str | Callable[[list[str]], list[float]] | None = None,
    label: str | None = None,
    descriptors: dict[str, list[str]] | None = None,
    per_descriptor: int = 10_000,
    seed: int = 0,
) -> Toxicity:
    """The toxicity of the sentences that name a group, by descriptor, by axis and together, against `reference` where there is one.

    A sentence (of a line; its end as engines/data/exercises.py finds it) counts once however often it occurs, under the longest
    descriptor in it; those beyond 20 kB are passed over. Of the reference, as many sentences a descriptor are scored as of the corpus,
    or all where it has fewer (the paper then draws some again, which adds noise and no knowledge); means of an axis and of all weigh
    its descriptors as they are in the corpus, so that a corpus doesn't seem milder for speaking of other groups. Descriptors that one
    side lacks are in no comparison.

    Intervals (95%) draw filings with replacement, 2000 times, with percentiles moved out for few filings; below five filings there is
    none. p is Welch's t on filings' sums (cluster-robust), p_holm corrected over the descriptors; the paper tests single sentences, as
    though those of one filing were independent. A filing has one `accession`, where there is that column, else it is a document.
    The measurement is as good as its scorer: none is built in.
    Raises ValueError for no scorer or two, scores outside 0 to 1, and a corpus without any descriptor.
    Settings:
        scorer: function from a list of texts to numbers in 0 to 1, package.module:function, the folder of a text-classification model, or
            hf://NAME; null asks `judge`
        label: the classifier's label that means toxic; null takes the one called toxic or toxicity, or the only one
        descriptors: axis -> words; null takes the built-in list of five axes
        per_descriptor: most sentences of a descriptor to score, drawn at random; 10000 is ours, the paper scores all
    """
    if per_descriptor < 1:
        raise ValueError(f"per_descriptor={per_descriptor} scores nothing: give a positive number, such as 10000")
    finder = finder_of(descriptors if descriptors is not None else DESCRIPTORS)
    scoring = open_scorer(scorer, judge, label)
    ours = collect(corpus, finder, per_descriptor, seed)
    if not ours.num_sentences:
        raise ValueError("no sentence of the corpus names a group: give other descriptors, or another corpus")
    theirs = None
    if reference is not None:
        theirs = collect(reference, finder, {name: len(found) for name, found in ours.mentions.items()}, seed)
        absent = sorted(set(ours.mentions) - {name for name, found in theirs.mentions.items() if found})
        if absent:
            logger.warning("the reference has no sentence with %s: no comparison is made of these", ", ".join(absent))
    sides = {"corpus": ours} | ({"reference": theirs} if theirs is not None else {})
    rows = [row for side, found in sides.items() for row in _sentence_rows(side, found, finder.axes)]
    for row, score in zip(rows, score_all(scoring, [row["text"] for row in rows]), strict=True):
        row["score"] = score
    scored = {side: _scored([row for row in rows if row["side"] == side], found) for side, found in sides.items()}
    groups = effect_rows(scored["corpus"], scored.get("reference"), finder.axes, seed)
    return Toxicity(Table.from_rows(groups), Table.from_rows(_prevalence(ours, finder.axes)), Table.from_rows(rows))


def _sentence_rows(side: str, found: Found, axes: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"side": side, "axis": axes[name], "descriptor": name, "filing": mention.filing, "text": mention.text}
        for name, mentions in found.mentions.items()
        for mention in mentions
    ]


def _scored(rows: list[dict[str, Any]], found: Found) -> Scored:
    return Scored(
        [row["descriptor"] for row in rows],
        [row["filing"] for row in rows],
        [row["score"] for row in rows],
        dict(found.num_sentences),
    )


def _prevalence(found: Found, axes: Mapping[str, str]) -> list[dict[str, Any]]:
    from metier.engines.stats.exact import binomial_interval

    def row(axis: str, descriptor: str | None, count: int, of: int) -> dict[str, Any]:
        share = binomial_interval(count, of)
        named = {"axis": axis, "descriptor": descriptor, "num_filings": count, "of": of}
        return named | {"share": share.value, "low": share.low, "high": share.high}

    rows = []
    for axis in dict.fromkeys(axes.values()):
        count = found.filings[f"axis:{axis}"]
        rows.append(row(axis, None, count, found.num_filings))
        rows += [row(axis, name, found.filings[name], count) for name, of in axes.items() if of == axis and found.filings[name]]
    for kind in ("grammatical", "gendered"):
        rows.append(row("pronouns", kind, found.filings[f"pronoun:{kind}"], found.num_filings))
    return rows
