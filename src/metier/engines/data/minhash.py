"""MinHash fingerprints of a corpus, on disk: one pass over the texts, a few bytes a document in memory.

A document's fingerprint: a key of its id, keys of its words and of the part of them that is compared, and one key for each band of its
MinHashes. Texts that agree in a band's key are candidates for being the same. Keys are 64 bits: among a billion different texts, two
have the same one with a probability of 3%.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metier.artifacts.table import in_order, positions
from metier.engines.data.word_hashes import lower_words
from metier.progress import task

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from metier.artifacts import Corpus

    Ints = npt.NDArray[np.int64]
    Hashes = npt.NDArray[np.uint64]

NUM_HASHES = 128
NGRAM = 5
_BODY_WORDS = 10
_BATCH_ROWS = 1000
_RECALL = 0.99


@dataclass(frozen=True)
class Banding:
    """How MinHashes are compared: `bands` groups of `rows` hashes; texts that agree in all of a group are candidates.

    Of texts with a Jaccard similarity s, the share 1 - (1 - s^rows)^bands become candidates.
    """

    bands: int
    rows: int

    def found(self, similarity: float) -> float:
        """The share of pairs of this similarity that become candidates."""
        return float(1 - (1 - similarity**self.rows) ** self.bands)


def banding_for(similarity: float) -> Banding:
    """The banding of 128 hashes with the fewest candidates that finds 99% of the pairs of this similarity, or else the one that finds most."""
    bandings = [Banding(NUM_HASHES // rows, rows) for rows in range(16, 0, -1)]
    return next((banding for banding in bandings if banding.found(similarity) >= _RECALL), bandings[-1])


def comparable(text: str) -> str:
    """What of a text is compared: its words in lower case, joined by spaces.

    A first line that is followed by a blank one is a title; it does not count where ten words or more come after it, since pages
    that differ in nothing but their title are copies. A text without words is compared as it is.
    """
    return prepared(text)[1]


def prepared(text: str) -> tuple[str, str]:
    """All words of the text in lower case, joined by spaces, and the part of them that is compared (see `comparable`)."""
    whole = lower_words(text) or text.strip()
    title, blank, body = text.strip().partition("\n\n")
    if blank and "\n" not in title:
        found = lower_words(body)
        if found.count(" ") >= _BODY_WORDS - 1:
            return whole, found
    return whole, whole


def key_of(text: str) -> int:
    """64 bits of a text's BLAKE2 digest."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def keys_of(texts: list[str]) -> Hashes:
    """64 bits of each text's BLAKE2 digest."""
    return np.frombuffer(b"".join([hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]), np.uint64)


class Fingerprints:
    """The fingerprints of a corpus's kept documents, in their order, as files of a folder; arrays are read from there when used.

    ids_key, whole, part: (n,) keys of the id, of all words and of the compared part; bands: one array (n,) a band
    """

    def __init__(self, folder: Path, count: int, banding: Banding) -> None:
        self._folder, self.count, self.banding = folder, count, banding

    @property
    def id_keys(self) -> Hashes:
        return self._read("id")

    @property
    def whole(self) -> Hashes:
        return self._read("whole")

    @property
    def part(self) -> Hashes:
        return self._read("part")

    def band(self, number: int) -> Hashes:
        return self._read(f"band{number}")

    def ids(self, positions: Ints | None = None) -> list[str]:
        """The ids of the documents at these positions; of all without any."""
        import pyarrow as pa

        with pa.memory_map(str(self._folder / "ids.arrow")) as file:
            column = pa.ipc.open_file(file).read_all()["id"]
            return list((column if positions is None else column.take(pa.array(positions))).to_pylist())

    def _read(self, name: str) -> Hashes:
        if self.count == 0:  # an empty file cannot be mapped
            return np.zeros(0, np.uint64)
        return np.memmap(self._folder / f"{name}.u64", np.uint64, "r")


