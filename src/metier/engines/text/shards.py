"""A corpus as tokens on disk: tokenised once, read through memory maps, reused by whoever wants the same.

A folder of a corpus and a tokenizer holds

    tokens.bin      uint16 (uint32 for vocabularies above 65536): the documents end to end, each from BOS to EOS
    starts.bin      int64 (documents + 1): where each begins
    sources.bin     uint32 (documents): index into the sources
    about.json      {dtype, documents, tokens, sources: [names]}

and for each row length that was asked for a folder packed-LENGTH with the plan of its rows: piece_starts.bin int64, piece_sizes.bin int32 and
piece_sources.bin uint32 in the order of rows, and row_firsts.bin int64 (rows + 1), the number of each row's first piece. Documents are
cut into pieces as `tokenize_texts` does, and packed best-fit in windows of 65536 pieces. Neither making nor reading takes memory that
grows with the corpus.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metier.artifacts import Corpus, atomic_folder
from metier.engines.text.pack import best_fit
from metier.engines.text.rows import Row
from metier.engines.text.sequences import TokenSequence, border_tokens
from metier.models.source import cache_folder, file_fingerprint
from metier.progress import track

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WINDOW = 1 << 16  # pieces that are packed together
TEXTS_AT_ONCE = 256
VERSION = 1  # part of the key: raise it when what is below makes other files


def packed_corpus(
    corpus: Corpus, tokenizer: PreTrainedTokenizerBase, *, sequence_length: int, folder: Path | None = None
) -> PackedRows:
    """The corpus in rows of at most `sequence_length` tokens, tokenised and packed now or found where that was done before.

    folder: where such folders are kept, metier's cache for None. Raises ValueError for a sequence_length below 2.
    """
    if sequence_length < 2:
        raise ValueError(f"sequence_length={sequence_length} leaves nothing to predict: give 2 or more")
    store = tokenized(corpus, tokenizer, folder=folder)
    rows = store / f"packed-{sequence_length}"
    if not rows.is_dir():
        with atomic_folder(rows) as partial:
            _pack(store, partial, sequence_length)
    return PackedRows(store, rows)


def lesson(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, *, sequence_length: int) -> PackedRows:
    """`packed_corpus` to train on. Raises ValueError for a corpus without text."""
    rows = packed_corpus(corpus, tokenizer, sequence_length=sequence_length)
    if not len(rows):
        raise ValueError("the corpus holds no text to train on: look at the counts of the stages before")
    return rows


def held_out_rows(corpus: Corpus | None, tokenizer: PreTrainedTokenizerBase, *, sequence_length: int) -> list[Row]:
    """`packed_corpus` to measure on, in memory; [] for None."""
    return list(packed_corpus(corpus, tokenizer, sequence_length=sequence_length)) if corpus is not None else []


def tokenized(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, *, folder: Path | None = None) -> Path:
    """The folder of the corpus's tokens, made where it is not there yet. Its name is the hash of the texts and the tokenizer."""
    store = (folder if folder is not None else cache_folder() / "tokens") / content_key(corpus, tokenizer)
    if not store.is_dir():
        with atomic_folder(store) as partial:
            _tokenize(corpus, tokenizer, partial)
    return store


