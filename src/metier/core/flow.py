"""Between the store and the methods: stored results become arguments, and what a method returns becomes a stored result."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from metier.artifacts import Model, Report, Table
from metier.artifacts.files import atomic_write
from metier.core.recipe import Reference
from metier.core.signature import Result, accepts, asks_a_model, element, is_language_model, is_pretrained


def load_flow(value: Any, annotation: Any, results: Mapping[str, Result], folders: Mapping[str, Path]) -> Any:
    """A planned argument (a Reference, a list of them, or a plain value) as the method wants it."""
    if isinstance(value, list):
        return [load_flow(inner, element(annotation), results, folders) for inner in value]
    if isinstance(value, str) and asks_a_model(annotation):
        from metier.engines.generate.open import open_language_model

        return open_language_model(value)
    if not isinstance(value, Reference):
        return value
    result, folder = results[value.stage], folders[value.stage]
    if value.field is not None:
        assert result.fields is not None  # checked by the plan
        kind, folder = result.fields[value.field], folder / value.field
    else:
        kind = result.single or object
    if kind is Model and not _accepts_plainly(annotation, Model):
        return _opened(annotation, Model.open(folder))
    if issubclass(kind, Table | Model | Report):
        return kind.open(folder)
    return json.loads((folder / "result.json").read_text())


def save_result(value: Any, result: Result, folder: Path, tokenizer: Callable[[], Any]) -> None:
    """Stores what a method returned. Raises TypeError when it is not what the method's annotation promised."""
    if result.fields is not None:
        for name, kind in result.fields.items():
            _save(getattr(value, name), None if kind is object else kind, folder / name, tokenizer)
    else:
        _save(value, result.single, folder, tokenizer)


def _accepts_plainly(annotation: Any, kind: type) -> bool:
    """Whether the annotation names the artifact itself, and not a model opened from it."""
    parts = typing.get_args(annotation) or (annotation,)
    return any(accepts(part, kind) and not (is_pretrained(part) or is_language_model(part)) for part in parts)


def _opened(annotation: Any, model: Model) -> Any:
    if asks_a_model(annotation):
        from metier.engines.generate.open import open_language_model

        return open_language_model(model)
    return model.load()


def _save(value: Any, kind: type | None, folder: Path, tokenizer: Callable[[], Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if kind is Model and not isinstance(value, Model) and hasattr(value, "save_pretrained"):
        Model.of(value, tokenizer(), folder)
    elif kind is None:
        atomic_write(folder / "result.json", json.dumps(to_jsonable_python(value), indent=1))
    elif isinstance(value, kind):
        value.save(folder)  # type: ignore[attr-defined]
    else:
        raise TypeError(f"it returned a {type(value).__name__}, and its annotation promises a {kind.__name__}")
