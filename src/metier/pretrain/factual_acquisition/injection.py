"""Documents put at the beginning of rows of a running training, at chosen steps; the rest of the rows stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from metier.engines.text.pack import best_fit, num_tokens
from metier.engines.text.rows import Row
from metier.engines.text.sequences import TokenSequence


@dataclass(frozen=True)
class Injection:
    """rows: the corpus's, and after them those with documents put in; order: row numbers of the position-th step"""

    rows: list[Row]
    order: Callable[[int], Sequence[int]]


def inject(
    rows: Sequence[Row],
    order: Callable[[int], Sequence[int]],
    documents: Mapping[int, Sequence[TokenSequence]],
    *,
    sequence_length: int,
) -> Injection:
    """The training with documents in it. documents: by position of the step (0, 1, ...).

    Documents of a step share rows where they fit, each a sequence of its own that begins at position 0, and replace as many tokens at
    the beginning of the step's first rows: sequences that stood there go, one that is cut keeps its end. Raises ValueError for a document
    longer than a row, and for more documents than a step's rows hold; nothing is cut off a document.
    """
    made: list[Row] = list(rows)
    replaced: dict[int, list[int]] = {}
    for position, sequences in documents.items():
        for sequence in sequences:
            if len(sequence) > sequence_length:
                raise ValueError(
                    f"a document of source {sequence.source!r} has {len(sequence)} tokens and a row {sequence_length}: "
                    "raise sequence_length, or split it"
                )
        packed = best_fit([len(sequence) for sequence in sequences], sequence_length)
        numbers = list(order(position))
        if len(packed) > len(numbers):
            raise ValueError(
                f"step {position} has {len(numbers)} rows, and its documents fill {len(packed)}: raise batch_tokens, or inject fewer facts"
            )
        for slot, chosen in enumerate(packed):
            front = [sequences[number] for number in chosen]
            made.append([*front, *_end_of(rows[numbers[slot]], sequence_length - num_tokens(front), num_tokens(front))])
            numbers[slot] = len(made) - 1
        replaced[position] = numbers
    return Injection(made, lambda position: replaced[position] if position in replaced else order(position))


def _end_of(row: Row, room: int, replaced: int) -> list[TokenSequence]:
    """What is left of a row when its first `replaced` tokens are gone, at most `room` tokens."""
    left: list[TokenSequence] = []
    for sequence in row:
        gone = min(replaced, len(sequence))
        replaced -= gone
        kept = len(sequence) - gone
        if kept >= 2 and room >= kept:
            left.append(TokenSequence(sequence.input_ids[gone:], sequence.labels[gone:], sequence.source))
            room -= kept
    return left
