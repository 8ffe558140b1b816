"""Growth with random new units behind a mask that rises from 0 to 1 in training (Masked Structural Growth)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from metier.artifacts import Corpus, Model
from metier.artifacts.files import work_folder
from metier.engines.text.shards import held_out_rows, lesson
from metier.engines.train.fit import Precision, Schedule, Watch, fit
from metier.engines.train.trainer import Step
from metier.method import method
from metier.pretrain.depth_stacking.stack import layer_list
from metier.pretrain.progressive_growth.grow import WRITERS, Sizes, enlarged, new_layers, places_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MASK, SHARE = "growth_mask", "growth_share"


@method(
    paper="Masked Structural Growth, arXiv 2305.02869, section 3.2; FLM-101B, arXiv 2309.03852, section 2.3",
    claim="random new units fade in during training, beginning from the function of the small model",
)
def ramped(
    model: Model,
    corpus: Corpus,
    held_out: Corpus | None = None,
    *,
    layers: int | None = None,
    hidden_size: int | None = None,
    intermediate_size: int | None = None,
    heads: int | None = None,
    kv_heads: int | None = None,
    place: Literal["stack", "interleave"] = "stack",
    ramp_steps: int = 5000,
    tokens: int = 100_000_000,
    learning_rate: float = 4e-4,
    sequence_length: int = 1024,
    batch_tokens: int = 65_536,
    precision: Precision = "auto",
    checkpoint_seconds: float = 120.0,
    seed: int = 0,
    workdir: Path | None = None,
) -> Model:
    """The model in larger sizes after training on the corpus; in the first `ramp_steps` what is new fades in. The result is a plain model.

    New weights are random and new layers copies; outputs of new units, heads and places of the residual stream are multiplied by a mask that
    goes from 0 to 1, norms count masked places only, and a new layer gives m f(x) + (1 - m) x. Masks are in the checkpoints of a
    training that is interrupted. Unlike `progressive_growth`, which is ready at once, there is no plain model before the ramp's end.
    Raises ValueError where the training ends before the ramp, and as `progressive_growth` does.
    Settings:
        layers: how many layers in all; null for as many as before, as in all of these
        hidden_size: of the residual stream; the size of a head stays; a Llama's must be a multiple of its heads
        intermediate_size: of the feed-forward layers
        heads: of attention, a multiple of the model's heads a group unless kv_heads is given
        kv_heads: groups of heads; null grows them with the heads
        place: where new layers go: stack puts copies on top, interleave behind the layers they are copies of
        ramp_steps: optimiser steps until the masks are 1; the paper's 5000
        tokens: that are trained on in all
        learning_rate: the peak, after a warm-up of a twentieth; then a cosine down to a tenth
        sequence_length: tokens of a row; longer documents are cut into pieces
        batch_tokens: tokens of an optimiser step, rounded to whole rows
        precision: of the arithmetic; auto is bfloat16 where the machine is fast at it
        checkpoint_seconds: how often the state is saved for a resume; changes nothing in the result
    """
    tokenizer = model.tokenizer()
    before = Sizes.of(model.config())
    after = before.grown(layers, hidden_size, intermediate_size, heads, kv_heads)
    rows = lesson(corpus, tokenizer, sequence_length=sequence_length)
    schedule = Schedule(tokens / rows.num_predicted, max(1, math.ceil(batch_tokens / sequence_length)), learning_rate, final=0.1)
    steps = schedule.num_steps(len(rows))
    if not 1 <= ramp_steps <= steps:
        raise ValueError(f"ramp_steps={ramp_steps} of a training of {steps}: give 1 up to that, so that the masks reach 1")
    folder = work_folder(workdir, "ramp")
    network = enlarged(model.load(torch.float32), after, place=place, seed=seed, silent=False)
    ramp = Ramp(before, after, new_layers(before.layers, after.layers, place)[1], ramp_steps)
    return fit(
        Model.of(network, tokenizer, folder / "initial"),
        rows,
        held_out_rows(held_out, tokenizer, sequence_length=sequence_length),
        schedule,
        adapter=ramp,
        precision=precision,
        checkpoint_seconds=checkpoint_seconds,
        seed=seed,
        workdir=folder,
        method="pretrain.progressive_growth.ramped",
        watch=Watch(on_step=ramp.advance),
    )


@dataclass(frozen=True)
class Ramp:
    """Puts masks at 0 on a model that was enlarged from `before` to `after`, for `fit`; new: its new layers; steps: until they are 1."""

    before: Sizes
    after: Sizes
    new: list[int]
    steps: int

    def put_on(self, model: PreTrainedModel, *, seed: int) -> PreTrainedModel:
        """The same model with masks as buffers and hooks that apply them; its function is that of the small model."""
        places = places_of(self.before, self.after)
        widths = {
            "hidden": self.after.hidden_size,
            "inner": self.after.intermediate_size,
            "heads": self.after.heads * self.after.head_dim,
        }
        masks = {axis: torch.zeros(width, device=model.device) for axis, width in widths.items()}
        for axis, mask in masks.items():
            mask[places[axis]] = 1.0
        handles = []
        wide = self.after.hidden_size > self.before.hidden_size
        grown = {
            "o_proj": ("heads", self.after.heads > self.before.heads),
            "down_proj": ("inner", self.after.intermediate_size > self.before.intermediate_size),
        }
        for name, module in model.named_modules():
            last = name.rpartition(".")[2]
            if last in WRITERS and wide:
                _give(module, "hidden", masks["hidden"])
                handles.append(module.register_forward_hook(_mask_output))
            axis, more = grown.get(last, ("", False))
            if more:
                _give(module, "input", masks[axis])
                handles.append(module.register_forward_pre_hook(_mask_input))
            if wide and "RMSNorm" in type(module).__name__ and last not in ("q_norm", "k_norm"):
                _give(module, "hidden", masks["hidden"])
                handles.append(module.register_forward_hook(_count_masked))
        for number in self.new:
            block = layer_list(model)[1][number]
            block.register_buffer(SHARE, torch.zeros((), device=model.device))
            handles.append(block.register_forward_hook(_fade_in, with_kwargs=True))
        model.growth_handles = handles  # type: ignore[assignment]
        return model

    def take_off(self, trained: Any) -> PreTrainedModel:
        """The plain model. Raises ValueError where a mask is below 1: without it the function would jump."""
        masks = {name: float(buffer.min()) for name, buffer in trained.named_buffers() if MASK in name or name.endswith(SHARE)}
        low = min(masks.values())
        if low < 1:
            raise ValueError(
                f"a mask is at {low:.2f}: the ramp of {self.steps} steps is not at its end, and the function would jump"
            )
        for name in masks:
            module, _, own = name.rpartition(".")
            delattr(trained.get_submodule(module), own)
        for handle in trained.growth_handles:
            handle.remove()
        del trained.growth_handles
        return trained  # type: ignore[no-any-return]

    def advance(self, step: Step) -> dict[str, float]:
        """Sets the masks for the step that follows; for `Watch`."""
        share = min(1.0, step.step / self.steps)
        places = places_of(self.before, self.after)
        for name, buffer in step.network.named_buffers():
            if MASK in name or name.endswith(SHARE):
                buffer.fill_(share)
            if MASK in name:
                axis = "hidden" if name.endswith("hidden") else "heads" if "o_proj" in name else "inner"
                buffer[places[axis].to(buffer.device)] = 1.0
        return {"growth": share}


def _give(module: nn.Module, what: str, mask: Tensor) -> None:
    module.register_buffer(f"{MASK}_{what}", mask.clone())


def _mask_output(module: nn.Module, _: Any, output: Tensor) -> Tensor:
    return output * module.get_buffer(f"{MASK}_hidden").to(output.dtype)


def _mask_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return inputs[0] * module.get_buffer(f"{MASK}_input").to(inputs[0].dtype), *inputs[1:]


def _count_masked(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The output of a norm whose mean square is sum(c x^2) / sum(c), made of that over all places."""
    mask = module.get_buffer(f"{MASK}_hidden")
    epsilon: Any = getattr(module, "variance_epsilon", None) or module.eps
    squares = inputs[0].to(torch.promote_types(inputs[0].dtype, torch.float32)).square()
    wanted = (squares * mask).sum(-1, keepdim=True) / mask.sum() + epsilon
    scale: Tensor = wanted.rsqrt() * (squares.mean(-1, keepdim=True) + epsilon).sqrt()
    return (output * scale).to(output.dtype)


def _fade_in(module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> Any:
    before = keywords["hidden_states"] if "hidden_states" in keywords else inputs[0]
    share = module.get_buffer(SHARE)
    if isinstance(output, Tensor):
        return torch.lerp(before, output, share.to(output.dtype))
    return (torch.lerp(before, output[0], share.to(output[0].dtype)), *output[1:])
