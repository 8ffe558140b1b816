"""Recipes: YAML read with the place of every key, so that each mistake can be named with its file and line.

    name: stdlib-expert
    seed: 0
    stages:
      docs: {use: data.read, source: "python:stdlib"}

`read` gives the recipe as it stands in the file, with overrides (`stages.expert.tokens=1M`) applied; core/plan.py checks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from metier.core.errors import InputError

Place = tuple[str | int, ...]
TOP_LEVEL = ("name", "description", "seed", "stages")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_REFERENCE = re.compile(r"\$([A-Za-z][A-Za-z0-9_-]*)(?:\.([A-Za-z_]\w*))?")


@dataclass(frozen=True)
class Reference:
    """`$stage` or `$stage.field`: the result of an earlier stage."""

    stage: str
    field: str | None = None

    def __str__(self) -> str:
        return self.stage if self.field is None else f"{self.stage}.{self.field}"


@dataclass(frozen=True)
class Stage:
    """A call: the method's name and its arguments, in which references are Reference objects."""

    name: str
    use: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """A list of calls. `where(place)` tells the file and line of a key, as "recipe.yaml:12"."""

    name: str
    seed: int
    stages: dict[str, Stage]
    description: str = ""
    file: str = "recipe"
    text: str = ""
    lines: dict[Place, int] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    def where(self, *place: str | int) -> str:
        """The file and line of the innermost part of `place` that stands in the file."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.file}:{self.lines[place]}" if place else self.file


def packaged() -> dict[str, Path]:
    """The recipes that metier brings, by name."""
    folder = Path(str(resources.files("metier.recipes")))
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def find(source: str) -> Path:
    """The file of a recipe: a path, or the name of a packaged recipe. Raises InputError naming the nearest."""
    path = Path(source)
    if path.is_file():
        return path
    recipes = packaged()
    if source in recipes:
        return recipes[source]
    if path.is_dir():
        raise InputError(f"{source} is a folder, not a recipe: `metier init {source}` writes a recipe for its documents")
    raise InputError.unknown("recipe", source, recipes, remedy="a recipe is a YAML file, or the name of a packaged one")


def read(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a file or of a packaged name, with `PATH=VALUE` overrides applied. Raises InputError with file and line."""
    path = find(source)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.object[error.start]:#04x} at offset {error.start})") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return parse(text, file=str(path), overrides=overrides)


