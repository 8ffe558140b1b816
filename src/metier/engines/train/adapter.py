"""LoRA adapters: put on before training, merged into the weights after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Adapter:
    """A low-rank adapter of the linear layers (LoRA, arXiv 2106.09685).

    rank: of the update; alpha: its scale is alpha / rank, None for 2 * rank; dropout: on its input, 0 to 1
    target_modules: names of linear layers, or ["all-linear"] for all but the head
    """

    rank: int = 16
    alpha: float | None = None
    dropout: float = 0.0
    target_modules: list[str] = field(default_factory=lambda: ["all-linear"])

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"adapter rank={self.rank} adapts nothing: give 1 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"adapter dropout={self.dropout} is no share: give a number from 0 up to but not 1")

    def put_on(self, model: PreTrainedModel, *, seed: int) -> PeftModel:
        """The model with an adapter of which only the low-rank weights are trained. Its first output equals the model's own."""
        import torch
        from peft import LoraConfig, get_peft_model

        everything = self.target_modules == ["all-linear"]
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha if self.alpha is not None else 2 * self.rank,
            lora_dropout=self.dropout,
            target_modules="all-linear" if everything else list(self.target_modules),
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            adapted = get_peft_model(model, config)
        if not isinstance(model.get_output_embeddings(), torch.nn.Linear):
            raise ValueError(
                f"adapter target_modules={self.target_modules} puts an adapter on the head, which shares its weight with the embedding in "
                'many models and runs in chunks here: leave it out, or give ["all-linear"] for all but the head'
            )
        return adapted

    def take_off(self, adapted: PeftModel) -> PreTrainedModel:
        """The model itself, with the update in its weights."""
        return adapted.merge_and_unload()  # type: ignore[no-any-return, operator]
