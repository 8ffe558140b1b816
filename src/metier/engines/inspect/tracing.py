"""Where a verdict comes from: activation patching, one vector of the residual stream at a time."""
# N pairs, L blocks, S tokens after the prefix, T tokens computed (S, or all where a model can't go on from a prefix), D hidden size

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from metier.engines.inspect.statements import Answers, Pairs
from metier.engines.inspect.stream import Stream
from metier.progress import track

if TYPE_CHECKING:
    from torch import Tensor

NUM_BINS = 20


@dataclass(frozen=True)
class Margins:
    """logit(TRUE) - logit(FALSE) of the plain runs, (N,) each."""

    true: np.ndarray
    false: np.ndarray

    def num_right(self) -> int:
        """Right verdicts among the 2 N."""
        return int((self.true > 0).sum() + (self.false < 0).sum())


def true_states(stream: Stream, pairs: Pairs, answers: Answers) -> tuple[Tensor, Margins]:
    """What each block gives at each token of the true prompts, (N, L, S, D) on the CPU in the model's dtype; and all plain margins."""
    run = _Run(stream, pairs, answers)
    kept, true, false = [], [], []
    size = stream.rows_at_once(run.length)
    for start in range(0, len(pairs.true_ids), size):
        states_LBTD, margins_B = run.plain(pairs.true_ids[start : start + size])
        kept.append(states_LBTD[:, :, -run.num_asked :].transpose(0, 1).cpu())
        true.append(margins_B)
        false.append(run.plain(pairs.false_ids[start : start + size])[1])
    return torch.cat(kept), Margins(np.concatenate(true), np.concatenate(false))


def patch(stream: Stream, pairs: Pairs, answers: Answers, donor_NLSD: Tensor) -> np.ndarray:
    """logit(TRUE) - logit(FALSE), (N, L, S), of each false prompt when one vector is overwritten: the output of block l at token i.

    donor_NLSD: what to write there, from the same or another model of this width, such as `true_states`
    Each run begins above the block that is patched, so that it costs half on average; all tokens of many pairs run together.
    """
    run = _Run(stream, pairs, answers)
    num_layers, num_tokens = len(stream.blocks), run.num_asked
    if donor_NLSD.shape[:3] != (len(pairs.false_ids), num_layers, num_tokens):
        raise ValueError(
            f"the donor's states {tuple(donor_NLSD.shape[:3])} are not {len(pairs.false_ids)} pairs, {num_layers} blocks, {num_tokens} tokens"
        )
    margins_NLS = np.empty((len(pairs.false_ids), num_layers, num_tokens))
    size = max(1, stream.rows_at_once(run.length) // num_tokens)
    for start in track(range(0, len(pairs.false_ids), size), "patching", unit="batch"):
        ids = pairs.false_ids[start : start + size]
        states_LBTD, _ = run.plain(ids)
        for layer, state_BTD in enumerate(states_LBTD):
            donor_BSD = donor_NLSD[start : start + len(ids), layer].to(state_BTD)
            margins_NLS[start : start + len(ids), layer] = run.patched(layer, ids, state_BTD, donor_BSD)
    return margins_NLS


class _Run:
    """The prompts of some pairs through one model, the common prefix once where the model can go on from it."""

    def __init__(self, stream: Stream, pairs: Pairs, answers: Answers) -> None:
        self.stream, self.answers, self.num_asked = stream, answers, len(pairs.columns)
        shared = stream.forward.prefixes and bool(pairs.prefix)
        self.prefix = stream.forward.prefix(pairs.prefix) if shared else None
        self.before = [] if shared else pairs.prefix
        self.length = len(pairs.prefix) + self.num_asked

    def plain(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, np.ndarray]:
        """States (L, B, T, D) and margins (B,)."""
        states_LBTD, logits_BV = self.stream.states(self._whole(ids), self.prefix)
        return states_LBTD, self._margins(logits_BV)

    def patched(self, layer: int, ids: Sequence[Sequence[int]], state_BTD: Tensor, donor_BSD: Tensor) -> np.ndarray:
        """Margins (B, S): of each sequence once for each token that is overwritten."""
        whole, size = self._whole(ids), self.stream.rows_at_once(self.length)
        places = [(row, token) for row in range(len(ids)) for token in range(self.num_asked)]
        found = []
        for start in range(0, len(places), size):
            rows, tokens = (
                torch.tensor(part, device=state_BTD.device) for part in zip(*places[start : start + size], strict=True)
            )
            patched_BTD = state_BTD[rows]
            patched_BTD[torch.arange(len(rows), device=rows.device), tokens + patched_BTD.shape[1] - self.num_asked] = donor_BSD[
                rows, tokens
            ]
            sequences = [whole[row] for row in rows.tolist()]
            found.append(self._margins(self.stream.logits_from(layer, patched_BTD, sequences, self.prefix)))
        return np.concatenate(found).reshape(len(ids), self.num_asked)

    def _whole(self, ids: Sequence[Sequence[int]]) -> list[list[int]]:
        return [[*self.before, *one] for one in ids]

    def _margins(self, logits_BV: Tensor) -> np.ndarray:
        margins_B = logits_BV[:, self.answers.true_token] - logits_BV[:, self.answers.false_token]
        return margins_B.double().cpu().numpy()


def binned(map_LS: np.ndarray) -> np.ndarray:
    """The authors' normalisation: 20 equal bins from the least to the largest value; the lower ten give 0, the upper 0.1 to 1.

    A map of one value gives 0 everywhere.
    """
    low, high = map_LS.min(), map_LS.max()
    if high == low:
        return np.zeros_like(map_LS)
    # An edge belongs to the bin above it; the share is rounded, since 0.55 of a range is not exact.
    bins_LS = np.minimum(NUM_BINS - 1, np.floor(np.round((map_LS - low) / (high - low) * NUM_BINS, 9)))
    return np.maximum(0, bins_LS - NUM_BINS // 2 + 1) / (NUM_BINS // 2)  # type: ignore[no-any-return]


def similarity(one_LS: np.ndarray, other_LS: np.ndarray) -> float:
    """Pearson's r of two flattened maps; nan where one of them is constant."""
    a, b = (values.ravel() - values.mean() for values in (one_LS, other_LS))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")
