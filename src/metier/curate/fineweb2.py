"""`curate.fineweb2`: deduplicates, filters and re-balances web text by thresholds that good text of each language or domain
sets."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any, NamedTuple

from metier.artifacts import Batch, Corpus
from metier.curate.duplicates import duplicates
from metier.engines.data.page_statistics import STATISTICS, Group, failed_rule, measure
from metier.engines.data.rehydrate import RepeatTable, repeats_of, table_from_counts
from metier.engines.data.step import map_step
from metier.engines.data.thresholds import Rule, Threshold, derive_all, score_threshold, share_lost
from metier.engines.data.word_lists import precise_words, stop_words
from metier.engines.data.words import words
from metier.method import method
from metier.progress import track

NO_REFERENCE, LOW_SCORE, OTHER_LANGUAGE = "no reference text", "language score", "no word of the language"
ALL = "all"
_SIMILARITY = 0.72  # midpoint of the S-curve of 14 bands of 8 hashes
_CONTAMINATED = 0.1
_FEWEST, _SURE = 100, 1000  # documents of good text of a kind
_MAIL = re.compile(r"[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}")
_ADDRESS = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
_EXAMPLE_MAIL, _EXAMPLE_ADDRESS = "email@example.com", "192.0.2.1"  # reserved for documentation

logger = logging.getLogger(__name__)


class Adapted(NamedTuple):
    """The corpus, and what the reference text set, by value of `by` ("all" without it).

    thresholds: by statistic (engines/data/page_statistics.py); lost: share of the reference that they drop together;
    stop_words: sorted; repeats: by least cluster size; lists: number of words that tell the kind from the others;
    contamination: share of good documents without any of these words
    """

    corpus: Corpus
    thresholds: dict[str, dict[str, Threshold]]
    lost: dict[str, float]
    stop_words: dict[str, list[str]]
    repeats: dict[str, RepeatTable]
    lists: dict[str, int]
    contamination: dict[str, float]


@method(
    paper="FineWeb2: One Pipeline to Scale Them All, arXiv 2506.20920",
    claim="each filter loses a tenth of good text in any language or domain; thresholds for English lose none or four fifths",
)
def fineweb2(
    corpus: Corpus,
    reference: Corpus,
    english: Corpus | None = None,
    *,
    by: str | None = None,
    quality_rule: Rule = "ten_tail",
    repetition_rule: Rule = "english",
    tail: float = 0.1,
    min_words: int = 50,
    min_precision: float = 0.85,
    max_repeats: int = 10,
    touch_up: bool = True,
    seed: int = 0,
) -> Adapted:
    """The corpus with bad pages marked and good ones repeated, by thresholds, word lists and repeats of each value of `by`.

    In this order: documents of a kind the reference lacks are marked "no reference text"; those with a `language_score` (where
    there is that column) below the median minus the deviation of their kind, "language score"; copies as in curate.duplicates,
    with the size of each cluster in `minhash_cluster_size` (a corpus with this column counts as deduplicated); pages that break a
    rule, with its name. Where over a tenth of the rest have none of the words that tell their kind from the others (and whose
    `url` doesn't name it), these are marked "no word of the language". What is left is touched up, and repeated more often the
    less the filters removed of its cluster size. A copy has the id of its document and "#2", "#3"; `repeats` says how many there
    are. Documents marked before stay as they are.

    `reference` holds good text of each kind: an encyclopaedia, or a thousand good documents of a domain, so that tables or
    citations are not punished. `english` is needed for rules that compare with English. Each rule loses its tail, so that all
    together lose more: `lost` of the result says how much. Differs from the paper: repetition has English's thresholds unless
    `repetition_rule` says otherwise (the paper's is "mean_std", with crawled text as `reference` and `english`); word lengths are
    not rounded; near copies share 72% of their word 5-grams, which is where the paper's hashes begin to find them; rates of few
    documents repeat nothing (see engines/data/rehydrate.py); a URL names a language by its code alone; texts are not put through
    ftfy. Raises ValueError for a reference with fewer than 100 documents of a kind, and where a rule needs `english`.
    Settings:
        by: column with the language or domain, such as language; null takes all documents for one kind
        quality_rule: how thresholds of lines, punctuation and word length are set: english, mean_std, quantile, ten_tail or
            median_ratio
        repetition_rule: the same for repeated lines and phrases
        tail: share of the reference that each rule of "ten_tail" loses, above 0 to below 1; 0.1 as in the paper
        min_words: least number of words of a page; Gopher's 50 is for the web, documentation has good pages of a dozen
        min_precision: least share, 0 to 1, of a word's occurrences that are in its language for it to tell it from others; 0.85
            as in the paper, 0.95 where languages are close, 0 switches the check off
        max_repeats: how often the best cluster size is repeated; 1 repeats nothing, the paper publishes 3 to 10
        touch_up: whether e-mail and public IP addresses are masked and the bars of tables become line breaks
    """
    _check(corpus, reference, by, tail, min_words, min_precision, max_repeats)
    profiles = _profiles(reference, by)
    baseline = _profiles(english, None)[ALL].values if english is not None else None
    rules: dict[Group, Rule] = {"quality": quality_rule, "repetition": repetition_rule}
    thresholds = {kind: derive_all(rules, profile.values, baseline, tail=tail) for kind, profile in profiles.items()}
    common = {kind: stop_words(profile.words) for kind, profile in profiles.items()}
    lists = precise_words({kind: profile.words for kind, profile in profiles.items()}, min_precision)
    if len(lists) == 1 or min_precision == 0:
        lists = dict.fromkeys(lists, frozenset())
    scored = map_step(corpus, partial(mark_kinds, by=by, least_scores=_least_scores(corpus, by, profiles)))
    unique = _sized(scored, seed)
    limits = {kind: {name: limit.value for name, limit in found.items()} for kind, found in thresholds.items()}
    judged = map_step(unique, partial(mark_pages, by=by, limits=limits, stop_words=common, lists=lists, min_words=min_words))
    verdicts = _verdicts(judged, by, max_repeats)
    finished = map_step(unique, partial(finish, by=by, verdicts=verdicts, touch_up=touch_up))
    return Adapted(
        corpus=_repeated(finished, max_repeats),
        thresholds=thresholds,
        lost={kind: share_lost(profile.values, thresholds[kind]) for kind, profile in profiles.items()},
        stop_words={kind: sorted(found) for kind, found in common.items()},
        repeats=verdicts.repeats,
        lists={kind: len(found) for kind, found in lists.items()},
        contamination=verdicts.contamination,
    )


def mark_kinds(batch: Batch, *, by: str | None, least_scores: Mapping[str, float]) -> Batch:
    """Marks documents of a kind that `least_scores` lacks, and those that score less than their kind's; an earlier reason
    stands."""
    scores = batch.get("language_score") or [None] * len(batch["text"])
    reasons = []
    for kind, score, was in zip(_kinds(batch, by), scores, batch["drop_reason"], strict=True):
        least = least_scores.get(kind)
        reason = NO_REFERENCE if least is None else LOW_SCORE if score is not None and score < least else None
        reasons.append(was or reason)
    return {"drop_reason": reasons}


def mark_pages(
    batch: Batch,
    *,
    by: str | None,
    limits: Mapping[str, Mapping[str, float]],
    stop_words: Mapping[str, frozenset[str]],
    lists: Mapping[str, frozenset[str]],
    min_words: int = 50,
) -> Batch:
    """Marks pages that break a rule; adds `rule` (its name, None for good pages and those marked before) and `own`: whether the
    page has a word of its kind's list (or its URL its name), true where the list is empty."""
    urls = batch.get("url") or [None] * len(batch["text"])
    broken: list[str | None] = []
    own: list[bool] = []
    for text, url, kind, was in zip(batch["text"], urls, _kinds(batch, by), batch["drop_reason"], strict=True):
        rule = failed_rule(text, limits[kind], stop_words[kind], min_words=min_words) if was is None else None
        broken.append(rule)
        own.append(was is not None or rule is not None or not lists[kind] or _is_own(text, url, kind, lists[kind]))
    reasons = [was or rule for was, rule in zip(batch["drop_reason"], broken, strict=True)]
    return {"drop_reason": reasons, "rule": broken, "own": own}


@dataclass(frozen=True)
class Verdicts:
    """What the pages' rules found: reason by id of what they drop; repeats and contamination by kind."""

    reasons: dict[str, str]
    repeats: dict[str, RepeatTable]
    contamination: dict[str, float]


def finish(batch: Batch, *, by: str | None, verdicts: Verdicts, touch_up: bool) -> Batch:
    """Fills `drop_reason`, touches up the texts that are kept, adds `repeats` (1 for what is dropped)."""
    texts, reasons, repeats = [], [], []
    rows = zip(batch["id"], batch["text"], _kinds(batch, by), batch["minhash_cluster_size"], batch["drop_reason"], strict=True)
    for name, text, kind, size, was in rows:
        reason = was or verdicts.reasons.get(name)
        reasons.append(reason)
        texts.append(touched_up(text) if touch_up and reason is None else text)
        repeats.append(repeats_of(size, verdicts.repeats[kind]) if reason is None else 1)
    return {"text": texts, "drop_reason": reasons, "repeats": repeats}


def touched_up(text: str) -> str:
    """The text with e-mail and public IPv4 addresses replaced by reserved ones, and the bars of tables by line breaks."""
    text = _ADDRESS.sub(lambda found: _EXAMPLE_ADDRESS if _is_public(found[0]) else found[0], _MAIL.sub(_EXAMPLE_MAIL, text))
    return re.sub(r"[ \t]*\|[ \t]*", "\n", text).strip("\n") if "|" in text else text


@dataclass(frozen=True)
class _Profile:
    """Of good text of one kind: the values of each statistic by document, and how often each word (lower case) occurs."""

    values: dict[str, list[float]]
    words: Counter[str]


def _profiles(reference: Corpus, by: str | None) -> dict[str, _Profile]:
    found: dict[str, _Profile] = defaultdict(lambda: _Profile({name: [] for name in STATISTICS}, Counter()))
    sizes: Counter[str] = Counter()
    for row in track(reference.rows(), "measuring good text", unit="document"):
        kind = _kind(row[by]) if by is not None else ALL
        sizes[kind] += 1
        for name, value in measure(row["text"]).items():
            found[kind].values[name].append(value)
        found[kind].words.update(words(row["text"].lower()))
    if not found:
        raise ValueError("the reference (or English) text holds no document: give good text for thresholds to be set by")
    few = {kind: size for kind, size in sizes.items() if size < _FEWEST}
    if few:
        raise ValueError(
            f"the good text has fewer than {_FEWEST} documents of {few}: give more, a thousand to be sure of a tenth"
        )
    unsure = {kind: size for kind, size in sizes.items() if size < _SURE}
    if unsure:
        logger.warning("the good text has fewer than %d documents of %s: see the thresholds' intervals", _SURE, unsure)
    return dict(sorted(found.items()))


def _least_scores(corpus: Corpus, by: str | None, profiles: Iterable[str]) -> dict[str, float]:
    """Least language score of each kind that has a reference; 0 where the corpus has no scores of it."""
    least = dict.fromkeys(profiles, 0.0)
    frame = corpus.kept()
    if "language_score" not in frame.column_names:
        return least
    scores: dict[str, list[float]] = defaultdict(list)
    for batch in frame.select(*filter(None, ["language_score", by])).to_arrow_iter():
        for row in batch.to_pylist():
            if row["language_score"] is not None:
                scores[_kind(row[by]) if by is not None else ALL].append(row["language_score"])
    return least | {kind: score_threshold(values) for kind, values in scores.items() if kind in least}


def _sized(corpus: Corpus, seed: int) -> Corpus:
    """The corpus deduplicated, with `minhash_cluster_size`: the document and its copies."""
    if "minhash_cluster_size" in corpus.frame().column_names:
        return corpus
    return duplicates(corpus, threshold=_SIMILARITY, seed=seed)


def _verdicts(judged: Corpus, by: str | None, most: int) -> Verdicts:
    frame, kinds = judged.frame(), [] if by is None else [by]
    wanted = ["id", "drop_reason", "rule", "own", "minhash_cluster_size", *kinds]
    frame = frame.where(frame["own"].not_null())  # not null: what could be read
    removed: dict[str, Counter[int]] = defaultdict(Counter)
    kept: dict[str, Counter[int]] = defaultdict(Counter)
    foreign: dict[str, list[str]] = defaultdict(list)
    reasons: dict[str, str] = {}
    for batch in frame.select(*wanted).to_arrow_iter():
        for row in batch.to_pylist():
            kind = _kind(row[by]) if by is not None else ALL
            if row["rule"] is not None:
                reasons[row["id"]] = row["rule"]
                removed[kind][row["minhash_cluster_size"]] += 1
            elif row["drop_reason"] is None:
                kept[kind][row["minhash_cluster_size"]] += 1
                if not row["own"]:
                    foreign[kind].append(row["id"])
    contamination = {kind: len(foreign[kind]) / max(1, kept[kind].total()) for kind in sorted({*removed, *kept})}
    for kind, share in contamination.items():
        logger.info("%s: %.1f%% of the good pages have no word that tells it from the others", kind, 100 * share)
        if share > _CONTAMINATED:
            reasons |= dict.fromkeys(foreign[kind], OTHER_LANGUAGE)
    return Verdicts(
        reasons, {kind: table_from_counts(removed[kind], kept[kind], most=most) for kind in contamination}, contamination
    )


def _repeated(corpus: Corpus, most: int) -> Corpus:
    """Each row as often as its `repeats` says, up to `most`; copies have other ids."""
    import daft

    frame = corpus.frame()
    suffixes = daft.lit(["", *[f"#{number}" for number in range(2, most + 1)]])
    frame = frame.with_column("_copy", suffixes.slice(0, frame["repeats"].cast("int64"))).explode("_copy")
    # Rows that could not be read have no `repeats`; they stay, once.
    frame = frame.with_column("id", frame["id"] + frame["_copy"].fill_null(""))
    return Corpus(frame.exclude("_copy"))


def _is_own(text: str, url: str | None, kind: str, own: frozenset[str]) -> bool:
    if not own.isdisjoint(words(text.lower())):
        return True
    return url is not None and kind.lower().partition("_")[0] in re.split(r"[^a-z0-9]+", url.lower())


def _is_public(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:  # 300.1.2.3 is no address
        return False


def _kinds(batch: Batch, by: str | None) -> list[str]:
    return [_kind(value) for value in batch[by]] if by is not None else [ALL] * len(batch["text"])


def _kind(value: Any) -> str:
    return "" if value is None else str(value)


def _check(
    corpus: Corpus, reference: Corpus, by: str | None, tail: float, min_words: int, min_precision: float, max_repeats: int
) -> None:
    for name, table in (("corpus", corpus), ("reference", reference)):
        if by is not None and by not in table.frame().column_names:
            raise ValueError(f"by={by!r} is no column of the {name}; it has {table.frame().column_names}")
    if not 0 <= min_precision <= 1:
        raise ValueError(f"min_precision={min_precision} is no share: give a number between 0 and 1, such as 0.85")
    if min_words < 0:
        raise ValueError(f"min_words={min_words} is no number of words: give 0 or more")
    if not 0 < tail < 1:
        raise ValueError(f"tail={tail} is no share that a rule could lose: give a number between 0 and 1, such as 0.1")
    if max_repeats < 1:
        raise ValueError(f"max_repeats={max_repeats} would drop good pages: give 1 to repeat nothing, 10 as the paper")
