"""Depth stacking (G_stack): a deep model made of copies of a shallow one that was trained a little.

`planning` says when to grow and what it saves, `speed_up` measures what it saved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from metier.artifacts import Model
from metier.artifacts.files import work_folder
from metier.method import method


@method(
    paper="Stacking Your Transformers, arXiv 2405.15319, section 3 and appendix on partial stacking and noise",
    claim="a stack of copies of a briefly trained shallow model reaches a loss for fewer FLOPs than the deep model from scratch",
)
def depth_stacking(
    model: Model,
    *,
    growth: int = 4,
    order: Literal["stack", "interleave"] | list[int] = "stack",
    noise: float = 0.0,
    seed: int = 0,
    workdir: Path | None = None,
) -> Model:
    """The model with `growth` times as many layers, each a copy of one of its own; embedding, last norm and head are copied once.

    For any decoder whose layers stand in one list. Not function-preserving: the loss jumps, then falls within the next warm-up. Train on
    with a new optimiser and its own warm-up (`pretrain.continued` does), and count the FLOPs of both trainings. What the paper calls
    zero (copies that add nothing at first) is `pretrain.progressive_growth`. Dtype and tokenizer are those of `model`, which stays as
    it was. Raises ValueError for models whose layers cannot be copied to another place: layers that share weights or keys, scale by
    their number, or follow a period that the new order breaks.
    Settings:
        growth: how many times as many layers; best between 2 and 4 in the paper, which fixes 4; ignored when `order` is a list
        order: stack repeats the whole model (0 1 0 1), interleave each layer (0 0 1 1), worse in the paper; or the layers themselves, from 0
        noise: share of random numbers mixed into the matrices of layers, 0 to 1; 0.2 gained a little in the paper, more did harm
    """
    from metier.pretrain.depth_stacking.stack import arrangement, connection_rate, stacked

    if growth < 2 and isinstance(order, str):
        raise ValueError(f"growth={growth} adds no layer: give 2 or more")
    if not 0 <= noise <= 1:
        raise ValueError(f"noise={noise} is no share: give a number between 0 and 1, such as 0.2")
    network = model.load()
    depth = network.config.get_text_config().num_hidden_layers
    layers = arrangement(depth, growth * depth, order) if isinstance(order, str) else order
    grown = stacked(network, layers, noise=noise, seed=seed)
    folder = work_folder(workdir, "stack")
    facts = {"base": model.facts.get("source", str(model.path)), "order": layers, "connection_rate": connection_rate(layers)}
    return Model.of(grown, model.tokenizer(), folder / "model", method="pretrain.depth_stacking", **facts)
