"""Pages of a subject mined from the web, with text, formulas and images in reading order."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metier.artifacts import Batch, Corpus, Table
from metier.method import method
from metier.models.language_model import LanguageModel
from metier.progress import track

if TYPE_CHECKING:
    from metier.curate.redstone.classifier import Classifier
    from metier.curate.webmath_interleaved.images import ImageRules

NO_TEXT, LANGUAGE, UNLIKE, LOW = "no text", "language", "not of the subject", "low quality"
_HELD_OUT = 5  # one positive in so many sets the threshold, where it is to be set
_SIMILARITY = 0.8
_FEWEST_RATED = 10
_PAGE = {
    "text": "text",
    "texts": "texts",
    "images": "texts",
    "language": "text",
    "num_formulas": "count",
    "num_bad_formulas": "count",
    "num_bad_images": "count",
    "subject_score": "number",
    "drop_reason": "text",
}

logger = logging.getLogger(__name__)


class Mined(NamedTuple):
    """What was found.

    corpus: a row a page; stages: stage, before, after, dropped (share), threshold (null where there is none), in their order;
    images: url, num_places (in kept pages), each address once; those that no page keeps are marked, so that the kept rows are what
        to fetch; ratings: id, points (null where unread) of the pages that the judge saw
    """

    corpus: Corpus
    stages: Table
    images: Table
    ratings: Table


@method(
    paper="InfiMM-WebMath-40B, arXiv 2409.12568, section 3",
    claim="keeps formulas and images at their places, where extraction to text loses them, and the recall that was promised",
)
def webmath_interleaved(
    pages: Corpus,
    positives: Corpus,
    negatives: Corpus,
    judge: LanguageModel | None = None,
    *,
    subject: str = "mathematics",
    languages: list[str] | None = None,
    recall_threshold: float | None = 0.4,
    score_cut: float = 6,
    num_rated: int = 1000,
    punctuation_max: float = 0.3,
    max_repeats: int = 10,
    max_per_page: int = 100,
    blocked: tuple[str, ...] = ("logo", "banner", "avatar", "icon"),
    seed: int = 0,
    workdir: Path | None = None,
) -> Mined:
    """The pages of a subject among `pages` (HTML source in `text`, address in `url`), interleaved; all others marked.

    Adds columns: texts and images, lists of equal length with one of the two at each place and null for the other; text (the texts
    joined); language; num_formulas, num_bad_formulas, num_bad_images; subject_score (by the first classifier), quality_score (by the
    second; null without `judge`). Rows with `media_type` other than text/html are plain text. `positives` and `negatives` are plain
    texts of the subject and of anything; give texts as the pages would be, else their form tells and not their subject.

    Stages: no text; language; a classifier trained on positives and negatives ("not of the subject"); near copies within a snapshot and
    the next (column `snapshot`, else all); same address in the same year, of which the latest stays; rules (placeholder text,
    punctuation, unsafe words, broken characters); and with `judge` low quality: it rates `num_rated` pages, those with `score_cut`
    points are positives and as many negatives train a second classifier, which keeps pages of probability 0.5. Then images go that
    stand more than `max_repeats` times in all pages, of pages with more than `max_per_page`, not https, or with a blocked word in their
    address. A stage that drops none or over 99.9% is warned of.

    Differs from the paper: one extraction instead of two (language is told from the text without formulas); classifiers are logistic
    regressions on words and pairs of words (curate.redstone), where the paper trains fastText; endings go by rules and not by a
    lemmatiser, in both classifiers; the second one's threshold is ours, since the paper gives none; images are not fetched.
    Raises ValueError for fewer than ten positives or negatives, of the second classifier, too.
    Settings:
        subject: what the pages are about, as the judge is told
        languages: ISO 639-3 codes that stay; null keeps English and Chinese (eng, zho)
        recall_threshold: least probability by the first classifier, 0 to 1; 0.4 as in the paper; null sets it so that 95% of
            positives not trained on pass, with 95% confidence (one positive in five is held out for it)
        score_cut: least points, of 10, of a good page; 6 as in the paper
        num_rated: pages that the judge rates, drawn at random; the paper rates a million, a linear model is content with thousands
        punctuation_max: largest share of punctuation in English, 0 to 1; 0.3 as in the paper
        max_repeats: most places of an image in all pages; 10 as in the paper
        max_per_page: most images of a page that keeps any; 100 as in the paper
        blocked: words in the address of decoration; as in the paper
        workdir: where rows are kept until saved; null makes a folder that lasts as long as the process
    """
    _check(recall_threshold, score_cut, num_rated, punctuation_max, max_repeats, max_per_page)
    from metier.curate.webmath_interleaved import copies
    from metier.curate.webmath_interleaved.columns import with_columns
    from metier.curate.webmath_interleaved.rules import UNSAFE_WORDS
    from metier.engines.data.step import map_step
    from metier.engines.data.stored import stored

    texts = {
        name: [row["text"] for row in corpus.rows()] for name, corpus in (("positives", positives), ("negatives", negatives))
    }
    first, threshold = _first_classifier(texts["positives"], texts["negatives"], recall_threshold, seed)
    reading = Reading(first, threshold, frozenset(languages if languages is not None else ("eng", "zho")))
    read = stored(with_columns(pages, partial(read_pages, reading=reading), _PAGE), workdir, "read")
    reasons = copies.near_copies(read, _SIMILARITY, seed, workdir)
    reasons |= copies.same_address(read, reasons)
    ruled = map_step(
        map_step(read, partial(copies.mark, reasons=reasons)), partial(mark_rules, most=punctuation_max, unsafe=UNSAFE_WORDS)
    )
    ratings: list[dict[str, Any]] = []
    second = None
    if judge is not None:
        ratings, second = _second_classifier(ruled, judge, subject, score_cut, num_rated, texts["negatives"], seed)
    scored = stored(with_columns(ruled, partial(rate_quality, classifier=second), _QUALITY), workdir, "scored")
    placed, images = _with_images(scored, max_repeats, max_per_page, blocked)
    return Mined(placed, _stages(scored, threshold, judge is not None), images, Table.from_rows(ratings, ["id", "points"]))


@dataclass(frozen=True)
class Reading:
    """How pages are read: the classifier of the subject, its threshold, and codes of languages."""

    classifier: Classifier
    threshold: float
    languages: frozenset[str]


def read_pages(rows: list[dict[str, Any]], *, reading: Reading) -> list[dict[str, Any]]:
    """The columns of pages read, with the reason to drop one."""
    from metier.curate.webmath_interleaved.interleave import Interleaved, interleaved
    from metier.curate.webmath_interleaved.prepare import prepared, without_formulas
    from metier.engines.data.language import identify

    pages = [
        interleaved(row["text"], row.get("url"))
        if row.get("media_type", "text/html") in (None, "text/html")
        else Interleaved([row["text"]], [None])
        for row in rows
    ]
    result = []
    for page, found in zip(pages, identify([without_formulas(page.text) for page in pages]), strict=True):
        code = found.label.partition("_")[0]
        score = reason = None
        if not page.text.strip():
            reason = NO_TEXT
        elif code not in reading.languages:
            reason = LANGUAGE
        else:
            score = reading.classifier.probability(prepared(page.text))
            reason = UNLIKE if score < reading.threshold else None
        counts = {name: getattr(page, name) for name in ("num_formulas", "num_bad_formulas", "num_bad_images")}
        columns = {"text": page.text, "texts": page.texts, "images": page.images, "language": code}
        result.append(columns | counts | {"subject_score": score, "drop_reason": reason})
    return result


def mark_rules(batch: Batch, *, most: float, unsafe: tuple[str, ...]) -> Batch:
    """Fills `drop_reason` with the rule that a page breaks; an earlier reason stands."""
    from metier.curate.webmath_interleaved.rules import failed_rule

    words = frozenset(unsafe)
    rows = zip(batch["text"], batch["language"], batch["drop_reason"], strict=True)
    return {"drop_reason": [was or failed_rule(text, language, most, words) for text, language, was in rows]}


_QUALITY = {"quality_score": "number", "drop_reason": "text"}


def rate_quality(rows: list[dict[str, Any]], *, classifier: Classifier | None) -> list[dict[str, Any]]:
    """The second classifier's probability, and the reason of pages below 0.5; nothing without a classifier."""
    from metier.curate.webmath_interleaved.prepare import prepared

    scores = [classifier.probability(prepared(row["text"])) if classifier is not None else None for row in rows]
    return [{"quality_score": score, "drop_reason": LOW if score is not None and score < 0.5 else None} for score in scores]


