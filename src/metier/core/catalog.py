"""All methods, described from their source without importing them: a listing takes milliseconds, not an import of torch.

What a name, a kind, a paper or a setting is stands in the source once: the path, the signature, the decorator and the `Settings:`
block of the docstring. This module reads them with `ast`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from metier.core.errors import InputError

ENGINES = ("data", "text", "train")  # engines whose functions recipes call by name
NO_METHODS = ("artifacts", "core", "cli", "recipes")
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Setting:
    """A keyword-only parameter. `default` is source text, None where the setting is required; `help` its line in the docstring."""

    name: str
    type: str
    default: str | None
    help: str


@dataclass(frozen=True)
class Description:
    """A method as `metier methods` shows it. `flows` are the parameters before the `*`, by name with their annotation."""

    name: str
    kind: str
    paper: str | None
    claim: str
    summary: str
    doc: str
    flows: dict[str, str]
    returns: str
    settings: list[Setting]
    file: Path


@cache
def names() -> list[str]:
    """The names of all methods, sorted."""
    return [description.name for description in methods()]


@cache
def methods() -> list[Description]:
    """All methods, sorted by name."""
    return sorted((found for file in _files() if (found := _describe(file)) is not None), key=lambda found: found.name)


def describe(name: str) -> Description:
    """One method. Raises InputError naming the nearest."""
    for description in methods():
        if description.name == name:
            return description
    raise InputError.unknown("method", name, names(), remedy="`metier methods` lists all")


def _files() -> Iterator[Path]:
    for family in sorted(_PACKAGE.iterdir()):
        if family.is_dir() and family.name not in (*NO_METHODS, "engines"):
            yield from sorted(family.rglob("*.py"))
    for engine in ENGINES:
        yield from sorted((_PACKAGE / "engines" / engine).rglob("*.py"))


def _name(file: Path) -> str:
    parts = file.relative_to(_PACKAGE).with_suffix("").parts
    parts = parts[1:] if parts[0] == "engines" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _describe(file: Path) -> Description | None:
    source = file.read_text(encoding="utf-8")
    if "@method(" not in source:
        return None
    name = _name(file)
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name.rpartition(".")[2]:
            decorator = next((call for call in node.decorator_list if _is_method(call)), None)
            if decorator is not None:
                return _description(name, node, decorator, file)
    return None


def _is_method(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "method"


def _description(name: str, node: ast.FunctionDef, decorator: ast.expr, file: Path) -> Description:
    assert isinstance(decorator, ast.Call)
    told = {word.arg: word.value for word in decorator.keywords}
    doc = ast.get_docstring(node) or ""
    flows = {arg.arg: _source(arg.annotation) for arg in (*node.args.posonlyargs, *node.args.args)}
    helps = _settings_block(doc)
    settings = [
        Setting(
            arg.arg,
            _source(arg.annotation),
            ast.unparse(default) if default is not None else None,
            helps.get(arg.arg, ""),
        )
        for arg, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        if arg.arg != "workdir"
    ]
    returns = _source(node.returns)
    return Description(
        name=name,
        kind=_kind(list(flows.items()), returns),
        paper=_text(told.get("paper")),
        claim=_text(told.get("claim")) or "",
        summary=doc.partition("\n")[0],
        doc=doc,
        flows=flows,
        returns=returns,
        settings=settings,
        file=file,
    )


def _kind(flows: list[tuple[str, str]], returns: str) -> str:
    """The kind that a signature's shape says (DESIGN's table of kinds)."""
    given = [kind for _, kind in flows]
    first = given[0] if given else ""
    named = {name for name, _ in flows}
    if "completions" in named or "completion_ids" in named:
        return "reward"
    if returns in ("Tensor", "torch.Tensor"):
        return "objective"
    if first == "Batch":
        return "step"
    if returns == "PreTrainedModel":
        return "surgery"
    if returns == "Model":
        return "training" if given else "source"
    if returns == "Report":
        return "report"
    if returns == "Scores":
        return "metric"
    if returns == "Items":
        return "task"
    if returns == "Examples" and any("LanguageModel" in kind for kind in given):
        return "synthesis"
    if first == "Corpus":
        return "corpus job"
    if returns in ("Corpus", "Examples"):
        return "source"
    if returns == "LogitsProcessor" or returns == "LanguageModel":
        return "decoder"
    if returns.endswith("Sampler") or returns.endswith("Callback"):
        return "sampler"
    if any("Model" in kind for kind in given):
        return "probe"
    return "planner"


def _settings_block(doc: str) -> dict[str, str]:
    """name -> help, from the lines `name: help` below `Settings:`; deeper indented lines continue the one before."""
    _, found, block = doc.partition("Settings:\n")
    helps: dict[str, str] = {}
    name = ""
    for line in block.splitlines() if found else []:
        if not line.startswith(" "):
            break
        match = re.fullmatch(r" {4}(\w+): (.*)", line)
        if match is not None:
            name = match[1]
            helps[name] = match[2]
        elif name:
            helps[name] += " " + line.strip()
    return helps


def _source(node: ast.expr | None) -> str:
    text = ast.unparse(node) if node is not None else ""
    return text.strip("'\"")


def _text(node: ast.expr | None) -> str | None:
    return ast.literal_eval(node) if node is not None else None