def content_key(corpus: Corpus, tokenizer: PreTrainedTokenizerBase) -> str:
    """Changes when a text, its source, or the tokenizer does: of a stored corpus by its files, else by its rows."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    digest = hashlib.sha256(f"{VERSION} {border_tokens(tokenizer)} ".encode())
    digest.update((backend.to_str() if backend is not None else json.dumps(sorted(tokenizer.get_vocab().items()))).encode())
    if corpus.path is not None:
        files = sorted(corpus.path.glob("*.parquet")) if corpus.path.is_dir() else [corpus.path]
        digest.update(" ".join(file_fingerprint(file) for file in files).encode())
    else:
        for row in corpus.rows():
            for part in (row["text"] or "", row["source"] or ""):
                digest.update(len(part).to_bytes(8, "little") + part.encode(errors="surrogatepass"))
    return digest.hexdigest()[:24]


class PackedRows:
    """Rows of a tokenised corpus, read from disk one by one (`engines.text.rows.Rows`)."""

    def __init__(self, store: Path, plan: Path) -> None:
        about = json.loads((store / "about.json").read_text())
        self.sources: list[str] = about["sources"]
        self._tokens = _mapped(store / "tokens.bin", about["dtype"])
        self._starts = _mapped(plan / "piece_starts.bin", "int64")
        self._sizes = _mapped(plan / "piece_sizes.bin", "int32")
        self._of = _mapped(plan / "piece_sources.bin", "uint32")
        self._firsts = _mapped(plan / "row_firsts.bin", "int64")
        counts = json.loads((plan / "about.json").read_text())
        self.num_tokens: int = counts["tokens"]
        self.num_predicted: int = counts["predicted"]
        self.longest: int = counts["longest"]
        self.num_documents: int = about["documents"]
        self.fingerprint = f"{store.name} {plan.name}"

    def __len__(self) -> int:
        return len(self._firsts) - 1

    def __getitem__(self, number: int) -> Row:
        if not 0 <= number < len(self):
            raise IndexError(f"row {number} of {len(self)}")
        row = []
        for piece in range(int(self._firsts[number]), int(self._firsts[number + 1])):
            start, size = int(self._starts[piece]), int(self._sizes[piece])
            row.append(TokenSequence.of_text(self._tokens[start : start + size].tolist(), self.sources[self._of[piece]]))
        return row

    def __iter__(self) -> Iterator[Row]:
        return (self[number] for number in range(len(self)))


def _tokenize(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    dtype = "uint16" if len(tokenizer) <= 1 << 16 else "uint32"
    begin, end = border_tokens(tokenizer)
    numbers: dict[str, int] = {}
    place = documents = 0
    with (
        (folder / "tokens.bin").open("wb") as tokens,
        (folder / "starts.bin").open("wb") as starts,
        (folder / "sources.bin").open("wb") as sources,
    ):
        starts.write(np.int64(0).tobytes())
        rows = track(corpus.rows(), "tokenising", unit="document")
        for batch in _batches((row for row in rows if row["text"]), TEXTS_AT_ONCE):
            found = tokenizer([row["text"] for row in batch], add_special_tokens=False, verbose=False)["input_ids"]
            for row, ids in zip(batch, found, strict=True):
                tokens.write(np.array([begin, *ids, end], dtype=dtype).tobytes())
                place += len(ids) + 2
                starts.write(np.int64(place).tobytes())
                sources.write(np.uint32(numbers.setdefault(row["source"] or "", len(numbers))).tobytes())
                documents += 1
    about = {"dtype": dtype, "documents": documents, "tokens": place, "sources": list(numbers)}
    (folder / "about.json").write_text(json.dumps(about))


def _pack(store: Path, folder: Path, length: int) -> None:
    starts, sources = _mapped(store / "starts.bin", "int64"), _mapped(store / "sources.bin", "uint32")
    names = ("piece_starts", "piece_sizes", "piece_sources", "row_firsts")
    files = {name: (folder / f"{name}.bin").open("wb") for name in names}
    pieces_before = tokens = predicted = longest = 0
    files["row_firsts"].write(np.int64(0).tobytes())
    for pieces in _batches(_pieces(starts, sources, length), WINDOW):
        rows = best_fit([size for _, size, _ in pieces], length)
        order = np.array(list(itertools.chain.from_iterable(rows)))
        ordered = np.array(pieces, dtype=np.int64)[order]
        files["piece_starts"].write(ordered[:, 0].astype(np.int64).tobytes())
        files["piece_sizes"].write(ordered[:, 1].astype(np.int32).tobytes())
        files["piece_sources"].write(ordered[:, 2].astype(np.uint32).tobytes())
        files["row_firsts"].write((pieces_before + np.cumsum([len(row) for row in rows])).astype(np.int64).tobytes())
        pieces_before += len(pieces)
        tokens += int(ordered[:, 1].sum())
        predicted += int(ordered[:, 1].sum()) - len(pieces)
        longest = max(longest, *(sum(pieces[piece][1] for piece in row) for row in rows))
    for file in files.values():
        file.close()
    (folder / "about.json").write_text(json.dumps({"tokens": tokens, "predicted": predicted, "longest": longest}))


def _pieces(starts: np.ndarray, sources: np.ndarray, length: int) -> Iterator[tuple[int, int, int]]:
    """(start, tokens, source) of each piece; pieces of a document share a token, as those of `tokenize_texts` do."""
    for number in range(len(sources)):
        begin, end, source = int(starts[number]), int(starts[number + 1]), int(sources[number])
        for start in range(begin, end - 1, length - 1):
            yield start, min(length, end - start), source


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _mapped(file: Path, dtype: str) -> np.ndarray:
    if file.stat().st_size == 0:  # which can't be mapped
        return np.zeros(0, dtype)
    return np.memmap(file, dtype, mode="r")
