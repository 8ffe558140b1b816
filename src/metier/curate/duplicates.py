"""`curate.duplicates`: marks copies of documents, exact and near."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from metier.artifacts import Batch, Corpus
from metier.engines.data.minhash import NGRAM, Banding, Fingerprints, banding_for, fingerprint, keys_of
from metier.engines.data.similar import Shingles, candidate_pairs, first_of_equals, joined, shingles
from metier.engines.data.step import map_step
from metier.method import method

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

EXACT, NEAR = "exact duplicate", "near duplicate"
_LONGEST_NGRAM = 100

logger = logging.getLogger(__name__)


@method(
    paper="Deduplicating Training Data Makes Language Models Better, arXiv 2107.06499, section 4.2 (NearDup)",
    claim="finds the copies that comparing all pairs finds, in linear time",
)
def duplicates(
    corpus: Corpus,
    *,
    threshold: float | None = 0.8,
    bands: int | None = None,
    rows: int | None = None,
    ngram: int = NGRAM,
    seed: int = 0,
    workdir: Path | None = None,
) -> Corpus:
    """The corpus with every copy marked but the first of its kind: "exact duplicate" or "near duplicate", the original's id in `duplicate_of`.

    Exact: the same words in the same order; case, punctuation and white space don't count. Near: of two texts' word n-grams at least
    `threshold` of all are in both (Jaccard), or the texts differ in nothing but a title line (a first line before a blank one). Pairs
    are found by MinHash and decided by the exact similarity; copies of copies belong together, and the first by order
    stays. Unlike the paper, which uses the edit similarity of tokens to decide. Two texts of few words are near only when nearly equal:
    one other word may be another meaning. Documents marked before stay as they are, and nothing is compared with them.
    `minhash_cluster_size` is the number of documents that are copies of each other, 1 for one without copies and for one marked before.

    The corpus is read twice and its texts are never held: 40 bytes a document are, and 100 a copy. Hashes lie in `workdir` meanwhile, or
    where temporary files do: 8 bytes a band and document, and 8 for each word of the texts that have candidates.
    Settings:
        threshold: least Jaccard similarity of near duplicates, above 0 to 1; 0.8 as in the paper. null takes candidates for copies
            without a look, as FineWeb does, and needs `bands` and `rows`
        bands: groups of hashes; texts that agree in all hashes of one are candidates. FineWeb has 14; null sets both so that 99% of the
            pairs at the threshold become candidates, with 128 hashes
        rows: hashes in a group; FineWeb has 8, which finds half of the pairs of similarity 0.72
        ngram: words in an n-gram, 1 to 100; 5 as in the paper
    """
    banding = _banding(threshold, bands, rows, ngram)
    with tempfile.TemporaryDirectory(prefix="duplicates-", dir=workdir) as folder:
        found = fingerprint(corpus, banding, Path(folder), ngram=ngram, seed=seed)
        first = _linked(found) if threshold is None else _verified(corpus, found, threshold, ngram, Path(folder))
        copies = _copies(found, first)
    return map_step(corpus, partial(mark_copies, copies=copies))


@dataclass(frozen=True)
class Copies:
    """The documents that have copies or are some, sorted by `keys`, the key of the id (metier.engines.data.minhash.key_of).

    ids: strings; firsts: where the original stands in `ids`; exact: whether an earlier document of its cluster has the same words;
    sizes: of its cluster
    """

    keys: npt.NDArray[np.uint64]
    ids: pa.Array
    firsts: Ints
    exact: Bools
    sizes: Ints

    def find(self, names: list[str]) -> list[int | None]:
        """Where each id stands in `ids`; None for a document without copies."""
        import numpy as np

        if len(self.keys) == 0:
            return [None] * len(names)
        keys = keys_of(names)
        places = np.searchsorted(self.keys, keys)
        candidates = np.flatnonzero(self.keys[np.minimum(places, len(self.keys) - 1)] == keys).tolist()
        found: list[int | None] = [None] * len(names)
        for row in candidates:
            place = int(places[row])
            while place < len(self.keys) and self.keys[place] == keys[row]:  # two ids may have the same key
                if self.ids[place].as_py() == names[row]:
                    found[row] = place
                place += 1
        return found


def mark_copies(batch: Batch, *, copies: Copies) -> Batch:
    """Fills `drop_reason`, `duplicate_of` (id of the original) and `minhash_cluster_size`; an earlier reason stands."""
    reasons, originals, sizes = [], [], []
    for was, place in zip(batch["drop_reason"], copies.find(batch["id"]), strict=True):
        known = was is None and place is not None
        original = int(copies.firsts[place]) if known else place
        is_copy = known and original != place
        reasons.append((EXACT if copies.exact[place] else NEAR) if is_copy else was)
        originals.append(copies.ids[original].as_py() if is_copy else None)
        sizes.append(int(copies.sizes[place]) if known else 1)
    return {"drop_reason": reasons, "duplicate_of": originals, "minhash_cluster_size": sizes}


def _banding(threshold: float | None, bands: int | None, rows: int | None, ngram: int) -> Banding:
    if threshold is not None and not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold} is no similarity: give a number above 0 and up to 1, such as 0.8, or null")
    if not 1 <= ngram <= _LONGEST_NGRAM:
        raise ValueError(f"ngram={ngram} is no number of words to compare: give 1 to {_LONGEST_NGRAM}, such as {NGRAM}")
    if (bands is None) != (rows is None):
        raise ValueError(f"bands={bands} and rows={rows}: give both, such as 14 and 8, or neither")
    if bands is None or rows is None:
        if threshold is None:
            raise ValueError(
                "threshold=null takes candidates for copies: give bands and rows, such as 14 and 8, to say what they are"
            )
        return banding_for(threshold)
    if bands < 1 or rows < 1:
        raise ValueError(f"bands={bands} and rows={rows} compare nothing: give 1 or more of each, such as 14 and 8")
    return Banding(bands, rows)


def _linked(found: Fingerprints) -> Ints:
    """For each document the position of the first one it is connected with by candidates, its own for an original."""
    first, distinct = _equal(found)
    for pairs in candidate_pairs(found, distinct):
        first = joined(first, pairs)
    return first


def _verified(corpus: Corpus, found: Fingerprints, threshold: float, ngram: int, folder: Path) -> Ints:
    """The same, by candidates whose exact similarity is `threshold` or more."""
    import numpy as np

    first, distinct = _equal(found)
    needed = np.zeros(found.count, bool)
    for pairs in candidate_pairs(found, distinct):
        needed[pairs.ravel()] = True
    hashes = shingles(corpus, found, np.flatnonzero(needed), folder / "shingles.u64", ngram=ngram)
    for pairs in candidate_pairs(found, distinct):
        pairs = pairs[first[pairs[:, 0]] != first[pairs[:, 1]]]  # what is connected already need not be looked at
        pairs = np.unique(pairs, axis=0)
        first = joined(first, pairs[_similar(hashes, pairs, threshold)])
    logger.info("%d of %d documents had candidates", needed.sum(), found.count)
    return first


def _equal(found: Fingerprints) -> tuple[Ints, Bools]:
    """For each document the first one with equal words or an equal compared part; and which are the first with theirs, to be compared."""
    import numpy as np

    here, of_part = np.arange(found.count), first_of_equals(found.part)
    return joined(of_part, np.stack([first_of_equals(found.whole), here], 1)), of_part == here


def _similar(hashes: Shingles, pairs: Ints, threshold: float) -> Bools:
    """Which pairs have a Jaccard similarity of `threshold` or more."""
    import numpy as np

    sizes = hashes.sizes(pairs)
    possible = sizes.min(axis=1) >= threshold * sizes.max(axis=1) - 1e-9
    shared = np.zeros(len(pairs), np.int64)
    shared[possible] = hashes.shared(pairs[possible])
    result: Bools = possible & (shared >= threshold * (sizes.sum(axis=1) - shared) - 1e-9)
    return result


def _copies(found: Fingerprints, first: Ints) -> Copies:
    import numpy as np
    import pyarrow as pa

    sizes = np.bincount(first, minlength=found.count)
    members = np.flatnonzero(sizes[first] > 1)
    keys = np.asarray(found.id_keys[members])
    members, keys = members[np.argsort(keys, kind="stable")], np.sort(keys)
    place = np.full(found.count, -1)
    place[members] = np.arange(len(members))
    return Copies(
        keys=keys,
        ids=pa.array(found.ids(members), pa.large_string()),
        firsts=place[first[members]],
        exact=first_of_equals(found.whole)[members] != members,
        sizes=sizes[first[members]],
    )
