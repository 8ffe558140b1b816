"""The documentation of the running interpreter's own standard library: `data.read` with source "python:stdlib".

Python modules are parsed and never imported, so that none can open a window or a browser; C modules have no source and are
imported and inspected. What a public module takes from a private one (`from _socket import *`) is documented under the public name.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os.path
import pkgutil
import platform
import re
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder

from metier.engines.data.docstring import heading_of, signature_of, summary_of

# Demonstrations, programs and other interpreters' test suites: not documentation of anything that a program would use.
_LEFT_OUT = {"antigravity", "this", "idlelib", "turtledemo", "test", "tests", "idle_test", "pydoc_data", "ensurepip"}
# The inner halves of os and os.path.
_INNER = {"posix", "nt", "genericpath", "posixpath", "ntpath"}
# Importing these changes the terminal, or they exist to test the interpreter.
_NOT_IMPORTED = {"readline", "xxlimited", "xxlimited_35", "xxsubtype"}

Row = dict[str, str]


def documents() -> Iterator[Row]:
    """One row for each documented public object, by module name and then in order of definition; language topics last.

    Columns: id (qualified name), text (heading with the signature, then the docstring), source (top package, or "topics"), name,
    signature ("" where there is none), module, kind (module, class, function, method, topic), summary (its first sentence).
    A definition is documented once, under the first public name it is found by.
    """
    walk = _Walk()
    for name in sorted(sys.stdlib_module_names):
        if _is_public(name):
            yield from walk.package(name, None)
        if name == "os":
            yield from walk.module("os.path", os.path.__name__, _spec(os.path.__name__, None))
    yield from _topics()


def version() -> str:
    """What the documents depend on: the interpreter and its platform."""
    return f"{platform.python_implementation()} {sys.version} {sys.platform} {platform.machine()}"


@dataclass
class _Walk:
    """Goes through modules and remembers what was documented, by name and by definition."""

    names: set[str] = field(default_factory=set)
    definitions: set[tuple[str, str]] = field(default_factory=set)
    objects: dict[int, object] = field(default_factory=dict)  # holds them, so that no id is used twice

    def package(self, name: str, path: list[str] | None) -> Iterator[Row]:
        """The documents of a module and of the public modules below it."""
        spec = _spec(name, path)
        yield from self.module(name, name, spec)
        if spec is not None and spec.submodule_search_locations is not None:
            below = list(spec.submodule_search_locations)
            for inner in sorted(info.name for info in pkgutil.iter_modules(below)):
                if _is_public(inner):
                    yield from self.package(f"{name}.{inner}", below)

    def module(self, public: str, name: str, spec: ModuleSpec | None) -> Iterator[Row]:
        """The documents of one module, under its public name."""
        source = _source(name, spec)
        if source is None:
            module = _imported(name)
            if module is not None:
                yield from self._row(public, "", "module", module.__doc__, "", (name, ""))
                yield from self._inspected(public, vars(module), name)
            return
        tree = _parsed(source)
        yield from self._row(public, "", "module", ast.get_docstring(tree), "", (name, ""))
        yield from self._parsed_body(_Place(public, name, tree, spec), tree.body, "", None)

    def _parsed_body(self, place: _Place, body: list[ast.stmt], prefix: str, only: set[str] | None) -> Iterator[Row]:
        """Documents of the statements of a module or class; `only` limits the names at this level."""
        for node in _flat(body):
            if isinstance(node, ast.ImportFrom) and not prefix:
                yield from self._imports(place, node, only)
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and prefix and node.name in ("__init__", "__call__")
            if (node.name.startswith("_") and not inside) or (only is not None and node.name not in only):
                continue
            path = f"{prefix}{node.name}"
            kind = "class" if isinstance(node, ast.ClassDef) else "method" if prefix else "function"
            yield from self._row(place.public, path, kind, ast.get_docstring(node), signature_of(node), (place.defined, path))
            if isinstance(node, ast.ClassDef):
                yield from self._parsed_body(place, node.body, f"{path}.", None)
                yield from self._bases(place, node, path)

    def _imports(self, place: _Place, node: ast.ImportFrom, only: set[str] | None) -> Iterator[Row]:
        """What the public module takes over, by star or by name, from a private one or from one below itself."""
        origin = place.absolute(node)
        if origin in place.seen or not (_is_private(origin) or origin.startswith(f"{place.public}.")):
            return
        names = {alias.name for alias in node.names if alias.asname in (None, alias.name)}
        if "*" not in names:
            names = {name for name in names if place.exports(name, origin)}
        wanted = None if "*" in names else names
        if only is not None:
            wanted = only if wanted is None else wanted & only
        if wanted is not None and not wanted:
            return
        spec = place.spec_of(origin)
        source = _source(origin, spec)
        if source is not None:
            inner = _Place(place.public, origin, _parsed(source), spec, place.seen | {origin})
            wanted = _listed(inner.tree) if wanted is None else wanted
            yield from self._parsed_body(inner, inner.tree.body, "", wanted)
            return
        module = _imported(origin)
        if module is not None:
            members = {name: value for name, value in vars(module).items() if wanted is None or name in wanted}
            yield from self._inspected(place.public, members, origin)

    def _bases(self, place: _Place, node: ast.ClassDef, path: str) -> Iterator[Row]:
        """The methods that a class has of a base in a private C module, as `class socket(_socket.socket)`."""
        for base in node.bases:
            if not (isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name) and base.value.id.startswith("_")):
                continue
            if _source(base.value.id, _spec(base.value.id, None)) is None:
                found = getattr(_imported(base.value.id), base.attr, None)
                if isinstance(found, type):
                    yield from self._members(place.public, path, found)

    def _inspected(self, public: str, members: dict[str, object], origin: str) -> Iterator[Row]:
        """Documents of the public objects of an imported module that are its own."""
        for name, value in sorted(members.items()):
            if origin == "sys":  # its hooks may have been replaced, by a notebook or a test runner; it keeps the originals
                value = members.get(f"__{name}__", value)
            home = getattr(value, "__module__", None)
            foreign = (
                isinstance(home, str) and home not in (public, origin, "builtins") and _is_public(home) and home not in _INNER
            )
            alias = members.get(getattr(value, "__name__", name)) is value and getattr(value, "__name__", name) != name
            if name.startswith("_") or alias or id(value) in self.objects or (foreign and origin != "builtins"):
                continue
            if isinstance(value, type):
                self.objects[id(value)] = value
                yield from self._row(public, name, "class", vars(value).get("__doc__"), signature_of(value), (origin, name))
                yield from self._members(public, name, value)
            elif isinstance(value, types.BuiltinFunctionType | types.FunctionType):
                self.objects[id(value)] = value
                yield from self._row(public, name, "function", value.__doc__, signature_of(value), (origin, name))

    def _members(self, public: str, path: str, owner: type) -> Iterator[Row]:
        for name, value in sorted(vars(owner).items()):
            described = isinstance(value, staticmethod | classmethod | property) or inspect.isroutine(value)
            if not name.startswith("_") and (described or inspect.isdatadescriptor(value)) and not isinstance(value, type):
                definition = (f"{owner.__module__}.{owner.__qualname__}", name)
                yield from self._row(public, f"{path}.{name}", "method", value.__doc__, signature_of(value), definition)

    def _row(
        self, module: str, path: str, kind: str, docstring: str | None, signature: str, definition: tuple[str, str]
    ) -> Iterator[Row]:
        name = f"{module}.{path}" if path else module
        if not isinstance(docstring, str) or name in self.names or definition in self.definitions:
            return
        text = inspect.cleandoc(docstring).strip().replace("\0", "")
        summary = summary_of(text)
        if not summary:
            return
        self.names.add(name)
        self.definitions.add(definition)
        yield {
            "id": name,
            "text": f"{heading_of(name, kind, signature)}\n\n{text}",
            "source": module.partition(".")[0],
            "name": name.rpartition(".")[2],
            "signature": signature,
            "module": module,
            "kind": kind,
            "summary": summary,
        }


@dataclass
class _Place:
    """A module's syntax tree, the public name it is documented under, and the private modules that led here."""

    public: str
    defined: str
    tree: ast.Module
    spec: ModuleSpec | None
    seen: frozenset[str] = frozenset()

    def absolute(self, node: ast.ImportFrom) -> str:
        """The full name of the module that an import names."""
        if node.level == 0:
            return node.module or ""
        package = self.defined.split(".")
        if self.spec is None or self.spec.submodule_search_locations is None:
            package = package[:-1]
        package = package[: len(package) - node.level + 1]
        return ".".join([*package, *([node.module] if node.module else [])])

    def spec_of(self, name: str) -> ModuleSpec | None:
        """Where a module is that this one imports: on the path, or beside it."""
        parent, _, _ = name.rpartition(".")
        return _spec(name, _locations(parent) if parent else None)

    def exports(self, name: str, origin: str) -> bool:
        """Whether a name imported from `origin` is the module's own: it says so in __all__, or `origin` is its C or inner half."""
        if name.startswith("_"):
            return False
        listed = _listed(self.tree)
        if listed is not None:
            return name in listed
        return origin.rpartition(".")[2] == f"_{self.public.rpartition('.')[2]}" or origin.startswith(f"{self.public}.")