def place_images(rows: list[dict[str, Any]], *, rules: ImageRules) -> list[dict[str, Any]]:
    """The two lists without the images that a rule drops."""
    from metier.curate.webmath_interleaved.images import check_aligned, without_dropped

    result = []
    for row in rows:
        check_aligned(row["texts"], row["images"], row["id"])
        count = sum(url is not None for url in row["images"])
        dropped = {place for place, url in enumerate(row["images"]) if url is not None and rules.reason(url, count) is not None}
        texts, images = without_dropped(row["texts"], row["images"], dropped)
        result.append({"texts": texts, "images": images})
    return result


def _first_classifier(positives: list[str], negatives: list[str], threshold: float | None, seed: int) -> tuple[Classifier, float]:
    from metier.curate.redstone.classifier import train
    from metier.curate.webmath_interleaved.prepare import prepared
    from metier.curate.webmath_interleaved.threshold import threshold_for_recall

    good, other = ([prepared(text) for text in texts] for texts in (positives, negatives))
    held_out: list[str] = []
    if threshold is None:
        random.Random(seed).shuffle(good)
        held_out, good = good[::_HELD_OUT], [text for place, text in enumerate(good) if place % _HELD_OUT]
    classifier = _trained(train, good, other, seed, "positives and negatives")
    if threshold is None:
        threshold = threshold_for_recall([classifier.probability(text) for text in held_out], 0.95)
        logger.info("the first classifier keeps pages of probability %.3f and more", threshold)
    return classifier, threshold