def fingerprint(corpus: Corpus, banding: Banding, folder: Path, *, ngram: int = NGRAM, seed: int = 0) -> Fingerprints:
    """Of the corpus's kept documents, written to the folder (empty). Raises ValueError where ids are not unique."""
    import pyarrow as pa

    names = ["id", "whole", "part", *(f"band{number}" for number in range(banding.bands))]
    files = {name: (folder / f"{name}.u64").open("wb") for name in names}
    count = 0
    try:
        schema = pa.schema([("id", pa.large_string())])
        ids_file = pa.OSFile(str(folder / "ids.arrow"), "wb")
        with ids_file, pa.ipc.new_file(ids_file, schema) as ids, task("fingerprints", unit="document") as progress:
            for batch in _batches(corpus, banding, ngram, seed):
                ids.write_batch(pa.record_batch([batch["id"].cast(pa.large_string())], schema=schema))
                for name in names:
                    _numbers(batch["key" if name == "id" else name]).tofile(files[name])
                count += batch.num_rows
                progress.advance(batch.num_rows)
    finally:
        for file in files.values():
            file.close()
    found = Fingerprints(folder, count, banding)
    _check_ids(found)
    return found


def _batches(corpus: Corpus, banding: Banding, ngram: int, seed: int) -> Iterator[pa.RecordBatch]:
    """Columns id, key, whole, part, band0, band1, ...: one pass, all but the order on Daft's workers."""
    import daft

    frame = corpus.kept()
    number, text = daft.DataType.uint64(), daft.DataType.string()

    @daft.func.batch(
        return_dtype=daft.DataType.struct({"key": number, "whole": number, "part": number, "words": text}),
        unnest=True,
        batch_size=_BATCH_ROWS,
    )
    def keys(ids: daft.Series, texts: daft.Series) -> pa.Array:
        return _keys(ids.to_pylist(), texts.to_pylist())

    @daft.func.batch(
        return_dtype=daft.DataType.struct({f"band{index}": number for index in range(banding.bands)}),
        unnest=True,
        batch_size=_BATCH_ROWS,
    )
    def bands(hashes: daft.Series) -> pa.Array:
        return _band_keys(hashes.to_arrow(), banding)

    frame = frame.select(frame["id"], *positions(frame), keys(frame["id"], frame["text"]))
    hashes = frame["words"].minhash(
        num_hashes=banding.bands * banding.rows, ngram_size=ngram, seed=1 + seed % (1 << 31), hash_function="xxhash3_64"
    )
    frame = frame.select("id", "key", "whole", "part", *positions(frame), bands(hashes))
    yield from in_order(frame)


def _keys(ids: list[str], texts: list[str]) -> pa.Array:
    import pyarrow as pa

    both = [prepared(text) for text in texts]
    whole = keys_of([one for one, _ in both])
    changed = [index for index, (one, part) in enumerate(both) if part is not one]
    part = whole.copy()
    part[changed] = keys_of([both[index][1] for index in changed])
    words = pa.array([one for _, one in both], pa.large_string())
    return pa.StructArray.from_arrays(
        [pa.array(keys_of(ids)), pa.array(whole), pa.array(part), words], ["key", "whole", "part", "words"]
    )


def _band_keys(hashes: Any, banding: Banding) -> pa.Array:
    import pyarrow as pa

    column = hashes.combine_chunks() if isinstance(hashes, pa.ChunkedArray) else hashes
    matrix = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), banding.bands, banding.rows)
    factors = np.random.default_rng(0).integers(0, 1 << 63, (banding.bands, banding.rows), np.uint64) | np.uint64(1)
    keys = (matrix.astype(np.uint64) * factors).sum(axis=2, dtype=np.uint64)
    return pa.StructArray.from_arrays(
        [pa.array(np.ascontiguousarray(keys[:, band])) for band in range(banding.bands)],
        [f"band{band}" for band in range(banding.bands)],
    )


def _numbers(column: pa.Array) -> npt.NDArray[np.uint64]:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.uint64)


def _check_ids(found: Fingerprints) -> None:
    from metier.engines.data.similar import equal_groups

    for order, starts in equal_groups(found.id_keys):
        for group in np.split(order, starts[1:]):
            names = found.ids(group)
            doubled = sorted(name for name in set(names) if names.count(name) > 1)
            if doubled:
                raise ValueError(f"ids are not unique: {doubled[0]!r} stands for two documents; give each its own id")
