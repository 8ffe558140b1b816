"""The surgery: where the old entries of each tensor go in the new one, and what stands in the new places.

The residual stream x of D places becomes [x, 0] of D'. What writes to it (embedding, output and down projections) has zeros for the new
places, and so they stay 0; what reads from it has random entries there, which meet zeros at first and pass gradients on. Root mean
squares over D' places are sqrt(D / D') of those over D, so gains of norms are scaled by that and epsilon by its square. New heads and
new feed-forward units read at random and write zeros. A new layer is a copy that writes zeros.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn

from metier.engines.inspect.blocks import residual_writers
from metier.pretrain.depth_stacking.stack import arrangement, built, layer_list, stacked

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# What each axis of a module's weight runs over, by the last part of the module's name; biases have the first.
AXES: dict[str, tuple[str, ...]] = {
    "embed_tokens": ("", "hidden"),
    "lm_head": ("", "hidden"),
    "q_proj": ("heads", "hidden"),
    "k_proj": ("kv", "hidden"),
    "v_proj": ("kv", "hidden"),
    "o_proj": ("hidden", "heads"),
    "gate_proj": ("inner", "hidden"),
    "up_proj": ("inner", "hidden"),
    "down_proj": ("hidden", "inner"),
    "q_norm": ("",),
    "k_norm": ("",),
}
WRITERS = ("embed_tokens", "o_proj", "down_proj")
OUTPUTS = re.compile(r"\b(o_proj|down_proj|out_proj|c_proj|dense|dense_4h_to_h|fc2|wo|w2)\b")


@dataclass(frozen=True)
class Sizes:
    """A decoder's sizes. Raises ValueError where `heads` can't be shared by `kv_heads` groups."""

    layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    kv_heads: int
    head_dim: int

    def __post_init__(self) -> None:
        if self.kv_heads < 1 or self.heads % self.kv_heads:
            raise ValueError(f"heads={self.heads} can't be shared by kv_heads={self.kv_heads} groups: give a multiple")

    @classmethod
    def of(cls, config: PretrainedConfig) -> Sizes:
        inner = config.get_text_config()
        heads = inner.num_attention_heads
        return cls(
            layers=inner.num_hidden_layers,
            hidden_size=inner.hidden_size,
            intermediate_size=getattr(inner, "intermediate_size", None) or 4 * inner.hidden_size,
            heads=heads,
            kv_heads=getattr(inner, "num_key_value_heads", None) or heads,
            head_dim=getattr(inner, "head_dim", None) or inner.hidden_size // heads,
        )

    def grown(self, layers: int | None, hidden: int | None, inner: int | None, heads: int | None, kv_heads: int | None) -> Sizes:
        """The sizes with the given ones in place. Raises ValueError for a smaller one, for none that is larger, and for groups that break."""
        ratio = self.heads // self.kv_heads
        if heads is not None and kv_heads is None:
            if heads % ratio:
                raise ValueError(
                    f"heads={heads} is no multiple of the {ratio} heads that share one group of keys: give one, or kv_heads besides"
                )
            kv_heads = heads // ratio
        after = Sizes(
            layers=self.layers if layers is None else layers,
            hidden_size=self.hidden_size if hidden is None else hidden,
            intermediate_size=self.intermediate_size if inner is None else inner,
            heads=self.heads if heads is None else heads,
            kv_heads=self.kv_heads if kv_heads is None else kv_heads,
            head_dim=self.head_dim,
        )
        for name, size in vars(after).items():
            if size < getattr(self, name):
                raise ValueError(f"{name}={size} is smaller than the model's {getattr(self, name)}: growth never cuts weights")
        if after.heads // after.kv_heads < ratio:
            raise ValueError(
                f"heads={after.heads} in kv_heads={after.kv_heads} groups leave fewer than the model's {ratio} heads a group: their keys "
                "would be lost"
            )
        if after == self:
            raise ValueError("no size is larger than the model's: give layers, hidden_size, intermediate_size or heads")
        return after


def grown(
    model: PreTrainedModel, sizes: Sizes, *, place: Literal["stack", "interleave"] = "stack", seed: int = 0
) -> PreTrainedModel:
    """A model of `sizes` with the logits of `model`. Raises ValueError as `progressive_growth` says."""
    larger = enlarged(model, sizes, place=place, seed=seed, silent=True)
    check_same(model, larger, seed)
    return larger


def enlarged(
    model: PreTrainedModel, sizes: Sizes, *, place: Literal["stack", "interleave"], seed: int, silent: bool
) -> PreTrainedModel:
    """A model of `sizes` with the weights of `model` in their places.

    silent: whether new places are written zeros and norms are scaled, so that the function stays. Otherwise all new weights are random and
    new layers are plain copies, which changes it: see `ramped`.
    """
    before = Sizes.of(model.config)
    layer_list(model)  # refuses what has none
    larger = model
    if sizes.layers > before.layers:
        larger = _deeper(larger, sizes.layers, place, silent)
    if replace(sizes, layers=before.layers) != before:
        larger = _wider(larger, before, sizes, seed, silent)
    return larger


def check_same(model: PreTrainedModel, larger: PreTrainedModel, seed: int) -> None:
    """Raises ValueError where the logits of 32 random tokens differ by more than rounding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(model.config.get_text_config().vocab_size, (1, 32), generator=generator).to(model.device)
    with torch.no_grad():
        theirs, ours = (network.eval()(ids, use_cache=False).logits.float() for network in (model, larger))
    difference, size = float((ours - theirs).abs().max()), float(theirs.abs().max())
    # transformers computes norms in fp32 whatever the weights are.
    allowed = (1e-4 if model.dtype in (torch.float32, torch.float64) else 0.1) * max(size, 1e-6)
    if not difference <= allowed:
        raise ValueError(
            f"{type(model).__name__}: the grown model's logits differ by {difference:.3g} at a size of {size:.3g}: it computes something that "
            "this growth does not know, and is not stored"
        )