def parse(text: str, *, file: str = "recipe", overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a text; `file` names it in errors."""
    lines: dict[Place, int] = {}
    content = _compose(text, file, lines)
    if not isinstance(content, dict):
        raise InputError(f"{file} is no recipe: it must be a mapping with the keys {', '.join(TOP_LEVEL)}")
    for override in overrides:
        _override(content, override, lines)
    where = Recipe(name="", seed=0, stages={}, file=file, lines=lines).where
    for key in content:
        if key not in TOP_LEVEL:
            raise InputError.unknown("key", str(key), TOP_LEVEL, where=where(key))
    name, seed, stages = content.get("name"), content.get("seed", 0), content.get("stages")
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
        raise InputError(f"{where('name')}: name is {name!r}; a recipe needs a name of letters, digits, '-', '_' and '.'")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"{where('seed')}: seed is {seed!r}; give a whole number from 0 up")
    if not isinstance(stages, dict) or not stages:
        raise InputError(f"{where('stages')}: a recipe needs at least one stage under `stages:`")
    return Recipe(
        name=name,
        seed=seed,
        stages={name: _stage(name, call, where) for name, call in stages.items()},
        description=str(content.get("description", "")),
        file=file,
        text=text,
        lines=lines,
        overrides=tuple(overrides),
    )


def references(value: Any) -> Iterable[Reference]:
    """All references inside an argument."""
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def _stage(name: Any, call: Any, where: Any) -> Stage:
    place = where("stages", name)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"{place}: a stage is named {name!r}; use letters, digits, '-' and '_', a letter first")
    if not isinstance(call, dict) or not isinstance(call.get("use"), str):
        raise InputError(
            f"{place}: stage {name!r} does not say which method it calls; write `{name}: {{use: family.method, ...}}`"
        )
    arguments = {str(key): _with_references(value, where, ("stages", name, key)) for key, value in call.items() if key != "use"}
    return Stage(name=name, use=call["use"], arguments=arguments)


def _with_references(value: Any, where: Any, place: Place) -> Any:
    if isinstance(value, str) and value.startswith("$$"):
        return value[1:]
    if isinstance(value, str) and value.startswith("$"):
        match = _REFERENCE.fullmatch(value)
        if match is None:
            raise InputError(
                f"{where(*place)}: {value!r} is no reference; write $stage or $stage.field ($$ for a text that begins with $)"
            )
        return Reference(match[1], match[2])
    if isinstance(value, list):
        return [_with_references(inner, where, (*place, index)) for index, inner in enumerate(value)]
    if isinstance(value, dict):
        return {key: _with_references(inner, where, (*place, key)) for key, inner in value.items()}
    return value


def _override(content: dict[Any, Any], override: str, lines: dict[Place, int]) -> None:
    path, separator, value = override.partition("=")
    keys = path.split(".")
    if not separator or not all(keys):
        raise InputError(f"--set {override!r}: write PATH=VALUE, such as --set stages.expert.tokens=1M")
    try:
        parsed = yaml.safe_load(value) if value else ""
    except yaml.YAMLError as error:
        raise InputError(f"--set {override!r}: {value!r} is no YAML value: {error}") from error
    inner: Any = content
    for depth, key in enumerate(keys[:-1]):
        if not isinstance(inner.get(key), dict):
            if depth < 2 or key in inner:  # a new setting may be nested, a new stage must be written in the recipe
                known = [str(name) for name in inner]
                raise InputError.unknown("key", key, known, where=f"--set {override}")
            inner[key] = {}
        inner = inner[key]
    if keys[0] not in TOP_LEVEL:
        raise InputError.unknown("key", keys[0], TOP_LEVEL, where=f"--set {override}")
    inner[keys[-1]] = parsed
    for place in [place for place in lines if place[: len(keys)] == tuple(keys)]:
        del lines[place]


def _compose(text: str, file: str, lines: dict[Place, int]) -> Any:
    tab = re.search(r"^ *\t", text, re.MULTILINE)
    if tab is not None:
        line = text.count("\n", 0, tab.start()) + 1
        raise InputError(f"{file}:{line}: the line is indented with a tab; YAML allows only spaces")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise InputError(f"{file}:{line}: not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{file}: not valid YAML: {error}") from error
    return _value(node, file, lines, ()) if node is not None else None


def _value(node: yaml.Node, file: str, lines: dict[Place, int], place: Place, outer: tuple[yaml.Node, ...] = ()) -> Any:
    lines.setdefault(place, node.start_mark.line + 1)
    if node in outer:
        raise InputError(f"{file}:{node.start_mark.line + 1}: a YAML anchor refers to itself")
    outer = (*outer, node)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node)
            line = key_node.start_mark.line + 1
            if key in mapping:
                raise InputError(f"{file}:{line}: the key {key!r} stands twice (first on line {lines[(*place, key)]})")
            lines[(*place, key)] = line
            mapping[key] = _value(value_node, file, lines, (*place, key), outer)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_value(inner, file, lines, (*place, index), outer) for index, inner in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    # One node at a time through the safe constructor: plain data only, whatever tags the file carries.
    loader = yaml.SafeLoader("")
    try:
        value = loader.construct_object(node, deep=True)
    except yaml.YAMLError as error:
        raise InputError(f"line {node.start_mark.line + 1}: {error}") from error
    finally:
        loader.dispose()
    return value
