"""The activations of any decoder, counted tensor by tensor on a model without storage."""

from __future__ import annotations

import contextlib
from typing import Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM, PretrainedConfig

from metier.engines.train.segments import plain_attention
from metier.pretrain.efficiency_review.memory import Arithmetic


def traced_activations(config: PretrainedConfig, tokens: int, arithmetic: Arithmetic) -> int:
    """Bytes that autograd keeps of a decoder's body over one sequence of `tokens`, parameters apart, each storage counted once.

    The head is left out (memory.py counts it). A second or two whatever the model's size, for no number is computed.
    """
    with FakeTensorMode():
        network = AutoModelForCausalLM.from_config(config, attn_implementation="eager").train()
        network.set_attn_implementation(plain_attention(network))
        with SavedBytes(network) as saved, _autocast(arithmetic), _one_sequence():
            kept = network.get_decoder()(input_ids=torch.zeros(1, tokens, dtype=torch.int64), use_cache=False)
        del kept
        return saved.total


class SavedBytes:
    """Counts, inside the block, the bytes that autograd keeps: storages once, without the network's own weights."""

    def __init__(self, network: torch.nn.Module) -> None:
        self._own = {weight.untyped_storage()._cdata for weight in network.parameters()}
        self._kept: dict[int, torch.UntypedStorage] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    @property
    def total(self) -> int:
        """Bytes so far."""
        return sum(storage.nbytes() for storage in self._kept.values())

    def __enter__(self) -> SavedBytes:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._own:
            self._kept[storage._cdata] = storage  # held, so that no later one gets its address
        return tensor


def _one_sequence() -> contextlib.AbstractContextManager[Any]:
    """Keeps transformers from making a mask for sequences packed in a row, which it can't rule out where positions have no values."""
    return mock.patch("transformers.masking_utils.find_packed_sequence_indices", lambda position_ids: None)


def _autocast(arithmetic: Arithmetic) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16) if arithmetic == "autocast" else contextlib.nullcontext()
