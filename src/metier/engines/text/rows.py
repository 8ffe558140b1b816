"""Rows to train on: each holds sequences that are read together, without attention between them."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from typing import Protocol

from metier.engines.text.sequences import TokenSequence

Row = Sequence[TokenSequence]


class Rows(Protocol):
    """Rows by number, in memory or on disk.

    sources: the names that losses are counted under; num_tokens: of all rows; longest: the most tokens of a row
    fingerprint: changes when any token or label does
    """

    sources: list[str]
    num_tokens: int
    longest: int
    fingerprint: str

    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> Row: ...


class ListedRows:
    """Rows in memory."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self.sources = sorted({sequence.source for row in rows for sequence in row})
        sizes = [sum(map(len, row)) for row in rows]
        self.num_tokens, self.longest = sum(sizes), max(sizes, default=0)
        digest = hashlib.sha256()
        for row in rows:
            for sequence in row:
                digest.update(array("q", [len(sequence), *sequence.input_ids, *sequence.labels]).tobytes())
        self.fingerprint = digest.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Row:
        return self._rows[number]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)
