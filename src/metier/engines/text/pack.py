"""Sequences packed into rows with little left over, and without attention between them."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from metier.engines.text.sequences import TokenSequence
from metier.method import method


@method(
    paper="Fewer Truncations Improve Language Modeling, arXiv 2404.10830, section 3 (best-fit packing)",
    claim="packed rows give the loss and the gradients of separate sequences, without padding",
)
def pack(sequences: list[TokenSequence], *, sequence_length: int = 1024) -> list[list[TokenSequence]]:
    """The sequences in rows of at most `sequence_length` tokens: longest first, each into the fullest row that still has room.

    No sequence is cut, dropped or doubled, and rows hold theirs in the order given. Raises ValueError for a sequence longer than a row.
    Settings:
        sequence_length: tokens of a row
    """
    return [[sequences[index] for index in row] for row in best_fit([len(sequence) for sequence in sequences], sequence_length)]


def best_fit(sizes: Sequence[int], room_of_row: int) -> list[list[int]]:
    """Numbers of the sequences in each row, ascending; `sizes` are their tokens."""
    rows: list[list[int]] = []
    open_rows: list[tuple[int, int]] = []  # (room left, row), sorted
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        size = sizes[index]
        if size > room_of_row:
            raise ValueError(f"sequence {index} has {size} tokens and a row {room_of_row}: cut it before, or give longer rows")
        position = bisect.bisect_left(open_rows, (size, -1))
        if position < len(open_rows):
            room, row = open_rows.pop(position)
            rows[row].append(index)
        else:
            room, row = room_of_row, len(rows)
            rows.append([index])
        if room > size:
            bisect.insort(open_rows, (room - size, row))
    return [sorted(row) for row in rows]


def num_tokens(row: Sequence[TokenSequence]) -> int:
    """Tokens of a row."""
    return sum(map(len, row))
