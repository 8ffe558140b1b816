"""Small bugs seeded into a function, one at a time, always the same ones for the same text.

Arithmetic, comparisons, truth values and constants changed; bounds of slices and ranges off by one; the returned value replaced by None; a condition
negated; a statement removed, a `raise` among them. Each compiles, and differs in its compiled code from the original and from every other.
"""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
REMOVABLE = (ast.Expr, ast.AugAssign, ast.Raise)


@dataclass(frozen=True)
class Mutant:
    """The module's text with one bug in it, which bug, and in which line of the original."""

    code: str
    change: str
    line: int


def mutants(code: str, focal: str, *, count: int | None = None, seed: int = 0) -> list[Mutant]:
    """The mutants of one function of a module, in order of the text; `count` of them drawn by `seed`, None for all.

    focal: the function's qualified name. Raises SyntaxError for text that is no Python, ValueError for a name that it does not define or a
    negative count.
    """
    if count is not None and count < 0:
        raise ValueError(f"count={count} is negative: give 0 or more, or None for all mutants")
    tree = ast.parse(code)
    seen = {_compiled(ast.unparse(tree))}
    found = []
    for target, replacement, change in list(_changes(function(tree, focal))):
        text = ast.unparse(
            ast.fix_missing_locations(_Replace(target, replacement).visit(copy.deepcopy(tree, {id(target): target})))
        )
        try:
            compiled = _compiled(text)
        except SyntaxError:
            continue
        if compiled not in seen:
            seen.add(compiled)
            found.append(Mutant(text, change, getattr(target, "lineno", 0)))
    if count is None or count >= len(found):
        return found
    drawn = random.Random(seed).sample(range(len(found)), count)
    return [found[place] for place in sorted(drawn)]


def function(tree: ast.Module, focal: str) -> ast.FunctionDef:
    """The definition with this qualified name. Raises ValueError where there is none."""
    body: list[ast.stmt] = tree.body
    for part in focal.split("."):
        found = next((node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == part), None)
        if found is None:
            raise ValueError(f"the code defines no function {focal!r}: give the qualified name of one of its functions")
        body = found.body
    if not isinstance(found, ast.FunctionDef):
        raise ValueError(f"{focal!r} is a class: give the qualified name of a function")
    return found


def _changes(focal: ast.FunctionDef) -> Iterator[tuple[ast.AST, ast.AST, str]]:
    """Node, what replaces it, and the change in words; in order of the text."""
    inside = [node for statement in _without_docstring(focal) for node in ast.walk(statement)]
    for node in sorted(inside, key=lambda node: (getattr(node, "lineno", 0), getattr(node, "col_offset", 0))):
        for replacement in _replacements(node):
            yield node, replacement, f"{_words(node)} -> {_words(replacement)}"


def _without_docstring(focal: ast.FunctionDef) -> list[ast.stmt]:
    return focal.body[1:] if ast.get_docstring(focal) is not None else focal.body


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in SWAPS:
        yield _with(node, op=SWAPS[type(node.op)]())
    if isinstance(node, ast.Compare):
        for place, sign in enumerate(node.ops):
            if type(sign) in SWAPS:
                yield _with(node, ops=[*node.ops[:place], SWAPS[type(sign)](), *node.ops[place + 1 :]])
    if isinstance(node, ast.Constant) and (changed := _other(node.value)) is not None:
        yield ast.Constant(changed)
    if isinstance(node, ast.Slice):
        for bound in ("lower", "upper"):
            if getattr(node, bound) is not None:
                yield _with(node, **{bound: _one_more(getattr(node, bound))})
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range" and node.args:
        stop = min(1, len(node.args) - 1)
        yield _with(node, args=[*node.args[:stop], _one_more(node.args[stop]), *node.args[stop + 1 :]])
    if isinstance(node, ast.Return) and node.value is not None:
        yield _with(node, value=ast.Constant(None))
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, REMOVABLE):
        yield ast.Pass()


def _other(value: object) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return "" if value else "x"
    return None


def _one_more(node: ast.expr) -> ast.expr:
    return ast.BinOp(node, ast.Add(), ast.Constant(1))


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _words(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).partition("\n")[0][:60]


def _compiled(code: str) -> str:
    return _described(compile(code, "mutant", "exec", dont_inherit=True))


def _described(code: CodeType) -> str:
    constants = [_described(constant) if isinstance(constant, CodeType) else repr(constant) for constant in code.co_consts]
    return repr(
        (code.co_name, code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_exceptiontable, constants)
    )


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self._target, self._replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self._replacement if node is self._target else self.generic_visit(node)
