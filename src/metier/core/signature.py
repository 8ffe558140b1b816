"""A method's signature read as a schema: what flows in, its settings, what comes out; and the checks of arguments against it."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from metier import artifacts
from metier.artifacts import Model, Report, Table
from metier.core.errors import InputError

INJECTED = ("workdir",)  # keyword-only parameters that only the runner fills
_COUNT = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*([kMGTB])")
_SCALE = {"k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Signature:
    """flows: annotation by name of what comes before the `*`; settings: of what comes after, runner-filled ones left out;
    required: names without a default; defaults: the others'; injected: runner-filled names it has; returns: the result's type."""

    flows: dict[str, Any]
    settings: dict[str, Any]
    required: frozenset[str]
    defaults: dict[str, Any]
    injected: frozenset[str]
    returns: Any


def signature_of(function: Callable[..., Any]) -> Signature:
    """Raises TypeError when a parameter has no annotation, or one that can't be resolved: it could not be checked."""
    name = f"{function.__module__}.{function.__qualname__}"
    try:
        # What flows may be imported under TYPE_CHECKING only, so its names are lent where the module lacks them.
        hints = typing.get_type_hints(function, localns={kind: getattr(artifacts, kind) for kind in artifacts.__all__})
    except NameError as error:
        raise TypeError(
            f"{name}: an annotation cannot be resolved ({error}); import that name at the top of the module"
        ) from error
    flows: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    required, defaults, injected = set(), {}, set()
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name not in hints:
            raise TypeError(f"{name}: parameter {parameter.name!r} has no annotation")
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name in INJECTED:
            injected.add(parameter.name)
            continue
        (settings if parameter.kind is parameter.KEYWORD_ONLY else flows)[parameter.name] = hints[parameter.name]
        if parameter.default is parameter.empty:
            required.add(parameter.name)
        else:
            defaults[parameter.name] = parameter.default
    return Signature(flows, settings, frozenset(required), defaults, frozenset(injected), hints.get("return"))


@dataclass(frozen=True)
class Result:
    """The type of a stage's result: a single artifact or JSON (`single`), or the fields of a NamedTuple."""

    single: type | None = None
    fields: dict[str, type] | None = None

    def describe(self) -> dict[str, Any]:
        if self.fields is not None:
            return {"fields": {name: kind.__name__ for name, kind in self.fields.items()}}
        return {"type": self.single.__name__ if self.single is not None else "json"}


def result_of(annotation: Any, first_table: type | None) -> Result:
    """What a return annotation means for a recipe. A step (Batch to Batch) returns the kind of table that it was given."""
    if isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
        hints = typing.get_type_hints(annotation)
        return Result(fields={name: _artifact(hints[name], first_table) or object for name in annotation._fields})
    return Result(single=_artifact(annotation, first_table))


def is_batch(annotation: Any) -> bool:
    return bool(annotation == artifacts.Batch)


def is_pretrained(annotation: Any) -> bool:
    return isinstance(annotation, type) and any(base.__name__ == "PreTrainedModel" for base in annotation.__mro__)


def is_language_model(annotation: Any) -> bool:
    return getattr(annotation, "__name__", "") == "LanguageModel"


def asks_a_model(annotation: Any) -> bool:
    """Whether some part of the annotation is a LanguageModel, which an endpoint may be as well as a stage's model."""
    return any(is_language_model(part) for part in (annotation, *typing.get_args(annotation)))


def accepts(annotation: Any, produced: type | None) -> bool:
    """Whether a parameter of this annotation can take an artifact of this type; `produced` None is JSON."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return any(accepts(inner, produced) for inner in typing.get_args(annotation))
    if typing.get_origin(annotation) is list:
        return False
    if is_pretrained(annotation) or is_language_model(annotation):
        return produced is Model
    if is_batch(annotation):
        return produced is not None and issubclass(produced, Table)
    if isinstance(annotation, type) and produced is not None:
        return issubclass(produced, annotation)
    return produced is None and not _is_artifact(annotation)


def element(annotation: Any) -> Any:
    """X of list[X] (also inside a union); None where no list is taken."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return next((found for found in map(element, typing.get_args(annotation)) if found is not None), None)
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is list else None


def takes_artifacts(annotation: Any) -> bool:
    """Whether some part of the annotation is what flows."""
    return _is_artifact(annotation) or any(takes_artifacts(inner) for inner in typing.get_args(annotation))


def check_value(annotation: Any, value: Any, *, where: str, name: str) -> Any:
    """The value as the annotation has it ("1M" becomes 1000000 where a number is due). Raises InputError naming place and setting."""
    if isinstance(value, bool) and not _allows(annotation, bool) and _allows(annotation, int, float):
        raise InputError(f"{where}: {name} is {value!r}; it needs {describe(annotation)}")
    if isinstance(value, str) and (match := _COUNT.fullmatch(value)) and _allows(annotation, int, float):
        number = float(match[1]) * _SCALE[match[2]]
        value = int(number) if number.is_integer() else number
    fields = _dataclass_fields(annotation)
    if fields is not None and isinstance(value, dict):
        for key in value:
            if key not in fields:
                raise InputError.unknown("key", str(key), fields, where=f"{name} ({where})")
    try:
        return _adapter(annotation).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        inner = ".".join(part for part in first["loc"] if isinstance(part, str) and fields is not None and part in fields)
        detail = f" ({inner}: {first['msg']})" if inner else ""
        raise InputError(f"{where}: {name} is {value!r}; it needs {describe(annotation)}{detail}") from error


def describe(annotation: Any) -> str:
    """An annotation as a person would write it: "a whole number or nothing"."""
    plain = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
        type(None): "nothing (null)",
        Path: "a path",
    }
    if annotation in plain:
        return plain[annotation]
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(part) for part in inner)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(repr, inner))
    if origin is typing.Annotated:
        return describe(inner[0])
    if origin in (list, tuple):
        return f"a list, each {describe(inner[0])}" if inner else "a list"
    if origin is dict or annotation is dict:
        return "a mapping"
    fields = _dataclass_fields(annotation)
    if fields is not None:
        return f"a mapping with the keys {', '.join(fields)}"
    return getattr(annotation, "__name__", str(annotation))


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # dataclasses and models bring their own configuration
        return TypeAdapter(annotation)


def _allows(annotation: Any, *kinds: type) -> bool:
    return annotation in kinds or any(_allows(inner, *kinds) for inner in typing.get_args(annotation) if isinstance(inner, type))


def _dataclass_fields(annotation: Any) -> list[str] | None:  # of the dataclass in an annotation that is not an artifact
    for part in (annotation, *typing.get_args(annotation)):
        if not _is_artifact(part) and isinstance(part, type) and hasattr(part, "__dataclass_fields__"):
            return list(part.__dataclass_fields__)
    return None


def _artifact(annotation: Any, first_table: type | None) -> type | None:
    if is_batch(annotation):
        return first_table
    if is_pretrained(annotation):
        return Model
    return annotation if _is_artifact(annotation) else None


def _is_artifact(annotation: Any) -> bool:
    if is_batch(annotation) or is_pretrained(annotation) or is_language_model(annotation):
        return True
    return isinstance(annotation, type) and issubclass(annotation, Table | Model | Report)
