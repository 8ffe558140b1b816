"""`curate.duplicates`: marks copies of documents, exact and near."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from metier.artifacts import Batch, Corpus
from metier.engines.data.similar import candidate_pairs, shared_shingles, signatures
from metier.engines.data.step import map_step
from metier.method import method

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

EXACT, NEAR = "exact duplicate", "near duplicate"


@method(
    paper="Deduplicating Training Data Makes Language Models Better, arXiv 2107.06499, section 4.2 (NearDup)",
    claim="finds the copies that comparing all pairs finds, in linear time",
)
def duplicates(corpus: Corpus, *, threshold: float = 0.8, seed: int = 0) -> Corpus:
    """The corpus with every copy marked but the first of its kind: "exact duplicate" or "near duplicate", the original's id in `duplicate_of`.

    Exact: the same words in the same order; case, punctuation and white space don't count. Near: of two texts' word 5-grams at least
    `threshold` of all are in both (Jaccard), or the texts differ in nothing but a title line (a first line before a blank one). Pairs
    are found by MinHash (128 hashes) and decided by the exact similarity; copies of copies belong together, and the first by order
    stays. Unlike the paper, which uses the edit similarity of tokens to decide. Two texts of few words are near only when nearly equal:
    one other word may be another meaning. Documents marked before stay as they are, and nothing is compared with them.
    Settings:
        threshold: least Jaccard similarity of near duplicates, above 0 to 1; 0.8 as in the paper
    """
    import numpy as np

    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold} is no similarity: give a number above 0 and up to 1, such as 0.8")
    found = signatures(corpus, seed)
    first = _first_of_cluster(corpus, found.hashes, found.part, threshold)
    seen: set[int] = set()
    copies: dict[str, tuple[str, str]] = {}
    for index in np.argsort(first, kind="stable").tolist():  # cluster by cluster, in order
        if first[index] != index:
            exact = int(found.whole[index]) in seen
            copies[found.ids[index]] = (EXACT if exact else NEAR, found.ids[first[index]])
        seen.add(int(found.whole[index]))
    return map_step(corpus, partial(mark_copies, copies=copies))


def mark_copies(batch: Batch, *, copies: dict[str, tuple[str, str]]) -> Batch:
    """Fills `drop_reason` and `duplicate_of` from `copies` (id -> reason, id of the original); an earlier reason stands."""
    rows = list(zip(batch["id"], batch["drop_reason"], strict=True))
    reasons = [was or copies.get(name, (None, None))[0] for name, was in rows]
    originals = [None if was is not None else copies.get(name, (None, None))[1] for name, was in rows]
    return {"drop_reason": reasons, "duplicate_of": originals}


def _first_of_cluster(
    corpus: Corpus, hashes: npt.NDArray[np.uint32], part: npt.NDArray[np.int64], threshold: float
) -> npt.NDArray[np.int64]:
    """For each document the position of the first one it is a copy of, its own for an original."""
    import numpy as np
    from scipy import sparse

    count = len(part)
    if count == 0:
        return np.zeros(0, np.int64)
    _, representative, same = np.unique(part, return_index=True, return_inverse=True)
    representative = np.sort(representative)  # positions of texts that are compared; equal ones only once
    pairs = representative[candidate_pairs(hashes[representative], threshold)]
    shared, sizes = shared_shingles(corpus, pairs)
    pairs = pairs[shared >= threshold * (sizes.sum(axis=1) - shared) - 1e-9]
    equal = np.stack([np.unique(part, return_index=True)[1][same], np.arange(count)], 1)
    edges = np.concatenate([pairs, equal])
    graph = sparse.coo_matrix((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, label = sparse.csgraph.connected_components(graph, directed=False)
    firsts: npt.NDArray[np.int64] = np.unique(label, return_index=True)[1].astype(np.int64)
    result: npt.NDArray[np.int64] = firsts[label]
    return result
