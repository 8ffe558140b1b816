"""The forward pass over flattened tries: every token sees its own sequence only."""
# B rows, T tokens a row (padded on the right), P tokens of the shared prefix, D hidden size

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache

from metier.engines.score.encode import Piece
from metier.engines.score.head import Head, find_head
from metier.engines.score.plan import Row, plan
from metier.models.cache_argument import cache_argument

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

_SLIDING = "sliding_attention"


@dataclass
class Forward:
    """A model that answers with the hidden states of rows.

    head: from hidden states to logits; None when `hidden` already gives logits
    trees, prefixes: whether rows may branch, and whether a prefix may be computed apart
    """

    model: PreTrainedModel
    head: Head | None
    trees: bool = True
    prefixes: bool = True

    @torch.inference_mode()
    def hidden(self, rows: Sequence[Row], prefix: PrefixCache | None = None) -> Tensor:
        """Last hidden states (B, T, D); logits (B, T, V) for a model without a known head."""
        length = max(len(row.ids) for row in rows)
        ids_BT = self._padded([row.ids for row in rows], length, fill=0)
        body = self.model.base_model if self.head is not None else self.model
        if prefix is None and all(row.is_chain() for row in rows):
            # Padding on the right of a causal model is seen by nothing that counts, so the fast kernels without a mask will do.
            output = body(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), use_cache=False)
        else:
            start = 0 if prefix is None else prefix.length
            positions_BT = self._padded([row.positions for row in rows], length, fill=start)
            ends_BT = self._padded([[*row.ends, *range(len(row.ends) + 1, length + 1)] for row in rows], length)
            output = body(
                input_ids=ids_BT,
                position_ids=positions_BT,
                attention_mask=self._masks(ends_BT, positions_BT, start),
                use_cache=prefix is not None,
                **({cache_argument(body): prefix.repeated(len(rows))} if prefix is not None else {}),
            )
        return output.last_hidden_state if self.head is not None else output.logits  # type: ignore[no-any-return]

    @torch.inference_mode()
    def prefix(self, ids: Sequence[int]) -> PrefixCache:
        """Keys and values of P tokens."""
        ids_1P = torch.tensor([list(ids)], device=self.model.device)
        positions_1P = torch.arange(len(ids), device=self.model.device)[None]
        ends_1P = torch.full_like(positions_1P, len(ids))
        # A cache of its own configuration would forget what lies outside a sliding window; the mask sees to that here.
        cache = DynamicCache()
        self.model.base_model(
            input_ids=ids_1P,
            position_ids=positions_1P,
            attention_mask=self._masks(ends_1P, positions_1P, 0),
            use_cache=True,
            **{cache_argument(self.model.base_model): cache},
        )
        return PrefixCache(len(ids), [(layer.keys, layer.values) for layer in cache.layers])

    def _padded(self, lists: Sequence[Sequence[int]], length: int, fill: int = 0) -> Tensor:
        rows = [[*values, *([fill] * (length - len(values)))] for values in lists]
        return torch.tensor(rows, device=self.model.device)

    def _masks(self, ends_BT: Tensor, positions_BT: Tensor, num_prefix: int) -> Any:
        """The additive mask (B, 1, T, P + T), or one for each kind of layer where a model has several."""
        index_T = torch.arange(ends_BT.shape[1], device=ends_BT.device)
        sees_BTT = (index_T[None, None, :] <= index_T[None, :, None]) & (index_T[None, :, None] < ends_BT[:, None, :])
        before_BTP = sees_BTT.new_ones((*ends_BT.shape, num_prefix))
        sees = torch.cat([before_BTP, sees_BTT], dim=-1)
        config = self.model.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ())
        window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        if window is not None and (not kinds or _SLIDING in kinds):
            keys_BK = torch.cat([torch.arange(num_prefix, device=ends_BT.device).expand(len(ends_BT), -1), positions_BT], dim=-1)
            near = sees & (positions_BT[:, :, None] - keys_BK[:, None, :] < window)
            if len(kinds) > 1:
                return {kind: self._additive(near if kind == _SLIDING else sees) for kind in kinds}
            return self._additive(near)
        return self._additive(sees)

    def _additive(self, sees: Tensor) -> Tensor:
        # Made once in the model's precision: a boolean mask is converted again in every layer, and eager attention adds it.
        dtype = self.model.dtype
        mask = torch.zeros(sees.shape, dtype=dtype, device=sees.device)
        return mask.masked_fill_(~sees, torch.finfo(dtype).min)[:, None]


@dataclass(frozen=True)
class PrefixCache:
    """Keys and values (1, heads, P, head size) of each layer."""

    length: int
    layers: list[tuple[Tensor, Tensor]]

    def repeated(self, times: int) -> DynamicCache:
        """A cache for that many rows, which the next forward pass may write to."""
        cache = DynamicCache()
        for number, (keys, values) in enumerate(self.layers):
            cache.update(keys.expand(times, -1, -1, -1), values.expand(times, -1, -1, -1), number)
        return cache


def open_forward(model: PreTrainedModel) -> Forward:
    """Finds by trial what the model can do: branch within a row, go on from a prefix. What it can't is logged with the reason."""
    forward = Forward(model, find_head(model))
    if forward.head is None:
        return Forward(model, None, trees=False, prefixes=False)
    reason = _refusal(forward, min_prefix=None)
    if reason is not None:
        logger.warning("%s: sequences are scored one by one, sharing nothing: %s", model.config.model_type, reason)
        return Forward(model, forward.head, trees=False, prefixes=False)
    reason = _refusal(forward, min_prefix=4)
    if reason is not None:
        logger.warning("%s: shared prefixes are computed with each row: %s", model.config.model_type, reason)
        return Forward(model, forward.head, trees=True, prefixes=False)
    return forward


def _refusal(forward: Forward, min_prefix: int | None) -> str | None:
    """Why rows that branch, or that go on from a prefix, give other hidden states than plain ones; None if they don't."""
    config = forward.model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", _SLIDING}
    if kinds:
        return f"it has layers of the kind {', '.join(sorted(kinds))}"
    vocabulary = min(config.vocab_size, 50_000)
    sequences = [tuple((7 * i + 11 * j * (i > 7) + 3) % vocabulary for i in range(12 + j)) for j in range(3)]
    pieces = [Piece(j, ids, (0, 0)) for j, ids in enumerate(sequences)]
    try:
        found: dict[tuple[int, int], Tensor] = {}
        for run in plan(pieces, row_tokens=1 if min_prefix is not None else 64, min_prefix=min_prefix):
            prefix = forward.prefix(run.prefix) if run.prefix else None
            hidden = forward.hidden(run.rows, prefix)
            for row, states in zip(run.rows, hidden, strict=True):
                found |= {(number, row.positions[index]): states[index] for index, _, number in row.targets}
    except (ValueError, TypeError, RuntimeError, IndexError, KeyError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    scale = worst = 0.0
    for number, ids in enumerate(sequences):
        chain = Row(list(ids), list(range(len(ids))), [len(ids)] * len(ids))
        expected = forward.hidden([chain])[0]
        for position in range(len(ids) - 2, len(ids)):
            worst = max(worst, float((found[number, position] - expected[position]).abs().max()))
            scale = max(scale, float(expected.abs().max()))
    allowed = {torch.float32: 1e-4, torch.float64: 1e-8}.get(forward.model.dtype, 0.05)
    return None if worst <= allowed * scale else f"a trial differs from plain scoring by {worst / scale:.2g} of the largest state"
