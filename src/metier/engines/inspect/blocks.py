"""The residual stream of any Hugging Face decoder: where it is read, edited for the length of a block of code, and resumed from."""
# B rows, T tokens a row, D hidden size

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Edit = Callable[["Tensor"], "Tensor"]

ATTENTION = ("self_attn", "attn", "attention", "self_attention", "linear_attn")
FEED_FORWARD = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe", "fc2")


def decoder_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The blocks in their order: the outermost list of as many modules as the configuration counts layers.

    Raises ValueError for a model without one.
    """
    depth = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return list(module)
    raise ValueError(f"{model.config.model_type}: no list of {depth} blocks was found, so there is no residual stream to read")


def feed_forward(block: nn.Module) -> nn.Module:
    """A block's feed-forward layer; the last linear one of it in a block that holds these itself (OPT). Raises ValueError for none."""
    return _child(block, FEED_FORWARD, "feed-forward")


def residual_writers(block: nn.Module) -> list[nn.Module]:
    """The modules whose outputs a block adds to the residual stream: attention and feed-forward, or the norms that follow these.

    Raises ValueError where either cannot be found.
    """
    if hasattr(block, "post_feedforward_layernorm"):  # Gemma 2 and 3, OLMo 2: what is added is the norm of the sublayer's output
        return [_child(block, (name,), name) for name in ("post_attention_layernorm", "post_feedforward_layernorm")]
    return [_child(block, ATTENTION, "attention"), feed_forward(block)]


def _child(block: nn.Module, names: Sequence[str], what: str) -> nn.Module:
    for name in names:
        if isinstance(found := getattr(block, name, None), nn.Module):
            return found
    held = [name for name, _ in block.named_children()]
    raise ValueError(f"{type(block).__name__} holds {held}: its {what} is none of {list(names)}")


@contextmanager
def edited_outputs(modules: Iterable[nn.Module], edit: Edit) -> Iterator[None]:
    """Inside the block `edit` is applied to what each module gives, (B, T, D); of a module that gives a tuple, to its first part."""

    def hook(module: nn.Module, arguments: Any, output: Any) -> Any:
        return edit(output) if isinstance(output, torch.Tensor) else (edit(output[0]), *output[1:])

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(hook).remove)
        yield


@contextmanager
def edited_inputs(blocks: Iterable[nn.Module], edit: Edit) -> Iterator[None]:
    """Inside the block `edit` is applied to the hidden states (B, T, D) that each decoder block is called with."""

    def hook(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if "hidden_states" in keywords:
            return arguments, keywords | {"hidden_states": edit(keywords["hidden_states"])}
        return (edit(arguments[0]), *arguments[1:]), keywords

    with ExitStack() as stack:
        for block in blocks:
            stack.callback(block.register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield


@contextmanager
def watched(blocks: Sequence[nn.Module], see: Callable[[int, Tensor], None], *, inputs: bool = False) -> Iterator[None]:
    """Inside the block `see` gets each block's number and its output, or its input, (B, T, D), which stays as it is."""

    def watching(number: int) -> Edit:
        def look(hidden_BTD: Tensor) -> Tensor:
            see(number, hidden_BTD)
            return hidden_BTD

        return look

    edited = edited_inputs if inputs else edited_outputs
    with ExitStack() as stack:
        for number, block in enumerate(blocks):
            stack.enter_context(edited([block], watching(number)))
        yield


@contextmanager
def resumed(blocks: Sequence[nn.Module], layer: int, state_BTD: Tensor, *, skip: bool, tuples: bool) -> Iterator[None]:
    """Inside the block a forward pass has `state_BTD` as the output of block `layer`, whatever the blocks before it gave.

    skip: whether the blocks up to `layer` are left out, which saves their time; a model whose later blocks use more of the earlier ones
        than the residual stream (keys that layers share) must compute them
    tuples: whether the model's blocks give tuples
    """
    with ExitStack() as stack:
        if skip:
            output = (state_BTD,) if tuples else state_BTD
            for block in blocks[: layer + 1]:
                stack.enter_context(_replaced_forward(block, output))
        else:
            stack.enter_context(edited_outputs([blocks[layer]], lambda _: state_BTD))
        yield


@contextmanager
def _replaced_forward(block: nn.Module, output: Any) -> Iterator[None]:
    # An attribute of the instance hides the class's method, and its removal shows it again.
    block.forward = lambda *arguments, **keywords: output  # type: ignore[method-assign]
    try:
        yield
    finally:
        del block.forward
