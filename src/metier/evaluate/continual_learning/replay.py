"""A buffer of past sequences: a fair sample of all that was offered, whatever its length."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from metier.engines.text.sequences import TokenSequence


class Reservoir:
    """At most `size` sequences, each one offered so far with the same chance (Vitter 1985, algorithm R)."""

    def __init__(self, size: int, *, seed: int, never: Sequence[str] = ()) -> None:
        """never: sources whose sequences are not kept."""
        if size < 1:
            raise ValueError(f"a buffer of {size} sequences keeps nothing: give 1 or more")
        self._size, self._never = size, frozenset(never)
        self._random = random.Random(f"{seed} reservoir")
        self._offered = 0
        self.held: list[TokenSequence] = []
        self.refused = 0  # of sources in `never`

    def offer(self, sequences: Iterable[TokenSequence]) -> None:
        for sequence in sequences:
            if sequence.source in self._never:
                self.refused += 1
                continue
            self._offered += 1
            if len(self.held) < self._size:
                self.held.append(sequence)
            elif (place := self._random.randrange(self._offered)) < self._size:
                self.held[place] = sequence

    def draw(self, tokens: int) -> list[TokenSequence]:
        """Sequences of about `tokens` predicted tokens, without replacement; where the buffer holds fewer, all of it again and
        again."""
        drawn: list[TokenSequence] = []
        while tokens > 0 and self.held:
            for sequence in self._random.sample(self.held, len(self.held)):
                if tokens <= 0:
                    break
                drawn.append(sequence)
                tokens -= sequence.num_predicted
        return drawn

    @property
    def num_bytes(self) -> int:
        """Of the token numbers held, at four bytes each."""
        return 4 * sum(map(len, self.held))
