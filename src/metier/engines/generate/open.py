"""Opens a language model for asking, whatever answers behind it."""

from __future__ import annotations

from metier.artifacts import Model
from metier.models.language_model import LanguageModel
from metier.models.precision import Precision
from metier.models.source import cache_folder, open_model, parse


def open_language_model(
    source: str | Model, *, dtype: Precision = "auto", cache: bool = True, max_length: int | None = None
) -> LanguageModel:
    """A model that can be asked: a source string as `open_model` takes it, a Model, or `openai://model@base_url`.

    Its weights are loaded when the first question comes that the cache does not answer.
    Settings:
        dtype: precision of the computation; auto is bfloat16 where the processor is fast at it, else float32
        cache: whether answers are kept on disk, in answers.sqlite in the cache folder, and taken from there
        max_length: window for score_texts in tokens; None for the model's own, at most 2048
    """
    from metier.engines.generate.asking import AskedModel
    from metier.engines.generate.cache import AnswerCache

    answers = AnswerCache(cache_folder() / "answers.sqlite") if cache else None
    if isinstance(source, str):
        parsed = parse(source)
        if parsed.kind in ("vllm", "ct2"):
            raise ValueError(
                f"model source {source!r}: {parsed.kind}:// is not supported; use a path, hf://, gguf:// or smollm2 with transformers, "
                "or serve the model with an OpenAI-compatible server and give openai://model@base_url"
            )
        if parsed.kind == "openai":
            if dtype != "auto" or max_length is not None:
                raise ValueError(f"{source}: dtype and max_length are the server's to choose; leave them out for an endpoint")
            from metier.engines.generate.endpoint import open_endpoint

            return AskedModel(open_endpoint(parsed.rest), answers)
    from metier.engines.generate.local import LocalBackend
    from metier.models.precision import best_device, resolve_dtype

    model = open_model(source) if isinstance(source, str) else source
    name = source if isinstance(source, str) else str(source.path)
    return AskedModel(LocalBackend(name, model, resolve_dtype(dtype, best_device()), max_length), answers)