def _is_public(name: str) -> bool:
    return not _is_private(name) and not _LEFT_OUT.intersection(name.split("."))


def _is_private(name: str) -> bool:
    parts = name.split(".")
    return name in _INNER or (parts != ["__future__"] and any(part.startswith("_") for part in parts))


def _spec(name: str, path: list[str] | None) -> ModuleSpec | None:
    """Where a module is, found without importing it or its parents; None for one built into the interpreter."""
    try:
        return PathFinder.find_spec(name, path)
    except (ImportError, ValueError):
        return None


def _locations(package: str) -> list[str]:
    path: list[str] | None = None
    for depth in range(1, package.count(".") + 2):
        spec = _spec(".".join(package.split(".")[:depth]), path)
        path = list(spec.submodule_search_locations or []) if spec is not None else []
    return path or []


def _source(name: str, spec: ModuleSpec | None) -> str | None:
    """The module's Python text; None for C modules, and where only compiled files are installed."""
    get_source = getattr(spec.loader, "get_source", None) if spec is not None else None
    try:
        return get_source(name) if get_source is not None else None
    except (ImportError, OSError, SyntaxError, UnicodeDecodeError):
        return None


@lru_cache(maxsize=64)
def _parsed(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in old docstrings
        return ast.parse(source)


def _imported(name: str) -> types.ModuleType | None:
    """A module without source, imported; None where this platform lacks it."""
    if name.partition(".")[0] in _NOT_IMPORTED or name.startswith(("_test", "_xx")) or name.endswith("__main__"):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated modules say so
            return importlib.import_module(name)
    except ImportError:
        return None


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body, those under `if`, `try`, `with` and `for` among them."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With | ast.For):
            for part in ("body", "handlers", "orelse", "finalbody"):
                for inner in getattr(node, part, []):
                    yield from _flat(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])


def _listed(tree: ast.Module) -> set[str] | None:
    """The names in a module's __all__ as far as they are written out; None where there is none."""
    names: set[str] | None = None
    for node in _flat(tree.body):
        if not isinstance(node, ast.Assign | ast.AugAssign):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            found = [leaf.value for leaf in ast.walk(node.value) if isinstance(leaf, ast.Constant)]
            names = (names or set()) | {value for value in found if isinstance(value, str)}
    return names


def _topics() -> Iterator[Row]:
    """What `help("TOPIC")` says: the parts of the language reference that come with the interpreter."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return
    for name, text in sorted(topics.items()):
        cleaned = re.sub(r"\n[*=-]{3,}\n", "\n", text.strip()).strip()
        summary = summary_of(re.sub(r"\A[^\n]*\n\n", "", cleaned)) or summary_of(cleaned)
        if summary:
            yield {
                "id": f"topics.{name}",
                "text": f"{heading_of(f'topics.{name}', 'topic', '')}\n\n{cleaned}",
                "source": "topics",
                "name": name,
                "signature": "",
                "module": "topics",
                "kind": "topic",
                "summary": summary,
            }
