"""Which tokens are computed together: sequences that begin alike share what they share.

Sorted sequences form a trie. It is cut into rows, each a flattened subtree (a token knows where its subtree ends, and sees the tokens
whose subtree it is in), and runs of rows that all begin with the same long prefix get that prefix computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from metier.engines.score.encode import Piece


@dataclass
class Row:
    """A flattened trie of T tokens.

    ids, positions (distance from the beginning of the sequence), ends (index after the last token of the subtree): T each
    targets: (index of the token that predicts, token predicted, number of the piece) for everything asked
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    targets: list[tuple[int, int, int]] = field(default_factory=list)

    def is_chain(self) -> bool:
        """Whether it is one plain sequence."""
        return all(end == len(self.ids) for end in self.ends)


@dataclass
class Run:
    """Rows whose sequences all begin with `prefix`, which they do not hold themselves; () for none."""

    prefix: tuple[int, ...]
    rows: list[Row]

    @property
    def num_tokens(self) -> int:
        return len(self.prefix) + sum(len(row.ids) for row in self.rows)


def plan(pieces: Sequence[Piece], *, row_tokens: int, min_prefix: int | None, share: bool = True) -> list[Run]:
    """Runs that compute everything asked by `pieces`; targets name pieces by their place in the argument.

    row_tokens: rows are closed near this length; a single sequence may be longer
    min_prefix: least length of a prefix computed apart; None for never
    share: False for plain rows, one sequence each, for models that can't see a tree
    """
    order = sorted(range(len(pieces)), key=lambda number: pieces[number].input_ids)
    shared = [0] + [_common(pieces[a].input_ids, pieces[b].input_ids) for a, b in pairwise(order)]
    lengths = [len(pieces[number].input_ids) for number in order]
    starts = _row_starts(lengths, shared, row_tokens, min_prefix, share)
    bounds = list(zip(starts, [*starts[1:], len(order)], strict=True))
    unasked = [len(pieces[number].input_ids) - len(pieces[number].targets) for number in order]
    sizes = [lengths[a] + sum(lengths[i] - shared[i] for i in range(a + 1, b)) for a, b in bounds]
    inner = [min([*shared[a + 1 : b], *unasked[a:b]]) for a, b in bounds]
    runs = []
    for first, last, length in _runs(sizes, inner, [shared[start] for start in starts], min_prefix):
        prefix = pieces[order[starts[first]]].input_ids[:length]
        runs.append(Run(prefix, [_row(pieces, order[a:b], length) for a, b in bounds[first : last + 1]]))
    return runs


def _row_starts(lengths: list[int], shared: list[int], row_tokens: int, min_prefix: int | None, share: bool) -> list[int]:
    """Where in the sorted order rows begin. A row may run to twice its length rather than part sequences that share a lot.

    What a row shares with the one before does not count where it is long enough to be computed apart.
    """
    starts: list[int] = []
    size = apart = 0
    for i, length in enumerate(lengths):
        grown = size + length - shared[i]
        fits = grown <= row_tokens or (grown <= 2 * row_tokens and 4 * (shared[i] - apart) > row_tokens)
        if i > 0 and (fits if share else shared[i] == lengths[i - 1]):
            size = grown
        else:
            starts.append(i)
            apart = shared[i] if min_prefix is not None and shared[i] >= min_prefix else 0
            size = length - apart
    return starts


def _runs(sizes: list[int], inner: list[int], shared: list[int], min_prefix: int | None) -> list[tuple[int, int, int]]:
    """(first row, last row, prefix length) of consecutive runs with the fewest tokens in all, by dynamic programming.

    sizes: tokens of each row; inner: tokens that all sequences of a row begin with and that nothing is asked about; shared: tokens
    that a row's first sequence shares with the one before it
    """
    best = [0] * (len(sizes) + 1)  # best[k]: fewest tokens for the first k rows
    choice = [(0, 0)] * (len(sizes) + 1)  # (first row, prefix length) of the run that ends before k
    for k in range(1, len(sizes) + 1):
        best[k], choice[k] = best[k - 1] + sizes[k - 1], (k - 1, 0)
        if min_prefix is None:
            continue
        length, total = inner[k - 1], sizes[k - 1]
        for first in range(k - 2, -1, -1):
            length = min(length, shared[first + 1], inner[first])
            if length < min_prefix:
                break
            total += sizes[first]
            cost = best[first] + total - length * (k - 1 - first)
            if cost < best[k]:
                best[k], choice[k] = cost, (first, length)
    runs, k = [], len(sizes)
    while k > 0:
        first, length = choice[k]
        runs.append((first, k - 1, length))
        k = first
    return runs[::-1]


def _row(pieces: Sequence[Piece], numbers: list[int], skip: int) -> Row:
    """The flattened trie of some pieces in sorted order, without their first `skip` tokens."""
    row = Row()
    path: list[int] = []  # where each token of the latest sequence stands in the row
    before: tuple[int, ...] = ()
    for number in numbers:
        ids, targets = pieces[number].input_ids, pieces[number].targets
        kept = max(_common(before, ids) - skip, 0)
        for index in path[kept:]:
            row.ends[index] = len(row.ids)
        del path[kept:]
        for position in range(skip + kept, len(ids)):
            path.append(len(row.ids))
            row.ids.append(ids[position])
            row.positions.append(position)
            row.ends.append(-1)
        asked = path[len(path) - len(targets) :]
        row.targets.extend((index, target, number) for index, target in zip(asked, targets, strict=True))
        before = ids
    for index in path:
        row.ends[index] = len(row.ids)
    return row


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """How many first tokens are the same."""
    if a == b[: len(a)]:
        return len(a)
    low, high = 0, min(len(a), len(b))  # equal up to low, not up to high + 1
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
