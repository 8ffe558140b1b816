"""A version of a method's source: it changes when the code does, not when a comment, a docstring or the formatting does.

The hash covers the method's module and, followed through its imports, everything of metier that it uses; a change in an engine
makes the results of the methods that stand on it stale. Third-party versions are recorded with each result but are no part of it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any


def source_version(function: Callable[..., Any]) -> str:
    """A hash of the code of a function and of metier's modules behind it."""
    return _closure_hash(function.__module__)


@cache
def _closure_hash(module: str) -> str:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and _file(name) is not None:
            seen.add(name)
            waiting.extend(_imports(name))
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(f"{name}:{_code_hash(name)};".encode())
    return digest.hexdigest()[:16]


@cache
def _file(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


@cache
def _tree(module: str) -> ast.Module:
    file = _file(module)
    assert file is not None  # only modules with a file are asked for
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _code_hash(module: str) -> str:
    return hashlib.sha256(ast.dump(_without_docstrings(_tree(module))).encode()).hexdigest()


def _imports(module: str) -> Iterator[str]:
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("metier."))
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("metier."):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = node.body[1:]
    return tree