def _second_classifier(
    corpus: Corpus, judge: LanguageModel, subject: str, cut: float, num_rated: int, negatives: list[str], seed: int
) -> tuple[list[dict[str, Any]], Classifier]:
    from metier.curate.redstone.classifier import train
    from metier.curate.webmath_interleaved.prepare import prepared
    from metier.curate.webmath_interleaved.rating import rate

    generator = random.Random(seed)
    sample: list[dict[str, Any]] = []
    for seen, row in enumerate(track(corpus.rows(), "drawing pages to rate", unit="page")):  # reservoir
        place = seen if seen < num_rated else generator.randrange(seen + 1)
        if place < num_rated:
            sample[place : place + 1] = [{"id": row["id"], "text": row["text"]}]
    points = rate([row["text"] for row in sample], judge, subject)
    good = [row["text"] for row, one in zip(sample, points, strict=True) if one is not None and one >= cut]
    if len(good) < _FEWEST_RATED:
        raise ValueError(
            f"{len(good)} of {len(sample)} rated pages have score_cut={cut} points or more: raise num_rated, or lower the cut"
        )
    others = generator.sample(negatives, min(len(good), len(negatives)))
    classifier = _trained(train, [prepared(text) for text in good], [prepared(text) for text in others], seed, "rated pages")
    return [{"id": row["id"], "points": one} for row, one in zip(sample, points, strict=True)], classifier


def _trained(train: Callable[..., Classifier], good: list[str], other: list[str], seed: int, what: str) -> Classifier:
    try:
        return train([*good, *other], [1] * len(good) + [0] * len(other), seed)
    except ValueError as error:
        raise ValueError(f"{what} ({len(good)} and {len(other)} texts): {error}") from error


def _with_images(corpus: Corpus, max_repeats: int, max_per_page: int, blocked: tuple[str, ...]) -> tuple[Corpus, Table]:
    from metier.curate.webmath_interleaved.columns import with_columns
    from metier.curate.webmath_interleaved.images import ImageRules, count_images, digest

    def lists() -> Any:
        return (row["images"] for row in corpus.rows())

    rules = ImageRules(count_images(lists()), max_repeats, max_per_page, tuple(word.lower() for word in blocked))
    reasons: dict[str, str | None] = {}
    for images in lists():
        count = sum(url is not None for url in images)
        for url in images:
            if url is not None and reasons.get(url, "") is not None:  # a place that keeps it counts
                reasons[url] = rules.reason(url, count)
    rows = [{"url": url, "num_places": rules.counts[digest(url)], "drop_reason": reason} for url, reason in reasons.items()]
    placed = with_columns(corpus, partial(place_images, rules=rules), {"texts": "texts", "images": "texts"})
    return placed, Table.from_rows(rows, ["url", "drop_reason"])


def _stages(corpus: Corpus, threshold: float, rated: bool) -> Table:
    """Counts by stage: a page's reason is that of the first stage which dropped it."""
    from metier.curate.duplicates import EXACT, NEAR
    from metier.curate.webmath_interleaved import copies, rules

    stages: list[tuple[str, tuple[str, ...], float | None]] = [
        ("text", (NO_TEXT,), None),
        ("language", (LANGUAGE,), None),
        ("subject", (UNLIKE,), threshold),
        ("near copies", (EXACT, NEAR), _SIMILARITY),
        ("addresses", (copies.SAME_URL,), None),
        ("rules", (rules.PLACEHOLDER, rules.PUNCTUATION, rules.UNSAFE, rules.BROKEN), None),
        *([("quality", (LOW,), 0.5)] if rated else []),
    ]
    funnel = corpus.funnel()
    known = {reason for _, reasons, _ in stages for reason in reasons}
    left = funnel.kept + sum(count for reason, count in funnel.dropped.items() if reason in known)
    rows = []
    for stage, reasons, value in stages:
        dropped = sum(funnel.dropped.get(reason, 0) for reason in reasons)
        share = dropped / left if left else 0.0
        rows.append({"stage": stage, "before": left, "after": left - dropped, "dropped": share, "threshold": value})
        if left and (share > 0.999 or (dropped == 0 and stage in ("subject", "quality"))):
            logger.warning("the stage %r dropped %d of %d pages: look at its examples and threshold", stage, dropped, left)
        left -= dropped
    return Table.from_rows(rows)


def _check(
    recall_threshold: float | None, cut: float, num_rated: int, punctuation: float, max_repeats: int, max_per_page: int
) -> None:
    shares: Mapping[str, float | None] = {"recall_threshold": recall_threshold, "punctuation_max": punctuation}
    for name, share in shares.items():
        if share is not None and not 0 <= share <= 1:
            raise ValueError(f"{name}={share} is no share: give a number between 0 and 1")
    if not 0 < cut <= 10:
        raise ValueError(f"score_cut={cut} is beyond the points that the judge gives: give a number above 0 and up to 10")
    if num_rated < 2 * _FEWEST_RATED:
        raise ValueError(f"num_rated={num_rated} trains no classifier: give {2 * _FEWEST_RATED} or more, thousands at best")
    for name, number in (("max_repeats", max_repeats), ("max_per_page", max_per_page)):
        if number < 0:
            raise ValueError(f"{name}={number} is no number of images: give 0 or more")
