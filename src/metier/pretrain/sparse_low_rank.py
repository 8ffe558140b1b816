"""Pretraining with every linear layer as a low-rank product plus a fixed random sparse matrix: a surgery, its undoing, its sizes.

A model of this kind is saved and opened as any other: `save_pretrained` writes safetensors and a `quantization_config` of
`quant_method` sparse_low_rank, from which `from_pretrained` makes the layers in a process that has imported this module. In one that has
not, it stops at the shape of the weights; `merge` makes an ordinary model for it.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from metier.method import method
from metier.pretrain.factored_linear import FactoredLinear
from metier.pretrain.fresh_weights import looks_trained

logger = logging.getLogger(__name__)

NAME = "sparse_low_rank"
TARGETS = ["attn", "attention", "mlp"]


@method(
    paper="SLTrain: a sparse plus low-rank approach for parameter and memory efficient pretraining, arXiv 2406.02214",
    claim="half the parameters, and a lower loss than a low-rank model of as many",
)
def sparse_low_rank(
    model: PreTrainedModel,
    *,
    rank: int | None = None,
    density: float = 0.03,
    alpha: float = 16.0,
    target_modules: list[str] = TARGETS,
    init: Literal["random", "svd"] = "random",
    seed: int = 0,
) -> PreTrainedModel:
    """A model whose linear layers are W = alpha / rank * B A + S, all trained: S has a random support that never changes.

    At step 0 W is S alone, for B is zero. Embeddings, head and norms stay dense, biases are drawn anew with their layer. The model given
    stays as it was. Train it without weight decay: on A and B it is a penalty on the nuclear norm. With `init: random` a model that looks
    trained is refused, for its weights would be lost; `svd` keeps the largest singular values and the largest entries of the rest, and
    logs what is lost. Raises ValueError for layers that would grow, and for targets that match nothing, the head or tied weights. The
    paper's trainable scale (tanh s in place of alpha / rank), off by default there, is left out.
    Settings:
        rank: of B A; null for a quarter of the hidden size, the paper's choice in most sizes
        density: share of each matrix that S holds, between 0 and 1; the paper's 0.03, at 7B 0.05
        alpha: the product's scale is alpha / rank; the paper's 32 at 60M, 16 at 130M and 350M, 8 above
        target_modules: linear layers whose name contains one of these are replaced
        init: random as in the paper, for a new model; svd for one that is to be trained on
    """
    rank = rank if rank is not None else model.config.get_text_config().hidden_size // 4
    _check(rank, density, alpha)
    if getattr(model.config, "quantization_config", None) is not None:
        raise ValueError(f"{_named(model)} is quantised or factored already: give it with plain weights")
    found = targets(model, target_modules)
    for name, layer in found.items():
        _check_gain(name, *_shape(layer), rank, density)
        if init == "random" and looks_trained(layer.weight):
            raise ValueError(
                f"{name} of {_named(model)} looks trained, and init='random' would throw its weights away: begin with a new model "
                "(AutoModelForCausalLM.from_config), or give init='svd', which keeps most of them"
            )
    made: dict[int, Any] = {}
    for name, layer in found.items():
        made[id(layer)] = new = _layer(layer, rank, density, alpha, layer.weight.dtype, layer.weight.device)
        if init == "random":
            new.draw(seed, name)
        else:
            logger.info("%s: %.3f of its norm is lost", name, new.approximate(_matrix(layer), layer.bias))
        new.requires_grad_(True)
    changed: PreTrainedModel = copy.deepcopy(model, made)  # deepcopy takes what stands there for the copy of a layer
    changed.config.quantization_config = SparseLowRankConfig(rank, density, alpha, list(target_modules))
    return changed


def merge(model: PreTrainedModel) -> PreTrainedModel:
    """The same model with ordinary linear layers, which any program opens; logits differ by rounding alone.

    Do it before generating text: a factored layer makes its matrix anew in each pass, which a pass over a single token feels.
    A method of its own for recipes: `use: metier.pretrain.sparse_low_rank:merge`. Raises ValueError where there is nothing to merge.
    """
    factored = [layer for _, layer in _factored(model)]
    if not factored:
        raise ValueError(f"{_named(model)} has no sparse plus low-rank layer to merge: give what pretrain.sparse_low_rank made")
    plain: PreTrainedModel = copy.deepcopy(model, {id(layer): _plain(layer) for layer in factored})
    del plain.config.quantization_config
    return plain


def targets(model: PreTrainedModel, target_modules: Sequence[str]) -> dict[str, nn.Linear | Conv1D]:
    """The layers to be replaced by name. Raises ValueError for none, for the head, and for weights that something else shares."""
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)}
    found = {name: module for name, module in linear.items() if any(part in name for part in target_modules)}
    if not found:
        raise ValueError(
            f"target_modules={list(target_modules)} match none of the {len(linear)} linear layers of {_named(model)}, such as "
            f"{', '.join(list(linear)[:3])}: give parts of their names"
        )
    owners: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(weight), []).append(name)
    head = model.get_output_embeddings()
    for name, layer in found.items():
        if layer is head:
            raise ValueError(f"target_modules={list(target_modules)} match the head {name}, which stays dense: leave it out")
        shared = owners[id(layer.weight)]
        if len(shared) > 1:
            raise ValueError(f"{shared[0]} and {shared[1]} are one weight, and replacing one would part them: leave {name} out")
        if not layer.weight.is_floating_point():
            raise ValueError(f"{name} is quantised ({layer.weight.dtype}): give the model with plain weights")
    return found


@dataclass(frozen=True)
class Sizes:
    """Counts of a factored model: dense, its parameters before; trained, after; nonzeros, the sparse values among them."""

    dense: int
    trained: int
    nonzeros: int

    def memory_bytes(self, *, index_bytes: int = 4, value_bytes: int = 2) -> int:
        """Of weights, AdamW's two moments and positions, all but these of `value_bytes`. The paper's table has index_bytes=8."""
        return 3 * value_bytes * self.trained + index_bytes * self.nonzeros


def sizes(config: PretrainedConfig, *, rank: int, density: float = 0.03, target_modules: Sequence[str] = tuple(TARGETS)) -> Sizes:
    """What a model of this configuration would have, without making its weights; density 0 for the low-rank product alone."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    dense = trained = sum(weight.numel() for weight in model.parameters())
    nonzeros = 0
    for layer in targets(model, target_modules).values():
        inputs, outputs = _shape(layer)
        nonzeros += math.floor(density * inputs * outputs)
        trained += rank * (inputs + outputs) - inputs * outputs
    return Sizes(dense, trained + nonzeros, nonzeros)


