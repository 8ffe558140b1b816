"""Which texts of a corpus are nearly the same: candidates from the bands of their fingerprints, exact counts to decide.

Works part by part over files, so that what is in memory is a few numbers a document, whatever the texts' sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metier.artifacts.table import in_order, positions
from metier.engines.data.minhash import NGRAM, Fingerprints, keys_of, prepared
from metier.engines.data.word_hashes import ngram_hashes, ranges, word_hashes
from metier.progress import task

if TYPE_CHECKING:
    import daft
    import numpy.typing as npt
    import pyarrow as pa

    from metier.artifacts import Corpus

    Ints = npt.NDArray[np.int64]
    Hashes = npt.NDArray[np.uint64]
    Bools = npt.NDArray[np.bool_]

_KEYS_AT_ONCE = 1 << 24  # sorted together: 400 MB
_PAIRS_AT_ONCE = 1 << 12  # the pair's number takes the upper 12 bits of a shingle
_SHINGLES_AT_ONCE = 1 << 23
_PAIR_BITS = np.uint64(52)
_BATCH_ROWS = 1000


def equal_groups(keys: Hashes, then: Hashes | None = None, at_once: int = _KEYS_AT_ONCE) -> Iterator[tuple[Ints, Ints]]:
    """The positions of keys that stand more than once, group by group, and where each group begins among them; in parts.

    Within a group by the key in `then`, where given, and by position. `keys` may be a mapped file larger than memory: it is read once
    for each part of about `at_once` keys.
    """
    parts = 1 << max(0, (len(keys) - 1) // at_once).bit_length()
    for part in range(parts):
        positions = _positions(keys, part, parts, at_once)
        here = np.asarray(keys[positions])
        second = np.asarray(then[positions]) if then is not None else np.zeros(0)
        order = np.lexsort((second, here)) if then is not None else np.argsort(here, kind="stable")
        here = here[order]
        same = here[1:] == here[:-1]
        inside = np.zeros(len(here), bool)
        inside[1:] |= same
        inside[:-1] |= same
        begins = inside.copy()
        begins[1:] &= ~same
        if inside.any():
            yield positions[order[inside]], np.flatnonzero(begins[inside])


def first_of_equals(keys: Hashes) -> Ints:
    """For each position the first one with the same key."""
    first = np.arange(len(keys))
    for order, starts in equal_groups(keys):
        first[order] = np.repeat(order[starts], np.diff(starts, append=len(order)))
    return first


def candidate_pairs(found: Fingerprints, among: Bools) -> Iterator[Ints]:
    """Pairs (m, 2) of positions where `among` is true that agree in a band, in parts; a pair may come from several bands.

    Of a group of k that agree, 2k pairs at most stand for all: each with the first, and each with the one before it, in an order that puts
    those together that agree in the next band, too.
    """
    places = np.flatnonzero(among)
    for band in range(found.banding.bands):
        keys = np.asarray(found.band(band)[places])
        following = np.asarray(found.band((band + 1) % found.banding.bands)[places])
        for order, starts in equal_groups(keys, following):
            inner = np.ones(len(order), bool)
            inner[starts] = False
            first = np.repeat(order[starts], np.diff(starts, append=len(order)))
            pairs = np.concatenate(
                [np.stack([np.roll(order, 1)[inner], order[inner]], 1), np.stack([first[inner], order[inner]], 1)]
            )
            yield places[pairs[pairs[:, 0] != pairs[:, 1]]]


def candidates_across(found: Fingerprints, side: Bools, most: int = 16) -> Ints:
    """Pairs (i, j) of a document where `side` is true and one where it is false that agree in a band; at most `most` a document and band."""
    parts = [np.zeros((0, 2), np.int64)]
    for band in range(found.banding.bands):
        for order, starts in equal_groups(found.band(band)):
            group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(order)))
            here, there = order[side[order]], order[~side[order]]
            here_group, there_group = group[side[order]], group[~side[order]]
            low, high = np.searchsorted(there_group, here_group, "left"), np.searchsorted(there_group, here_group, "right")
            for step in range(most):
                position = low + step
                valid = position < high
                parts.append(np.stack([here[valid], there[position[valid]]], 1))
    return np.unique(np.concatenate(parts), axis=0)


class Shingles:
    """The distinct word n-grams of some documents of a corpus, as 52-bit hashes in a file.

    `shared` counts those that both of a pair hold, exactly but for hashes that are equal by chance (2^-52 a pair of n-grams).
    """

    def __init__(self, file: Path, positions: Ints, sizes: Ints) -> None:
        """`positions` (rising) of the documents in the corpus, and how many shingles each has."""
        self._file, self._positions, self._sizes = file, positions, sizes
        self._starts = np.cumsum(sizes) - sizes

    def sizes(self, positions: Ints) -> Ints:
        """How many shingles the documents at these positions of the corpus have, in the same shape."""
        return self._sizes[np.searchsorted(self._positions, positions)]

    def shared(self, pairs: Ints) -> Ints:
        """For each pair (m, 2) of positions in the corpus the number of shingles that both hold."""
        if len(pairs) == 0:
            return np.zeros(0, np.int64)
        rows = np.searchsorted(self._positions, pairs)
        hashes: Hashes = np.memmap(self._file, np.uint64, "r")
        total = np.cumsum(self._sizes[rows].sum(axis=1))
        counts, begin = [], 0
        while begin < len(pairs):
            before = total[begin - 1] if begin else 0
            end = int(np.searchsorted(total, before + _SHINGLES_AT_ONCE, "right"))
            end = min(max(end, begin + 1), begin + _PAIRS_AT_ONCE)
            counts.append(self._count(hashes, rows[begin:end]))
            begin = end
        return np.concatenate(counts)

    def _count(self, hashes: Hashes, rows: Ints) -> Ints:
        sizes = self._sizes[rows]
        numbers = np.repeat(np.arange(len(rows), dtype=np.uint64), sizes.sum(axis=1))
        both = hashes[ranges(self._starts[rows].ravel(), sizes.ravel())] | (numbers << _PAIR_BITS)
        both.sort()
        shared = both[1:][both[1:] == both[:-1]] >> _PAIR_BITS
        return np.bincount(shared.astype(np.int64), minlength=len(rows)).astype(np.int64)


def shingles(corpus: Corpus, found: Fingerprints, needed: Ints, file: Path, *, ngram: int = NGRAM) -> Shingles:
    """Of the documents at the positions `needed` (rising) of the kept ones: one more pass over the corpus, written to `file`.

    A text of fewer than `ngram` words is one shingle. Raises RuntimeError where the corpus is read in another order than before.
    """
    expected = np.asarray(found.id_keys[needed])
    sizes: list[Ints] = []
    done = 0
    with file.open("wb") as sink, task("comparing", total=len(needed), unit="document") as progress:
        for batch in _shingle_batches(corpus, np.sort(expected), ngram) if len(needed) else ():
            keys = batch["key"].to_numpy()
            if not np.array_equal(keys, expected[done : done + len(keys)]):
                raise RuntimeError(
                    "the corpus gave its documents in another order than before: save it first, then run this again"
                )
            column = batch["shingles"]
            column.flatten().to_numpy(zero_copy_only=False).tofile(sink)
            sizes.append(np.diff(column.offsets.to_numpy()).astype(np.int64))
            done += len(keys)
            progress.advance(len(keys))
    if done != len(needed):
        raise RuntimeError(
            f"the corpus gave {done} of {len(needed)} documents when read again: save it first, then run this again"
        )
    return Shingles(file, needed, np.concatenate(sizes) if sizes else np.zeros(0, np.int64))


def _shingle_batches(corpus: Corpus, wanted: Hashes, ngram: int) -> Iterator[pa.RecordBatch]:
    """Columns key (of the id) and shingles, of the documents whose key is among `wanted` (sorted)."""
    import daft

    number = daft.DataType.uint64()

    @daft.func.batch(
        return_dtype=daft.DataType.struct({"key": number, "shingles": daft.DataType.list(number)}),
        unnest=True,
        batch_size=_BATCH_ROWS,
    )
    def run(ids: daft.Series, texts: daft.Series) -> pa.Array:
        return _shingle_array(ids.to_pylist(), texts.to_pylist(), wanted, ngram)

    frame = corpus.kept()
    frame = frame.select(*positions(frame), run(frame["id"], frame["text"]))
    yield from in_order(frame.where(frame["key"].not_null()))


def _shingle_array(ids: list[str], texts: list[str], wanted: Hashes, ngram: int) -> pa.Array:
    import pyarrow as pa

    keys = keys_of(ids)
    place = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    chosen = wanted[place] == keys
    hashes, ends = ngram_hashes(*word_hashes([prepared(texts[row])[1] for row in np.flatnonzero(chosen)]), ngram)
    hashes, sizes = distinct(hashes, ends)
    lengths = np.zeros(len(ids), np.int64)
    lengths[chosen] = sizes
    lists = pa.LargeListArray.from_arrays(np.concatenate([[0], np.cumsum(lengths)]), pa.array(hashes))
    return pa.StructArray.from_arrays([pa.array(keys, mask=~chosen), lists], ["key", "shingles"])


def distinct(hashes: Hashes, ends: Ints) -> tuple[Hashes, Ints]:
    """The upper 52 bits of each text's hashes, each once and sorted, text after text; and how many each text has."""
    sizes = np.diff(ends, prepend=0)
    found, counts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for begin in range(0, len(sizes), _PAIRS_AT_ONCE):
        part = sizes[begin : begin + _PAIRS_AT_ONCE]
        start = ends[begin] - sizes[begin]
        texts = np.repeat(np.arange(len(part), dtype=np.uint64), part)
        both = (hashes[start : start + len(texts)] >> np.uint64(12)) | (texts << _PAIR_BITS)
        both.sort()
        both = both[np.concatenate([[True], both[1:] != both[:-1]])]
        counts.append(np.bincount((both >> _PAIR_BITS).astype(np.int64), minlength=len(part)).astype(np.int64))
        found.append(both & np.uint64((1 << 52) - 1))
    return np.concatenate(found), np.concatenate(counts)


def joined(first: Ints, pairs: Ints) -> Ints:
    """The first position of each one's component, once the pairs (m, 2) are connected; `first` says it for before."""
    from scipy import sparse

    roots, edges = np.unique(first[pairs], return_inverse=True)  # rising, so that the first of a component is its smallest
    if len(roots) == 0:
        return first
    edges = edges.reshape(-1, 2)
    graph = sparse.coo_matrix((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(len(roots), len(roots)))
    _, label = sparse.csgraph.connected_components(graph, directed=False)
    smallest = roots[np.unique(label, return_index=True)[1]]
    table = np.arange(len(first))
    table[roots] = smallest[label]
    result: Ints = table[first]
    return result


def _positions(keys: Hashes, part: int, parts: int, at_once: int) -> Ints:
    """Where the keys' uppermost bits are `part`, of `parts` (a power of two)."""
    if parts == 1:
        return np.arange(len(keys))
    shift = np.uint64(64 - (parts.bit_length() - 1))
    pieces = [begin + np.flatnonzero((keys[begin : begin + at_once] >> shift) == part) for begin in range(0, len(keys), at_once)]
    return np.concatenate(pieces)
