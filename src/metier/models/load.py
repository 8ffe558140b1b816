"""A model by its source string, as the first stage of a recipe."""

from __future__ import annotations

from metier.artifacts import Model
from metier.method import method
from metier.models.source import fingerprint, open_model


@method(claim="one string names any model, and what was opened is written beside it", fingerprint=fingerprint)
def load(*, source: str) -> Model:
    """The model behind a source string, downloaded or converted once where it has to be.

    Settings:
        source: smollm2 (SmolLM2-135M-Instruct), tiny (random), a path, hf://org/name[@revision] or gguf://path/to/file.gguf
    """
    return open_model(source)
