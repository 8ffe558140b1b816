"""The sentences of a corpus that name a group, each once and each under one descriptor, and how many filings name it."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from metier.artifacts import Corpus
from metier.curate.beancounter.descriptors import PRONOUNS, Finder
from metier.engines.data.exercises import sentences
from metier.progress import track

LONGEST_BYTES = 20_000  # of a sentence; longer ones are lists or tables
_PIECE = 100_000  # characters of a line that are looked at together


class Mention(NamedTuple):
    """A sentence and where it stands."""

    text: str
    filing: str


@dataclass
class Found:
    """What a corpus says of groups.

    mentions: by descriptor, in random order, of all distinct sentences at most those asked for; num_sentences: all distinct ones;
    num_too_long: sentences passed over; filings: how many name a descriptor, an axis ("axis:NAME") or use a pronoun
    ("pronoun:KIND"); num_filings: all
    """

    mentions: dict[str, list[Mention]] = field(default_factory=dict)
    num_sentences: Counter[str] = field(default_factory=Counter)
    num_too_long: int = 0
    filings: Counter[str] = field(default_factory=Counter)
    num_filings: int = 0


def collect(corpus: Corpus, finder: Finder, most: dict[str, int] | int, seed: int) -> Found:
    """One pass. most: sentences to keep a descriptor, drawn at random by their content, so that order and copies change nothing.

    A filing is what has one `accession`, where there is that column, or else a document.
    """
    result = Found()
    seen: set[bytes] = set()
    kept: dict[str, list[tuple[bytes, Mention]]] = defaultdict(list)
    named: dict[str, set[str]] = defaultdict(set)
    pronouns = {kind: _either_case(words) for kind, words in PRONOUNS.items()}
    for row in track(corpus.rows(), "looking for descriptors", unit="document"):
        filing = row.get("accession") or row["id"]
        of_filing = named[filing]
        of_filing.update(f"pronoun:{kind}" for kind, pattern in pronouns.items() if pattern.search(row["text"]))
        for text, descriptors in _mentioning(row["text"], finder):
            of_filing.update(descriptors)
            of_filing.update(f"axis:{finder.axes[one]}" for one in descriptors)
            if len(text.encode()) > LONGEST_BYTES:
                result.num_too_long += 1
                continue
            digest = hashlib.blake2b(text.encode(), digest_size=16, salt=seed.to_bytes(16, "little", signed=True)).digest()
            if digest in seen:
                continue
            seen.add(digest)
            longest = max(descriptors, key=len)
            result.num_sentences[longest] += 1
            limit = most if isinstance(most, int) else most.get(longest, 0)
            _keep(kept[longest], digest, Mention(text, filing), limit)
    for words in named.values():
        result.filings.update(words)
    result.num_filings = len(named)
    result.mentions = {name: [mention for _, mention in sorted(found, reverse=True)] for name, found in sorted(kept.items())}
    return result


def _either_case(words: Sequence[str]) -> re.Pattern[str]:
    """Words as written, or with a capital; not all in capitals, since US and IT are no pronouns."""
    return re.compile(rf"\b(?:{'|'.join(form for word in words for form in (word, word.capitalize()))})\b")


def _keep(heap: list[tuple[bytes, Mention]], digest: bytes, mention: Mention, limit: int) -> None:
    """Keeps the `limit` largest digests: a random sample, since digests are."""
    if len(heap) < limit:
        heapq.heappush(heap, (digest, mention))
    elif limit and digest > heap[0][0]:
        heapq.heapreplace(heap, (digest, mention))


def _mentioning(text: str, finder: Finder) -> Iterator[tuple[str, list[str]]]:
    """Sentences with a descriptor; only lines that hold one are taken apart."""
    for line in text.split("\n"):
        for start in range(0, len(line), _PIECE):
            piece = line[start : start + _PIECE]
            if finder.pattern.search(piece) is None:
                continue
            for sentence in sentences(piece):
                found = finder.found(sentence.strip())
                if found:
                    yield sentence.strip(), found
