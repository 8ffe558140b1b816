"""Texts that are nearly the same: MinHash signatures of word 5-grams, candidate pairs from their bands, exact counts to decide.

Signatures are computed by Daft in one pass (512 bytes a document are held); only the texts of candidate pairs are looked at again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metier.engines.data.words import words

if TYPE_CHECKING:
    import daft
    import numpy.typing as npt
    import pyarrow as pa

    from metier.artifacts import Corpus

    Ints = npt.NDArray[np.int64]

NUM_HASHES = 128
NGRAM = 5
_BODY_WORDS = 10
_PAIRS_AT_ONCE = 20_000


def comparable(text: str) -> str:
    """What of a text is compared: its words in lower case, joined by spaces.

    A first line that is followed by a blank one is a title; it does not count where ten words or more come after it, since pages
    that differ in nothing but their title are copies. A text without words is compared as it is.
    """
    title, blank, body = text.strip().partition("\n\n")
    if blank and "\n" not in title:
        found = words(body.lower())
        if len(found) >= _BODY_WORDS:
            return " ".join(found)
    return " ".join(words(text.lower())) or text.strip()


@dataclass(frozen=True)
class Signatures:
    """Of n documents in order: ids; equal numbers for equal texts (`whole`) and for equal compared parts (`part`); MinHashes (n, 128)."""

    ids: list[str]
    whole: Ints
    part: Ints
    hashes: npt.NDArray[np.uint32]


def signatures(corpus: Corpus, seed: int) -> Signatures:
    """Of the corpus's kept documents. Raises ValueError where ids are not unique."""
    import pyarrow as pa

    frame = _comparable_frame(corpus.kept())
    hashes = frame["part"].minhash(num_hashes=NUM_HASHES, ngram_size=NGRAM, seed=1 + seed % (1 << 31), hash_function="xxhash64")
    frame = frame.select(frame["id"], frame["whole"], _digest(frame["part"]).alias("part"), hashes.alias("hashes"))
    table = frame.to_arrow()
    ids = table["id"].to_pylist()
    if len(set(ids)) != len(ids):
        doubled = sorted(ids)[next(i for i, (one, other) in enumerate(zip(sorted(ids), sorted(ids)[1:])) if one == other)]
        raise ValueError(f"ids are not unique: {doubled!r} stands for two documents; give each its own id")
    column = table["hashes"].combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    matrix = column.flatten().to_numpy().reshape(len(ids), NUM_HASHES)
    return Signatures(ids, _numbered(table["whole"]), _numbered(table["part"]), matrix)


def candidate_pairs(hashes: npt.NDArray[np.uint32], similarity: float) -> Ints:
    """Pairs (i, j), i < j, of rows that agree in a band: nearly all pairs of a Jaccard similarity from `similarity` on.

    Of a group of k that agree, 2k pairs stand for all: each with the first, and each with the one before it.
    """
    found = []
    for order, starts in _bands(hashes, similarity):
        lengths = np.diff(np.append(starts, len(order)))
        first = np.repeat(order[starts], lengths)
        inner = np.ones(len(order), bool)
        inner[starts] = False
        found.append(np.stack([first[inner], order[inner]], 1))
        before = np.roll(order, 1)
        found.append(np.stack([before[inner], order[inner]], 1))
    return _unique_pairs(found)


def candidates_across(hashes: npt.NDArray[np.uint32], side: npt.NDArray[np.bool_], similarity: float, most: int = 16) -> Ints:
    """Pairs (i, j) of a row where `side` is true and one where it is false that agree in a band; at most `most` a row and band."""
    found = []
    for order, starts in _bands(hashes, similarity):
        group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
        here, there = order[side[order]], order[~side[order]]
        here_group, there_group = group[side[order]], group[~side[order]]
        low, high = np.searchsorted(there_group, here_group, "left"), np.searchsorted(there_group, here_group, "right")
        for step in range(most):
            position = low + step
            valid = position < high
            found.append(np.stack([here[valid], there[position[valid]]], 1))
    return _unique_pairs(found)


