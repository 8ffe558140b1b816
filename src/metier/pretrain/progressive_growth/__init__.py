"""Progressive growth: a model made wider and deeper in the middle of its training without changing what it computes.

`schedule` plans how long each size is trained, `iq` asks things that no training set contains.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from metier.artifacts import Model
from metier.artifacts.files import work_folder
from metier.method import method


@method(
    paper="FLM-101B, arXiv 2309.03852, section 2.3; Masked Structural Growth, arXiv 2305.02869, section 3.2",
    claim="a model grows in width and depth with unchanged logits, so that most tokens are read at the small model's cost",
)
def progressive_growth(
    model: Model,
    *,
    layers: int | None = None,
    hidden_size: int | None = None,
    intermediate_size: int | None = None,
    heads: int | None = None,
    kv_heads: int | None = None,
    place: Literal["stack", "interleave"] = "stack",
    seed: int = 0,
    workdir: Path | None = None,
) -> Model:
    """The model in larger sizes with the same logits, an ordinary checkpoint in the dtype of `model`, which stays as it was.

    Depth grows in any decoder whose layers stand in one list, width in those of Llama's kind (RMSNorm, gated feed-forward, any grouping of
    heads, tied or untied). The function is kept to fp32 rounding; a model stored in bfloat16 has the scaled gains of its norms rounded
    to that when hidden_size grows by a factor other than 4. Differs from the paper: the masks that start at 0 and ramp up in 5000 steps are
    written into the weights as zeros of whatever writes to new places (old readers of these are random, so gradients flow at
    once), and the optimiser begins anew, as in FLM-101B's own reloads; give the next training a short warm-up. The logits of both models
    are compared before anything is stored. Raises ValueError for sizes below the model's, heads that no group can hold, a mixture
    of experts, and models that would compute something else.
    Settings:
        layers: how many layers in all; null for as many as before, as in all of these
        hidden_size: of the residual stream; the size of a head stays; a Llama's must be a multiple of its heads
        intermediate_size: of the feed-forward layers
        heads: of attention, a multiple of the model's heads a group unless kv_heads is given
        kv_heads: groups of heads; null grows them with the heads
        place: where new layers go: stack puts copies on top, interleave behind the layers they are copies of
    """
    from metier.pretrain.progressive_growth.grow import Sizes, grown

    network = model.load()
    before = Sizes.of(network.config)
    after = before.grown(layers, hidden_size, intermediate_size, heads, kv_heads)
    larger = grown(network, after, place=place, seed=seed)
    folder = work_folder(workdir, "grow")
    facts = {"base": model.facts.get("source", str(model.path)), "before": asdict(before), "after": asdict(after)}
    return Model.of(larger, model.tokenizer(), folder / "model", method="pretrain.progressive_growth", **facts)