def _deeper(model: PreTrainedModel, target: int, place: Literal["stack", "interleave"], silent: bool) -> PreTrainedModel:
    order, new = new_layers(model.config.get_text_config().num_hidden_layers, target, place)
    larger = stacked(model, order)
    blocks = layer_list(larger)[1]
    with torch.no_grad():
        for number in new if silent else []:
            _silence(blocks[number])
    return larger


def new_layers(depth: int, target: int, place: Literal["stack", "interleave"]) -> tuple[list[int], list[int]]:
    """The layer that each of `target` is a copy of, and which of them are new."""
    if place == "stack":
        return [number % depth for number in range(target)], list(range(depth, target))
    order = sorted(arrangement(depth, -(-target // depth) * depth, "stack")[:target])
    return order, [number for number in range(1, target) if order[number] == order[number - 1]]


def _silence(block: nn.Module) -> None:
    """Makes a block add nothing to the residual stream: by the gain of the norms that follow its parts, else by their last matrices."""
    writers = residual_writers(block)
    if all("Norm" in type(writer).__name__ for writer in writers):
        for writer in writers:
            torch.nn.init.constant_(writer.weight, -1.0 if _counts_from_one(writer) else 0.0)  # type: ignore[arg-type]
        return
    for name, weight in block.named_parameters():
        if OUTPUTS.search(name):
            weight.zero_()


def _counts_from_one(norm: nn.Module) -> bool:
    return type(norm).__name__.startswith("Gemma") and not type(norm).__name__.startswith("Gemma3n")  # gain is 1 + weight


def _wider(model: PreTrainedModel, before: Sizes, after: Sizes, seed: int, silent: bool) -> PreTrainedModel:
    if after.hidden_size > before.hidden_size:
        _check_can_widen(model)
    ratio = before.hidden_size / after.hidden_size if silent else 1.0
    places = places_of(before, after)
    larger = built(model, _wider_config(model.config, after, ratio))
    generator = torch.Generator().manual_seed(seed)
    std = getattr(model.config.get_text_config(), "initializer_range", None) or 0.02
    modules, new = dict(model.named_modules()), larger.state_dict()
    embedding = model.get_input_embeddings().weight.data_ptr()
    filled: dict[str, Tensor] = {}
    for name, old in model.state_dict().items():
        module, _, kind = name.rpartition(".")
        axes = _axes(model, name, modules[module], old, before)
        moved = _scaled(old, module, modules, ratio)
        # A tied head is the embedding, which writes: its new places are zeros, not those of a reader.
        writes = module.rpartition(".")[2] in WRITERS or old.data_ptr() == embedding
        zero = kind == "bias" or (writes and silent)
        filled[name] = _spread(moved, new[name].shape, [places.get(axis) for axis in axes], zero, std, generator)
    larger.load_state_dict(filled)
    larger.tie_weights()
    return larger.eval()


def places_of(before: Sizes, after: Sizes) -> dict[str, Tensor]:
    """For each axis, where its old entries stand in the new one. A head stays in its group, so old heads are not the first ones."""
    own, size = before.heads // before.kv_heads, after.heads // after.kv_heads
    heads = torch.tensor([group * size + head for group in range(before.kv_heads) for head in range(own)])
    inside = torch.arange(before.head_dim)
    return {
        "hidden": torch.arange(before.hidden_size),
        "inner": torch.arange(before.intermediate_size),
        "heads": (heads[:, None] * before.head_dim + inside).flatten(),
        "kv": torch.arange(before.kv_heads * before.head_dim),
    }


def _axes(model: PreTrainedModel, name: str, module: nn.Module, weight: Tensor, before: Sizes) -> tuple[str, ...]:
    """What the axes of a tensor run over. Raises ValueError for one that is not known, or has another size than it should."""
    kind = name.split(".")[-2]
    axes = AXES.get(kind) or (("hidden",) if "RMSNorm" in type(module).__name__ and weight.ndim == 1 else None)
    sizes = {
        "hidden": before.hidden_size,
        "inner": before.intermediate_size,
        "heads": before.heads * before.head_dim,
        "kv": before.kv_heads * before.head_dim,
    }
    axes = axes[: weight.ndim] if axes is not None else None
    known = axes is not None and all(sizes.get(axis, length) == length for axis, length in zip(axes, weight.shape, strict=False))
    if kind in ("q_norm", "k_norm"):
        known = tuple(weight.shape) == (before.head_dim,)
    if axes is None or not known or len(axes) != weight.ndim:
        raise ValueError(
            f"{type(model).__name__}: {name} {tuple(weight.shape)} ({type(module).__name__}) is no part of a Llama-like layer (a mixture of "
            "experts, fused projections, LayerNorm?), and its width cannot be grown without changing the function; its depth can"
        )
    return axes


def _scaled(weight: Tensor, name: str, modules: dict[str, nn.Module], ratio: float) -> Tensor:
    """Gains times sqrt(D / D'). Norms of queries and keys keep their width but share the smaller epsilon: their inputs shrink alike."""
    if ratio == 1:
        return weight
    parent, _, kind = name.rpartition(".")
    if kind in ("q_proj", "k_proj") and f"{parent}.{kind[0]}_norm" in modules:
        return weight.mul(ratio**0.5)
    if "RMSNorm" not in type(modules[name]).__name__ or kind in ("q_norm", "k_norm"):
        return weight
    return weight.double().mul(ratio**0.5).to(weight.dtype)


def _spread(
    old: Tensor, shape: Sequence[int], places: Sequence[Tensor | None], zero: bool, std: float, generator: torch.Generator
) -> Tensor:
    """The old tensor in its places of a new one of `shape`: elsewhere zeros, random numbers, or (gains) the mean of the old."""
    if zero:
        new = torch.zeros(shape)
    elif len(shape) == 1:
        new = torch.full(tuple(shape), float(old.float().mean()))
    else:
        new = torch.randn(tuple(shape), generator=generator) * std
    new = new.to(old)
    index = [at if at is not None else torch.arange(length) for at, length in zip(places, old.shape, strict=True)]
    if len(index) == 2:
        new[index[0][:, None], index[1]] = old
    else:
        new[index[0]] = old
    return new


def _wider_config(config: PretrainedConfig, after: Sizes, ratio: float) -> PretrainedConfig:
    config = copy.deepcopy(config)
    inner = config.get_text_config()
    inner.hidden_size, inner.intermediate_size = after.hidden_size, after.intermediate_size
    inner.num_attention_heads, inner.head_dim = after.heads, after.head_dim
    if hasattr(inner, "num_key_value_heads"):
        inner.num_key_value_heads = after.kv_heads
    if ratio < 1:
        inner.rms_norm_eps = inner.rms_norm_eps * ratio
    try:
        inner.validate()
    except StrictDataclassError as error:  # it could be built, but not stored
        raise ValueError(f"transformers has no {inner.model_type} of these sizes: {error.__cause__ or error}") from error
    return config


def _check_can_widen(model: PreTrainedModel) -> None:
    inner = model.config.get_text_config()
    if getattr(inner, "rms_norm_eps", None) is None:
        raise ValueError(
            f"{type(model).__name__} has no rms_norm_eps: the mean that LayerNorm takes off would change with hidden_size; grow other sizes"
        )
    if inner.model_type.startswith("gemma"):
        raise ValueError(
            f"{type(model).__name__} scales its embedding by the root of hidden_size, which then changes: grow other sizes"
        )
