"""How much of a corpus another one, such as a web crawl, holds already."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from metier.artifacts import Corpus
from metier.engines.data.words import words
from metier.method import method
from metier.progress import track


class Novelty(NamedTuple):
    """How many documents the reference holds too: share (0 to 1) with its exact 95% interval, and share_words (of all words, in them)."""

    num_documents: int
    num_known: int
    share: float
    low: float
    high: float
    share_words: float


@method(
    paper="BeanCounter, arXiv 2409.17827, section 3",
    claim="the share of a corpus that a crawl holds, whatever case, spaces and punctuation",
)
def novelty(corpus: Corpus, reference: Corpus) -> Novelty:
    """The share of the corpus's documents that also stand in the reference: the same words in the same order.

    Case, punctuation and white space don't count. 16 bytes a document of the corpus are held, none of the reference. Of the corpus the
    whole document must be one of the reference; for parts of documents compare n-grams. Raises ValueError for an empty corpus.
    """
    from metier.engines.stats.exact import binomial_interval

    documents = [
        (_digest(row["text"]), len(words(row["text"]))) for row in track(corpus.rows(), "reading the corpus", unit="document")
    ]
    if not documents:
        raise ValueError("the corpus holds no document: there is nothing whose novelty could be told")
    wanted, known = {digest for digest, _ in documents}, set()
    for row in track(reference.rows(), "reading the reference", unit="document"):
        digest = _digest(row["text"])
        if digest in wanted:
            known.add(digest)
    found = [length for digest, length in documents if digest in known]
    share = binomial_interval(len(found), len(documents))
    of_words = sum(found) / max(1, sum(length for _, length in documents))
    return Novelty(len(documents), len(found), share.value, share.low, share.high, of_words)


def _digest(text: str) -> bytes:
    return hashlib.blake2b((" ".join(words(text.lower())) or text.strip()).encode(), digest_size=16).digest()