@register_quantization_config(NAME)
class SparseLowRankConfig(QuantizationConfigMixin):
    """What config.json says of the layers."""

    def __init__(
        self, rank: int, density: float, alpha: float, target_modules: list[str], quant_method: str = NAME, **_: object
    ) -> None:
        self.quant_method = quant_method  # type: ignore[assignment]
        self.rank, self.density, self.alpha, self.target_modules = rank, density, alpha, target_modules


@register_quantizer(NAME)
class _Opening(HfQuantizer):
    """Puts the layers in place before from_pretrained fills them; nothing is quantised."""

    quantization_config: Any

    def _process_model_before_weight_loading(self, model: PreTrainedModel, **_: object) -> PreTrainedModel:
        told = self.quantization_config
        for name, layer in targets(model, told.target_modules).items():
            new = _layer(layer, told.rank, told.density, told.alpha, layer.weight.dtype, layer.weight.device)
            model.set_submodule(name, new)
        return model

    def _process_model_after_weight_loading(self, model: PreTrainedModel, **_: object) -> PreTrainedModel:
        for name, layer in _factored(model):
            layer.check(name)
        # transformers refuses to train or cast what it takes for quantised.
        model.is_quantized = False  # type: ignore[misc]
        model.config._is_quantized = False
        del model.hf_quantizer, model.quantization_method
        return model

    def is_serializable(self) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        return True


def _check(rank: int, density: float, alpha: float) -> None:
    if rank < 1:
        raise ValueError(f"rank={rank} makes no product: give 1 or more")
    if not 0 < density < 1:
        raise ValueError(f"density={density} is no share of a matrix: give a number between 0 and 1, such as 0.03")
    if not alpha > 0:
        raise ValueError(f"alpha={alpha} takes the product out: give a positive number")


def _check_gain(name: str, inputs: int, outputs: int, rank: int, density: float) -> None:
    nonzeros, dense = math.floor(density * inputs * outputs), inputs * outputs
    if nonzeros < 1:
        raise ValueError(f"density={density} leaves {name} ({outputs} x {inputs}) without a sparse value: give more")
    after = rank * (inputs + outputs) + nonzeros
    if after >= dense:
        raise ValueError(
            f"rank={rank} and density={density} would make {name} ({outputs} x {inputs}) larger, {after:,} weights instead of {dense:,}: "
            "give less, or target_modules without it"
        )


def _layer(
    layer: nn.Linear | Conv1D, rank: int, density: float, alpha: float, dtype: torch.dtype, device: torch.device
) -> FactoredLinear:
    inputs, outputs = _shape(layer)
    bias, transposed = layer.bias is not None, isinstance(layer, Conv1D)
    return FactoredLinear(
        inputs, outputs, rank=rank, density=density, alpha=alpha, bias=bias, transposed=transposed, dtype=dtype, device=device
    )


def _plain(layer: FactoredLinear) -> nn.Linear | Conv1D:
    weight_OI = layer.dense()
    plain: nn.Linear | Conv1D
    with torch.device("meta"):  # its random numbers would be overwritten
        if layer.transposed:
            plain = Conv1D(layer.out_features, layer.in_features)
        else:
            plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    plain.weight = nn.Parameter(weight_OI.T.contiguous() if layer.transposed else weight_OI)
    if layer.bias is not None:
        plain.bias = nn.Parameter(layer.bias.detach().clone())
    return plain.train(layer.training)


def _factored(model: nn.Module) -> Iterator[tuple[str, FactoredLinear]]:
    for name, module in model.named_modules():
        if isinstance(module, FactoredLinear):
            yield name, module


def _shape(layer: nn.Linear | Conv1D) -> tuple[int, int]:
    """(inputs, outputs)"""
    first, second = layer.weight.shape
    return (first, second) if isinstance(layer, Conv1D) else (second, first)


def _matrix(layer: nn.Linear | Conv1D) -> Tensor:
    return layer.weight.T if isinstance(layer, Conv1D) else layer.weight


def _named(model: PreTrainedModel) -> str:
    return f"{type(model).__name__} {model.config.name_or_path!r}" if model.config.name_or_path else type(model).__name__