def shared_shingles(corpus: Corpus, pairs: Ints) -> tuple[Ints, Ints]:
    """For each pair the number of word 5-grams that both texts hold; and for each pair the numbers (of i, of j), shaped (m, 2).

    A text of fewer than five words is one shingle.
    """
    from scipy import sparse

    if len(pairs) == 0:
        return np.zeros(0, np.int64), np.zeros((0, 2), np.int64)
    needed, position = np.unique(pairs, return_inverse=True)
    position = position.reshape(pairs.shape)
    shingles = _shingles(corpus, needed)
    sizes = np.array([len(one) for one in shingles], np.int64)
    columns = np.unique(np.concatenate(shingles), return_inverse=True)[1]
    ends = np.concatenate([[0], np.cumsum(sizes)])
    matrix = sparse.csr_matrix((np.ones(len(columns), np.int32), columns, ends))
    shared = [
        np.asarray(matrix[part[:, 0]].multiply(matrix[part[:, 1]]).sum(axis=1)).ravel()
        for part in np.array_split(position, 1 + len(position) // _PAIRS_AT_ONCE)
    ]
    return np.concatenate(shared).astype(np.int64), sizes[position]


def _comparable_frame(frame: daft.DataFrame) -> daft.DataFrame:
    """Columns id, whole (a digest of the text's words) and part (its comparable words)."""
    import daft

    text = daft.DataType.string()

    @daft.func.batch(return_dtype=daft.DataType.struct({"whole": text, "part": text}), unnest=True)
    def prepared(column: daft.Series) -> pa.Array:
        import pyarrow as pa

        texts = column.to_pylist()
        wholes = [_hex(" ".join(words(one.lower())) or one.strip()) for one in texts]
        parts = [comparable(one) for one in texts]
        return pa.StructArray.from_arrays(
            [pa.array(wholes, pa.large_string()), pa.array(parts, pa.large_string())], ["whole", "part"]
        )

    return frame.select(frame["id"], prepared(frame["text"]))


def _digest(column: daft.Expression) -> daft.Expression:
    import daft

    @daft.func.batch(return_dtype=daft.DataType.string())
    def digest(values: daft.Series) -> pa.Array:
        import pyarrow as pa

        return pa.array([_hex(value) for value in values.to_pylist()], pa.large_string())

    return digest(column)


def _hex(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _numbered(column: pa.ChunkedArray) -> Ints:
    return np.unique(np.array(column.to_pylist(), dtype=str), return_inverse=True)[1].astype(np.int64)


def _bands(hashes: npt.NDArray[np.uint32], similarity: float) -> list[tuple[Ints, Ints]]:
    """For each band the rows that agree with another one, group by group in rising order, and where each group begins."""
    rows = max(
        (rows for rows in range(1, 17) if 1 - (1 - similarity**rows) ** (NUM_HASHES // rows) >= 0.99),
        default=1,
    )
    bands = []
    for band in range(NUM_HASHES // rows):
        keys = np.ascontiguousarray(hashes[:, band * rows : (band + 1) * rows])
        _, group, count = np.unique(keys.view(f"V{4 * rows}").ravel(), return_inverse=True, return_counts=True)
        agreeing = np.flatnonzero(count[group] > 1)
        order = agreeing[np.argsort(group[agreeing], kind="stable")]
        changes = np.flatnonzero(np.diff(group[order])) + 1
        bands.append((order, np.concatenate([[0], changes]).astype(np.int64) if len(order) else np.zeros(0, np.int64)))
    return bands


def _unique_pairs(found: list[Ints]) -> Ints:
    pairs = np.concatenate(found) if found else np.zeros((0, 2), np.int64)
    return np.unique(pairs, axis=0)


def _shingles(corpus: Corpus, needed: Ints) -> list[npt.NDArray[np.uint64]]:
    """The distinct hashed shingles of the documents at these positions among the kept ones (rising), one pass over the corpus."""
    vocabulary: dict[str, int] = {}
    factors = np.random.default_rng(0).integers(0, 1 << 63, NGRAM, np.uint64) | np.uint64(1)
    result, position = [], 0
    wanted = iter(needed.tolist())
    following = next(wanted, None)
    for batch in _comparable_frame(corpus.kept()).select("part").to_arrow_iter():
        values = batch["part"]
        while following is not None and following < position + len(values):
            text = values[following - position].as_py()
            numbers = np.array([vocabulary.setdefault(word, len(vocabulary)) for word in text.split(" ")], np.uint64)
            result.append(np.unique(_ngrams(_mixed(numbers), factors)))
            following = next(wanted, None)
        position += len(values)
    return result


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Splitmix64: neighbouring numbers become unrelated ones."""
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _ngrams(mixed: npt.NDArray[np.uint64], factors: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    n = min(NGRAM, len(mixed))
    count = len(mixed) - n + 1
    total = np.zeros(count, np.uint64)
    for offset in range(n):
        total += mixed[offset : offset + count] * factors[offset]
    return total
