"""The decorator that makes a function a method, and the record it keeps.

A leaf: it imports nothing of metier and nothing heavy. The method's name is where it lives, so nothing is registered anywhere:
`pretrain.continued` is the decorated function `continued` in metier/pretrain/continued.py, and `data.read` the one in
metier/engines/data/read.py.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Record:
    """What the decorator was told.

    fingerprint: called with the method's settings by keyword (what flows left out); its answer becomes part of a stage's
        cache key. For methods that read the world outside a recipe: files, a hub, an endpoint.
    """

    claim: str
    paper: str | None
    fingerprint: Callable[..., str] | None


def method(
    *, claim: str, paper: str | None = None, fingerprint: Callable[..., str] | None = None
) -> Callable[[Function], Function]:
    """Marks a function as a method and returns it unchanged: it stays callable anywhere, and picklable.

    Parameters before the `*` are what flows between stages; keyword-only ones are settings. Two keyword-only names are filled
    by the runner when the recipe does not: `seed`, and `workdir` (a folder for checkpoints, the metrics file and results).
    """

    def record(function: Function) -> Function:
        function.__metier__ = Record(claim=claim, paper=paper, fingerprint=fingerprint)  # type: ignore[attr-defined]
        return function

    return record


def find(name: str) -> Callable[..., Any]:
    """The function of a method's name, or of `package.module:function` for methods that are not metier's own.

    Imports only the module that the name says. Raises LookupError with the cause: no such module, no such function in it, or a
    function of metier's that is not decorated.
    """
    if ":" in name:
        module_name, _, attribute = name.partition(":")
        try:
            return getattr(importlib.import_module(module_name), attribute)  # type: ignore[no-any-return]
        except (ModuleNotFoundError, AttributeError) as error:
            raise LookupError(f"{name!r} cannot be imported: {error}") from error
    slug = name.rpartition(".")[2]
    for module_name in _module_names(name):
        if _exists(module_name):
            function = getattr(importlib.import_module(module_name), slug, None)
            if function is None or not hasattr(function, "__metier__"):
                raise LookupError(f"{name!r}: {module_name} has no @method function called {slug!r}")
            return function  # type: ignore[no-any-return]
    raise LookupError(f"no method is called {name!r}")


def record_of(function: Callable[..., Any]) -> Record:
    """The record of a decorated function; one without claim or paper for a plain function of the user's own."""
    return getattr(function, "__metier__", Record(claim="", paper=None, fingerprint=None))


def _module_names(name: str) -> list[str]:
    return [f"metier.{name}", f"metier.engines.{name}"]


def _exists(module_name: str) -> bool:
    try:
        return importlib.util.find_spec(module_name) is not None
    except ModuleNotFoundError:  # a parent is missing
        return False
