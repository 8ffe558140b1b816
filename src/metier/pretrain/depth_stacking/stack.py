"""A decoder with its layers in another order, repeated or left out: clones, numbered anew, in a model of the same class."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

PERIODS = ("_interval", "_period", "_pattern", "_step", "_freq")  # ends of names of settings that treat every n-th layer apart
INDEX_SCALED = ("scale_attn_by_inverse_layer_idx", "num_kv_shared_layers")


def arrangement(depth: int, target: int, kind: Literal["stack", "interleave"]) -> list[int]:
    """The layer, from 0, that each of `target` layers is a copy of. Raises ValueError where target is no multiple of depth."""
    if target < depth or target % depth:
        raise ValueError(f"a target of {target} layers is no multiple of the base's {depth}: give one, or the order as a list")
    return [place % depth if kind == "stack" else place // (target // depth) for place in range(target)]


def connection_rate(order: Sequence[int]) -> float:
    """The share of neighbours in the target that were neighbours in the base (R_c of the paper); 1 for a single layer."""
    pairs = list(pairwise(order))
    return sum(upper == lower + 1 for lower, upper in pairs) / len(pairs) if pairs else 1.0


def stacked(model: PreTrainedModel, order: Sequence[int], *, noise: float = 0.0, seed: int = 0) -> PreTrainedModel:
    """A model whose layer i is a copy of layer order[i]; everything else is copied once.

    noise: each matrix of a layer becomes (1 - noise) W + noise E, with normal E of variance 1 / (D L^2) for those that write to the residual
    stream and 2 / (5 D) for the rest (D hidden size, L layers of the target). Raises ValueError as `depth_stacking` says.
    """
    prefix, blocks = layer_list(model)
    bad = [layer for layer in order if not 0 <= layer < len(blocks)]
    if bad or not order:
        raise ValueError(f"order={list(order)}: the base has the layers 0 to {len(blocks) - 1}; give at least one of these")
    config = reordered_config(model.config, order)
    grown = built(model, config)
    old, new = model.state_dict(), grown.state_dict()
    source = {name: _source(name, prefix, order) for name in new}
    check_covers(model, old, {name: (source[name], tensor) for name, tensor in new.items()}, set(order), prefix)
    grown.load_state_dict({name: old[source[name]] for name in new})
    grown.tie_weights()
    if noise:
        _add_noise(layer_list(grown)[1], noise, config.get_text_config().hidden_size, seed)
    return grown.eval()


def layer_list(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The name and the list of a decoder's layers: the outermost of as many modules as the configuration counts.

    Raises ValueError for encoder-decoders, quantised models, layers that share weights, and models without such a list (ALBERT).
    """
    config, kind = model.config, type(model).__name__
    depth = config.get_text_config().num_hidden_layers
    if config.is_encoder_decoder:
        raise ValueError(f"{kind} has an encoder and a decoder, and layers are copied in decoders only: give a causal model")
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError(f"{kind} is quantised, and the copies would lose their scales: give the model in its own precision")
    found = ((name, part) for name, part in model.named_modules() if isinstance(part, nn.ModuleList) and len(part) == depth)
    name, blocks = next(found, ("", None))
    if blocks is None:
        raise ValueError(
            f"{kind}: no list of its {depth} layers was found, so there is nothing to copy (layers that are shared?)"
        )
    weights = [id(weight) for block in blocks for weight in block.parameters()]
    if len(set(weights)) < len(weights):
        raise ValueError(f"{kind}: some of its {depth} layers share weights, which copies would part: it cannot be grown")
    return name, blocks


