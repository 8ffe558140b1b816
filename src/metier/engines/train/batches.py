"""Rows as a batch: laid end to end in one long row, with the borders of their sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from metier.engines.text.rows import Row


class Collator:
    """Rows laid end to end in one row of a batch: input_ids, labels, position_ids (1, T) int64; cu_seq_lens_q and _k int32
    (sequences + 1), the borders of the sequences; sources (predicted tokens,) int64, indices into `names`."""

    def __init__(self, names: Sequence[str]) -> None:
        self._number = {name: number for number, name in enumerate(names)}

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        sequences = [sequence for row in rows for sequence in row]
        lengths = [len(sequence) for sequence in sequences]
        borders = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        return {
            "input_ids": torch.tensor([[token for sequence in sequences for token in sequence.input_ids]]),
            "labels": torch.tensor([[label for sequence in sequences for label in sequence.labels]]),
            "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
            "cu_seq_lens_q": borders,
            "cu_seq_lens_k": borders,
            "max_length_q": max(lengths),
            "max_length_k": max(lengths),
            "sources": self.sources(sequences),
        }

    def sources(self, sequences: Sequence[Any]) -> torch.Tensor:
        """(predicted tokens,) int64: each one's source, of sequences with `source` and `num_predicted`."""
        return torch.repeat_interleave(
            torch.tensor([self._number[sequence.source] for sequence in sequences], dtype=torch.int64),
            torch.tensor([sequence.num_predicted for sequence in sequences], dtype=torch.int64),
        )
