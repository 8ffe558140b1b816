"""A model opened for inspection: batches of token sequences in, states of the residual stream and logits of the next token out."""
# B rows, T tokens a row, D hidden size, V vocabulary, N sequences

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from metier.engines.inspect.blocks import decoder_blocks, resumed, watched
from metier.engines.score.forward import Forward, PrefixCache, open_forward
from metier.engines.score.plan import Row

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

BATCH_TOKENS = {"cpu": 4096, "cuda": 8192}  # in one forward pass, cached prefixes included
_SAME = {torch.float32: 1e-4, torch.float64: 1e-8}  # of the largest value; 0.05 for half precisions


@dataclass(frozen=True)
class Stream:
    """A decoder with its blocks.

    tuples: whether its blocks give tuples; skips: whether a run may begin above the lower blocks (found by trial)
    """

    forward: Forward
    blocks: list[nn.Module]
    tuples: bool
    skips: bool

    @property
    def model(self) -> PreTrainedModel:
        return self.forward.model

    def layer_at(self, fraction: float) -> int:
        """The block at a share of the depth, as 12 of 32 at 0.375: rounded, at most the last."""
        return min(round(fraction * len(self.blocks)), len(self.blocks) - 1)

    @torch.inference_mode()
    def next_logits(self, sequences: Sequence[Sequence[int]], prefix: PrefixCache | None = None) -> Tensor:
        """Logits (B, V), float32, of the token after each sequence of one batch; sequences follow the prefix where there is one."""
        start = 0 if prefix is None else prefix.length
        hidden_BTD = self.forward.hidden([_chain(ids, start) for ids in sequences], prefix)
        last_B = torch.tensor([len(ids) - 1 for ids in sequences], device=hidden_BTD.device)
        last_BD = hidden_BTD[torch.arange(len(sequences), device=hidden_BTD.device), last_B]
        return (last_BD if self.forward.head is None else self.forward.head(last_BD)).float()

    @torch.inference_mode()
    def states(self, sequences: Sequence[Sequence[int]], prefix: PrefixCache | None = None) -> tuple[Tensor, Tensor]:
        """What every block gives, (blocks, B, T, D), for one batch of sequences of one length; and the logits (B, V)."""
        seen: list[Tensor] = []
        with watched(self.blocks, lambda _, hidden_BTD: seen.append(hidden_BTD)):
            logits_BV = self.next_logits(sequences, prefix)
        return torch.stack(seen), logits_BV

    @torch.inference_mode()
    def logits_from(
        self, layer: int, state_BTD: Tensor, sequences: Sequence[Sequence[int]], prefix: PrefixCache | None = None
    ) -> Tensor:
        """Logits (B, V) where block `layer` gives `state_BTD`."""
        with resumed(self.blocks, layer, state_BTD, skip=self.skips, tuples=self.tuples):
            return self.next_logits(sequences, prefix)

    @torch.inference_mode()
    def states_at(self, sequences: Sequence[Sequence[int]], places: Sequence[int], layer: int, *, inputs: bool = False) -> Tensor:
        """What block `layer` gives, or reads, at one token of each sequence, (N, D) float32 on the CPU. Blocks above are not computed.

        places: the index of the token in each sequence
        """
        found_ND = torch.empty(len(sequences), self.model.config.get_text_config().hidden_size)

        def keep(number: int, hidden_BTD: Tensor) -> None:
            raise _Seen(hidden_BTD)

        for batch in self.batches([len(ids) for ids in sequences]):
            try:
                with watched([self.blocks[layer]], keep, inputs=inputs):
                    self.forward.hidden([_chain(sequences[number]) for number in batch])
            except _Seen as seen:
                places_B = torch.tensor([places[number] for number in batch], device=seen.hidden_BTD.device)
                found_ND[batch] = seen.hidden_BTD[range(len(batch)), places_B].float().cpu()
        return found_ND

    def batches(self, lengths: Sequence[int], prefix_length: int = 0) -> Iterator[list[int]]:
        """Numbers of sequences of like length, at most BATCH_TOKENS tokens together after padding."""
        batch: list[int] = []
        for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
            if batch and len(batch) >= self.rows_at_once(lengths[batch[0]] + prefix_length):
                yield batch
                batch = []
            batch.append(number)
        if batch:
            yield batch

    def rows_at_once(self, length: int) -> int:
        return max(1, BATCH_TOKENS.get(self.model.device.type, BATCH_TOKENS["cpu"]) // length)


class _Seen(Exception):  # noqa: N818  # not an error: it ends a forward pass whose rest nobody needs
    def __init__(self, hidden_BTD: Tensor) -> None:
        self.hidden_BTD = hidden_BTD


def open_stream(model: PreTrainedModel) -> Stream:
    """Finds the blocks, and by trial whether a run may begin in the middle; where it may not, lower blocks are computed each time."""
    blocks, forward = decoder_blocks(model), open_forward(model)
    kinds: list[bool] = []

    def kind(module: nn.Module, arguments: Any, output: Any) -> None:
        kinds.append(isinstance(output, tuple))

    handle = blocks[0].register_forward_hook(kind)
    stream = Stream(forward, blocks, tuples=False, skips=False)
    ids = [[(7 * i + 3) % min(model.config.get_text_config().vocab_size, 50_000) for i in range(8)]]
    try:
        states, expected_1V = stream.states(ids)
    finally:
        handle.remove()
    found = Stream(forward, blocks, tuples=kinds[0], skips=True)
    layer = len(blocks) // 2
    allowed = _SAME.get(model.dtype, 0.05)
    difference = float((found.logits_from(layer, states[layer], ids) - expected_1V).abs().max() / expected_1V.abs().max())
    if difference > allowed:
        logger.warning(
            "%s: runs begin at the first block: skipping lower ones changes logits by %.2g", model.config.model_type, difference
        )
        return Stream(forward, blocks, tuples=kinds[0], skips=False)
    return found


def _chain(ids: Sequence[int], start: int = 0) -> Row:
    return Row(list(ids), list(range(start, start + len(ids))), [len(ids)] * len(ids))
