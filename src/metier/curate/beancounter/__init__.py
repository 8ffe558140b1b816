"""Regulatory filings to a corpus of business text; `toxicity` and `novelty`, for any corpus, stand beside it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from metier.artifacts import Corpus, Table
from metier.artifacts.table import POSITION, in_order
from metier.method import method

ALL = "all"


class Filings(NamedTuple):
    """corpus: a row a document; forms: what is a copy, by form type.

    forms: form_type ("all" for the last row), num_filings, num_documents (with text), num_duplicates, share and its 95% interval low,
        high (filings are drawn, since documents of one filing are copied together; never narrower than the exact binomial one),
        num_words (of all), share_words (in copies)
    """

    corpus: Corpus
    forms: Table


@method(
    paper="BeanCounter, arXiv 2409.17827, sections 2 and 3",
    claim="filings of every form become paragraphs without tables, page furniture and attachments that are no text; copies are counted",
)
def beancounter(
    submissions: Corpus,
    *,
    keep_tables: bool = False,
    min_chars: int = 200,
    threshold: float | None = 0.8,
    seed: int = 0,
    workdir: Path | None = None,
) -> Filings:
    """The documents in EDGAR's full submission texts, a row each, in the order of their acceptance; what is no text and all copies marked.

    A row of `submissions` holds one submission as it was disseminated (the .txt file with header and <DOCUMENT> blocks). Columns of the
    corpus: id (the submission's and "#0001", "#0002"), text (paragraphs with a blank line between), accession, filename, type_filing,
    type_attachment, form_type (type_filing without "/A" and "405"), ts_accept (ISO 8601; the filing date where there is no time),
    company, cik (of the first company in the header), those of curate.duplicates, and the
    input's other columns. What a header lacks is null.

    Reasons: image, binary (uuencoded, PDF, archives), data file (XML and XBRL, stylesheets), machine exhibit (EX-27, EX-101 and the
    like), no text, no text but tables, too short, exact and near duplicate, and "no document" for a text that is no submission. Inline
    XBRL pages are read, their hidden facts not. A table is one of numbers when a quarter of its cells are numbers and the rest are
    labels (tables.py of this package); it goes, or is a grid of "a | b"; other tables lay out text or are lists, which stay.
    Of copies the one accepted first stays, whatever its form: an exhibit of an 8-K may be a copy of a part of a 10-K.

    The paper tells neither the table rule nor the parameters of its MinHash; these are ours.
    Settings:
        keep_tables: whether tables of numbers stay, as grids; the paper removes them, its authors' later releases keep them
        min_chars: least number of characters of a document; 200 is ours
        threshold: least Jaccard similarity of word 5-grams of near duplicates, above 0 to 1; null marks no copies (the "clean" corpus)
        workdir: where the documents are kept until saved; null makes a folder that lasts as long as the process
    """
    if min_chars < 0:
        raise ValueError(f"min_chars={min_chars} is no length: give 0 or more, such as 200")
    if threshold is not None and not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold} is no similarity: give a number above 0 and up to 1, such as 0.8, or null")
    from metier.curate.beancounter.documents import documents
    from metier.curate.duplicates import duplicates
    from metier.engines.data.stored import stored

    found = documents(submissions, keep_tables=keep_tables, min_chars=min_chars)
    frame = found.frame()
    frame = frame.exclude(*[name for name in frame.column_names if name == POSITION])  # from here on by time
    ordered = stored(Corpus(frame.sort([frame["ts_accept"].is_null(), frame["ts_accept"], frame["id"]])), workdir, "documents")
    if threshold is not None:
        ordered = duplicates(ordered, threshold=threshold, seed=seed, workdir=workdir)
    return Filings(ordered, _forms(ordered, seed))


def _forms(corpus: Corpus, seed: int) -> Table:
    """Counts by form over the documents that had text: those kept and the copies."""
    from metier.curate.duplicates import EXACT, NEAR
    from metier.engines.data.words import words

    frame = corpus.frame()
    frame = frame.where(frame["error"].is_null() & (frame["drop_reason"].is_null() | frame["drop_reason"].is_in([EXACT, NEAR])))
    counts: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))  # form, filing: documents, copies
    num_words: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for batch in in_order(frame, "id", "text", "accession", "form_type", "drop_reason"):
        for row in batch.to_pylist():
            copy, length = row["drop_reason"] is not None, len(words(row["text"]))
            filing = row["accession"] or row["id"].rpartition("#")[0]
            for form in (row["form_type"], ALL):
                for numbers, amount in ((counts[form][filing], 1), (num_words[form], length)):
                    numbers[0] += amount
                    numbers[1] += amount * copy
    forms = sorted(counts.keys() - {ALL}) + ([ALL] if counts else [])
    rows = []
    for form in forms:
        in_all, in_copies = num_words[form]
        rows.append(_form_row(form, list(counts[form].values()), in_all, in_copies, seed))
    return Table.from_rows(rows, ["form_type", "share", "low", "high"])


def _form_row(form: str, filings: list[list[int]], num_words: int, in_copies: int, seed: int) -> dict[str, Any]:
    from metier.engines.stats.bootstrap import ratio
    from metier.engines.stats.exact import binomial_interval

    documents, copies = sum(total for total, _ in filings), sum(copied for _, copied in filings)
    drawn = ratio([copied for _, copied in filings], [total for total, _ in filings], seed=seed)
    independent = binomial_interval(copies, documents)
    return {
        "form_type": form,
        "num_filings": len(filings),
        "num_documents": documents,
        "num_duplicates": copies,
        "share": drawn.value,
        "low": min(drawn.low, independent.low),
        "high": max(drawn.high, independent.high),
        "num_words": num_words,
        "share_words": in_copies / max(1, num_words),
    }