def reordered_config(config: PretrainedConfig, order: Sequence[int]) -> PretrainedConfig:
    """A configuration for the layers in a new order, whose lists over layers follow it. Raises ValueError where a period is broken."""
    config = copy.deepcopy(config)
    inner = config.get_text_config()
    depth = inner.num_hidden_layers
    for name in INDEX_SCALED:
        if getattr(inner, name, None):
            raise ValueError(
                f"{name}={getattr(inner, name)}: what a layer does depends on its number, so copies would do something else"
            )
    given = dict(vars(inner))
    for name, value in given.items():
        if isinstance(value, list) and "layer" in name and len(value) == depth:
            setattr(inner, name, [value[layer] for layer in order])
        elif isinstance(value, list) and "layer" in name and value and isinstance(value[0], int):
            raise ValueError(f"{name}={value} names layers by number, which the new order changes: it cannot be grown")
        elif name.strip("_").endswith(PERIODS) and type(value) is int and value > 1 and not _listed(inner, name):
            wrong = next((place for place, layer in enumerate(order) if place % value != layer % value), None)
            if wrong is not None:
                raise ValueError(
                    f"{name}={value}: layer {wrong} would be a copy of layer {order[wrong]}, which stands elsewhere in its period: stack "
                    f"whole periods (the base has {depth} layers)"
                )
    inner.num_hidden_layers = len(order)
    return config


def _listed(config: PretrainedConfig, name: str) -> bool:
    """Whether a period is only what a list over layers was once made of: the list counts."""
    lists = {"layer_types": ("pattern", "attention", "attn", "window"), "no_rope_layers": ("rope",)}
    return any(getattr(config, kind, None) and any(word in name for word in words) for kind, words in lists.items())


def built(model: PreTrainedModel, config: PretrainedConfig) -> PreTrainedModel:
    """A model of the same class and dtype by another configuration, its weights not yet filled."""
    from transformers.initialization import no_init_weights

    with torch.random.fork_rng(devices=[]), no_init_weights():
        grown: PreTrainedModel = type(model)._from_config(config, dtype=model.dtype)
    grown.generation_config = copy.deepcopy(model.generation_config)
    return grown


def check_covers(
    model: PreTrainedModel, old: Mapping[str, Tensor], new: Mapping[str, tuple[str, Tensor]], used: set[int], prefix: str
) -> None:
    """Raises ValueError where a tensor of the new model has no source of its shape, or one of the old is not used.

    new: (name of its source, tensor) by name; used: the old layers that the order names
    """
    for name, (source, tensor) in new.items():
        shape = tuple(old[source].shape) if source in old else None
        if shape != tuple(tensor.shape):
            raise ValueError(
                f"{type(model).__name__}: {name} is {tuple(tensor.shape)} and its source {source} {shape or 'missing'}: layers differ in "
                "kind, so a copy does not fit in this place; give another order"
            )
    kept = {source for source, _ in new.values()}
    lost = [name for name in old if name not in kept and _number(name, prefix) in used | {None}]
    if lost:
        raise ValueError(f"{type(model).__name__}: {lost[0]} would be lost ({len(lost)} tensors in all): layers differ in kind")


def _number(name: str, prefix: str) -> int | None:
    match = re.match(rf"{re.escape(prefix)}\.(\d+)\.", name)
    return int(match[1]) if match is not None else None


def _source(name: str, prefix: str, order: Sequence[int]) -> str:
    place = _number(name, prefix)
    if place is None:
        return name
    return f"{prefix}.{order[place]}.{name[len(f'{prefix}.{place}.') :]}"


def _add_noise(blocks: nn.ModuleList, share: float, width: int, seed: int) -> None:
    """Writers to the residual stream are known by their shape and name: what the blocks call out, o, down or c_proj."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in blocks.named_parameters():
            if weight.ndim < 2:
                continue
            writes = re.search(r"\.(o_proj|down_proj|out_proj|c_proj|dense|dense_4h_to_h|fc2|wo|w2)\.", name) is not None
            variance = 1 / (width * len(blocks) ** 2) if writes else 2 / (5 * width)
            drawn = torch.randn(weight.shape, generator=generator) * variance**0.5
            weight.copy_(torch.lerp(weight.float(), drawn.to(weight.device), share))
