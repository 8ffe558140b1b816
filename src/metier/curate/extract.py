"""`curate.extract`: web pages become the text of their content."""

from __future__ import annotations

from functools import partial

from metier.artifacts import Batch, Corpus
from metier.engines.data.extract import How
from metier.engines.data.extract import extract as content_of
from metier.engines.data.step import map_step
from metier.method import method

HTML, PLAIN = "text/html", "text/plain"
NO_TEXT = "no text in page"


@method(claim="the article without the site around it, as well as the slow extractors and several times faster")
def extract(corpus: Corpus, *, how: How = "two_step", formulas: bool = False, code: bool = False) -> Corpus:
    """The corpus with the source of each page turned into the text of its content.

    Pages are the rows whose `media_type` is text/html, as data.read makes them with html: source; it becomes text/plain, and all else,
    such as `url`, stays.

    Pages without text are marked "no text in page" and keep their source, so that one can see why. Rows of other media types and
    those marked before stay as they are. Raises ValueError for a corpus without `media_type`, and for formulas or code by the
    careful way alone, which loses them.
    Settings:
        how: fast (finds the part of the page with most of its prose), careful (trafilatura, slower) or two_step (fast, and careful
            where that finds little)
        formulas: whether formulas are kept as LaTeX between dollars: from MathML, KaTeX, MathJax and pictures with their source
        code: whether preformatted blocks are fenced, and inline code is between backticks
    """
    if "media_type" not in corpus.frame().column_names:
        raise ValueError(
            f"the corpus has no column media_type, only {corpus.frame().column_names}: read pages by data.read with html: source"
        )
    content_of("", how=how, formulas=formulas, code=code)  # refuses bad settings before any page is read
    return map_step(corpus, partial(extract_pages, how=how, formulas=formulas, code=code))


def extract_pages(batch: Batch, *, how: How = "two_step", formulas: bool = False, code: bool = False) -> Batch:
    """The extraction as a step: reads and fills `text`, `media_type` and `drop_reason`. Settings as in `extract`."""
    texts, kinds, reasons = list(batch["text"]), list(batch["media_type"]), list(batch["drop_reason"])
    for row, (kind, reason) in enumerate(zip(kinds, reasons, strict=True)):
        if kind != HTML or reason is not None:
            continue
        if text := content_of(texts[row], how=how, formulas=formulas, code=code):
            texts[row], kinds[row] = text, PLAIN
        else:
            reasons[row] = NO_TEXT
    return {"text": texts, "media_type": kinds, "drop_reason": reasons}
