"""Words and runs of words as 64-bit numbers, for many texts at once: numpy over their bytes, no loop over words.

The same words have the same number in every process and run; two different runs of words share one with a probability of about 2^-64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metier.engines.data.words import words

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Hashes = npt.NDArray[np.uint64]

_PIECE_BYTES = 1 << 18  # fits the cache, and bounds what a text of any length needs
_SPACE = 0x20
_generator = np.random.default_rng(0)
_OF_BYTE = _generator.integers(0, 1 << 64, 256, np.uint64)
_BASE = int(_generator.integers(0, 1 << 63, dtype=np.uint64)) | 1
_OF_EMPTY = np.uint64(0x9E3779B97F4A7C15)  # else an empty word would add nothing to a run
_FACTORS = _generator.integers(0, 1 << 63, 1024, np.uint64) | np.uint64(1)
_LOWER_WORDS = str.maketrans({chr(code): chr(code).lower() if chr(code).isalnum() else " " for code in range(128)})


def lower_words(text: str) -> str:
    """The words of a text in lower case, joined by spaces; "" where it has none."""
    if text.isascii():  # the same words, four times as fast
        return " ".join(text.translate(_LOWER_WORDS).split())
    return " ".join(words(text.lower()))


def word_hashes(texts: list[str]) -> tuple[Hashes, Ints]:
    """The hash of each word of each text, one after the other, and where the texts end among them (shape (len(texts),)).

    What stands between two spaces is a word: "" is one, and "a  b" are three.
    """
    if not texts:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    encoded = [text.encode() for text in texts]
    data = np.frombuffer(b" ".join(encoded) + b" ", np.uint8)
    ends = np.flatnonzero(data == _SPACE)
    text_ends = np.cumsum(np.fromiter((len(text) + 1 for text in encoded), np.int64, len(texts)))
    return _hashed(data, ends), np.searchsorted(ends, text_ends - 1, "left") + 1


def ngram_hashes(hashes: Hashes, ends: Ints, n: int) -> tuple[Hashes, Ints]:
    """The hash of each run of `n` words within a text, and where the texts end among them. A text of fewer words has one: all of it.

    `hashes` and `ends` are those of `word_hashes`; `n` is at most 1024. The numbers of runs of different `n` can be compared.
    """
    if len(ends) == 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    sizes = np.diff(ends, prepend=0)
    if len(sizes) > 0 and sizes.min() >= n:
        total = np.zeros(len(hashes) - n + 1, np.uint64)
        for offset in range(n):
            total += hashes[offset : offset + len(total)] * _FACTORS[offset]
    else:  # a run must stop where its text does
        room = np.repeat(ends, sizes) - np.arange(len(hashes))
        total = hashes * _FACTORS[0]
        for offset in range(1, min(n, len(hashes))):
            total[: len(hashes) - offset] += np.where(
                room[: len(hashes) - offset] > offset, hashes[offset:] * _FACTORS[offset], np.uint64(0)
            )
    counts = np.maximum(1, sizes - n + 1)
    return mixed(total[ranges(ends - sizes, counts)]), np.cumsum(counts)


def ranges(starts: Ints, sizes: Ints) -> Ints:
    """starts[0], starts[0] + 1, ..., starts[0] + sizes[0] - 1, starts[1], ..."""
    total = np.cumsum(sizes)
    before = starts - (total - sizes)
    return np.repeat(before, sizes) + np.arange(total[-1] if len(total) else 0)


def mixed(numbers: Hashes) -> Hashes:
    """Splitmix64's finish: each bit of the number changes half of the result's."""
    found = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))


def _hashed(data: npt.NDArray[np.uint8], ends: Ints) -> Hashes:
    """Of the words that end before the spaces at `ends`: a polynomial over their bytes, piece by piece of the data."""
    result = np.empty(len(ends), np.uint64)
    first, start = 0, 0
    while first < len(ends):
        last = max(first + 1, int(np.searchsorted(ends, start + _PIECE_BYTES, "right")))
        stop = int(ends[last - 1]) + 1
        power, inverse = _powers(stop - start)
        sums = np.zeros(stop - start + 1, np.uint64)
        np.cumsum(_OF_BYTE[data[start:stop]] * power[: stop - start], out=sums[1:])
        word_ends = ends[first:last] - start
        word_starts = np.concatenate([[0], word_ends[:-1] + 1])
        result[first:last] = mixed((sums[word_ends] - sums[word_starts]) * inverse[word_starts] + _OF_EMPTY)
        first, start = last, stop
    return result


def _powers(length: int) -> tuple[Hashes, Hashes]:
    """At least the first `length` powers of the base and of its inverse, modulo 2^64."""
    if length > _PIECE_BYTES:  # one word longer than a piece: rare, and not worth keeping
        return _computed_powers(length)
    if not _kept_powers:
        _kept_powers.append(_computed_powers(_PIECE_BYTES + 1))
    return _kept_powers[0]


def _computed_powers(length: int) -> tuple[Hashes, Hashes]:
    found = []
    for base in (_BASE, pow(_BASE, -1, 1 << 64)):
        factors = np.full(length, base, np.uint64)
        factors[0] = 1
        found.append(np.cumprod(factors))
    return found[0], found[1]


_kept_powers: list[tuple[Hashes, Hashes]] = []
