"""`curate.prox`: a small model writes a cleaning program for each document, and an interpreter of our own carries it out.

`curate.prox.examples` and `curate.prox.annotate` make what such a model is trained on, `curate.prox.measure` says how good it is.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal, NamedTuple

from metier.artifacts import Corpus, Model
from metier.curate.prox.chunks import Ruler
from metier.curate.prox.refine import Refining, Statistics, summary
from metier.curate.prox.streaming import refine_corpus
from metier.method import method
from metier.models.language_model import LanguageModel

logger = logging.getLogger(__name__)


class Refined(NamedTuple):
    """corpus: every row that was given; statistics: what became of them, as counts."""

    corpus: Corpus
    statistics: Statistics


@method(
    paper="Programming Every Example: Lifting Pre-training Data Quality like Experts at Scale, arXiv 2409.17115",
    claim="a model's edits as programs that reach nothing but the lines they were written for, counted, and undone from what is stored",
)
def prox(
    corpus: Corpus,
    document_refiner: LanguageModel | None = None,
    chunk_refiner: LanguageModel | None = None,
    tokenizer: Model | None = None,
    *,
    asking: Literal["plain", "chat", "instructed"] = "plain",
    drop_above: float | None = None,
    document_tokens: int = 2000,
    chunk_tokens: int = 1500,
    max_new_tokens: int = 256,
    drop_ratio: float = 0.95,
    min_keep_ratio: float = 0.0,
    max_errors: int = 2,
    min_words: int = 10,
    workdir: Path | None = None,
) -> Refined:
    """The corpus after its documents' programs: whole documents dropped by one refiner, lines and strings edited by the other.

    Either refiner may be missing, and one model may be both. Programs (curate/prox/program.py has the grammar) are read with `ast` and
    never run; they reach nothing but the lines that the refiner was shown. Answers are cached, so an interrupted run asks only what is
    new. tokenizer: a model whose tokenizer counts; without it three bytes count as a token.

    `text` is the refined text of kept documents, and stays as it was in dropped ones. Columns added: raw_text (the text as it was, null
    where it is the same; a second refinement keeps the first one's), doc_program and chunk_program (what the refiners wrote; a comment
    names each chunk's lines, so that it can be executed again), refine_status, lines_removed, strings_replaced, refine_problems (calls
    refused, with the reason). Statuses: refined, unchanged, dropped, errors (too many calls refused: text as it was), no program (no
    call among what was written), failed (no answer: text as it was, asked again in the next run), null for rows marked before.
    Reasons: "prox: drop_doc", "prox: mostly removed", "prox: too few words" (also without asking).

    What the refiner is worth is measured, not promised: trained on 300 chunks, SmolLM2-135M named unseen noise with an F1 of 0.81, and
    line rules tuned on the same chunks reached 0.89 (proofs/curate/prox.py). See `curate.prox.measure` before you use one.

    Differs from the release: documents are cut before the prompt is made, not after; a line beyond the window is shown to nobody; calls
    for lines not shown, reversed ranges, sources of one character and replacements that change more than half of a chunk are refused
    and count as errors; replacements act within the chunk that asked for them; words are counted in all scripts.
    Raises ValueError without a refiner and for settings out of range.
    Settings:
        asking: plain text, as `examples` makes it; chat, the same as a user's message (the published refiners); instructed, for a large
            model that was not trained for it (two scores a document, three programs a chunk)
        drop_above: null has the document's program written; a number drops documents whose probability of drop_doc() is above it
        document_tokens: that the document refiner is shown, from the beginning
        chunk_tokens: most tokens of a chunk, with its lines' numbers
        max_new_tokens: most tokens of a chunk's program
        drop_ratio: share of the words that, when removed, drops the document
        min_keep_ratio: least share of the words that an edit must leave; less leaves the text as it was
        max_errors: refused calls that leave the text as it was
        min_words: documents of so many words or fewer afterwards are dropped
    """
    if document_refiner is None and chunk_refiner is None:
        raise ValueError("there is no refiner: give document_refiner, chunk_refiner or both")
    if asking != "plain" and drop_above is not None:
        raise ValueError(f"drop_above={drop_above} needs asking='plain': in a chat ({asking!r}) there is no text to continue")
    _check(drop_above, drop_ratio, min_keep_ratio)
    _check_counts(
        document_tokens=document_tokens, chunk_tokens=chunk_tokens, max_new_tokens=max_new_tokens, max_errors=max_errors
    )
    if min_words < 0:
        raise ValueError(f"min_words={min_words} is no number of words: give 0 or more")
    how = Refining(
        document_refiner=document_refiner,
        chunk_refiner=chunk_refiner,
        ruler=Ruler(tokenizer.tokenizer() if tokenizer is not None else None),
        asking=asking,
        drop_above=drop_above,
        document_tokens=document_tokens,
        chunk_tokens=chunk_tokens,
        max_new_tokens=max_new_tokens,
        drop_ratio=drop_ratio,
        min_keep_ratio=min_keep_ratio,
        max_errors=max_errors,
        min_words=min_words,
    )
    refined, statistics = refine_corpus(corpus, how, workdir)
    logger.info("%s", summary(statistics))
    failed = statistics.status.get("failed", 0)
    if failed:
        logger.warning("%d documents got no answer and are as they were: run again to ask for them", failed)
    return Refined(refined, statistics)


def _check(drop_above: float | None, drop_ratio: float, min_keep_ratio: float) -> None:
    for name, share in (("drop_above", drop_above), ("drop_ratio", drop_ratio), ("min_keep_ratio", min_keep_ratio)):
        if share is not None and not 0 <= share <= 1:
            raise ValueError(f"{name}={share} is no share: give a number between 0 and 1")


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count} leaves nothing to work with: give 1 or more")
