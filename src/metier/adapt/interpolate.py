"""A model between its base and its tuned version: part of what was learnt, for less of what was lost."""

from __future__ import annotations

from pathlib import Path

import torch

from metier.artifacts import Model
from metier.artifacts.files import work_folder
from metier.method import method


@method(
    paper="Robust fine-tuning of zero-shot models (WiSE-FT), arXiv 2109.01903, equation 1",
    claim="keeps most of a gain and loses less of what the base could do",
)
def interpolate(model: Model, base: Model, *, share: float = 0.5, workdir: Path | None = None) -> Model:
    """The model whose every weight is base + share * (tuned - base), computed in fp32, in the dtype of `model`.

    share 0 is the base and 1 the tuned model, exactly. Both are in memory at once. Raises ValueError for a share outside [0, 1], and for
    models whose weights differ in name or shape, such as one with tokens added.
    Settings:
        share: of the change that is kept; 0.5 is the paper's choice where nothing is known
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} is not between 0 (the base) and 1 (the tuned model)")
    tuned, origin = model.load(), base.load().state_dict()
    weights = tuned.state_dict()
    different = sorted(
        name for name in weights.keys() | origin.keys()
        if name not in weights or name not in origin or weights[name].shape != origin[name].shape
    )  # fmt: skip
    if different:
        raise ValueError(
            f"{model.path} and {base.path} differ in the names or shapes of {len(different)} weights, first {different[0]}: give the model that "
            "the tuned one came from"
        )
    with torch.no_grad():
        for name, weight in tuned.named_parameters():  # tied weights once
            if share < 1:
                weight.copy_(torch.lerp(origin[name].float(), weight.float(), share))
    folder = work_folder(workdir, "interpolate")
    return Model.of(tuned, model.tokenizer(), folder / "model", method="adapt.interpolate", share=share, base=str(base.path))
