"""Signatures and summaries of documented Python objects, from syntax trees or from the objects themselves."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

# "max(iterable, *[, key]) -> value": how docstrings older than signatures begin.
_SIGNATURE_LINE = re.compile(r"\A[\w.]+\(.*?\)(?:\s*(?:->|--|=>|:)\s*(?P<after>.*))?\Z")
_SENTENCE_END = re.compile(r"(?<![\s.][A-Z])(?<!i\.e)(?<!e\.g)(?<!etc)(?<!vs)[.!?](?=\s+[A-Z\"'`(])")


def heading_of(name: str, kind: str, signature: str) -> str:
    """The line above a docstring. Builtins go without their module, as in programs."""
    shown = name.removeprefix("builtins.")
    word = {"module": "module ", "class": "class "}.get(kind, "")
    return f"{word}{shown}{signature}"


def signature_of(value: Any) -> str:
    """The parameters in parentheses, with the return annotation where there is one; "" where unknown or not callable.

    A class has those of its __init__, without self; so has a method; a property has none.
    """
    if isinstance(value, ast.FunctionDef | ast.AsyncFunctionDef):
        return _parsed_signature(value)
    if isinstance(value, ast.ClassDef):
        inits = [node for node in value.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
        return _parameters(inits[0].args, bound=True) if inits else ""
    value = value.__func__ if isinstance(value, staticmethod | classmethod) else value
    if not callable(value):
        return ""
    written = getattr(value, "__text_signature__", None)  # of C functions; inspect evaluates its defaults, which can fail
    if isinstance(written, str):
        return re.sub(r"\A\(\$\w+(?:, /)?(?:, )?", "(", re.sub(r"\s+", " ", written))
    try:
        found = inspect.signature(value)
    except (ValueError, TypeError):
        return ""
    return re.sub(r"\A\((?:self|cls)(?:, )?", "(", str(found))


def summary_of(docstring: str) -> str:
    """The first sentence of the first paragraph that says something, in one line; "" where there is none.

    A paragraph of nothing but old-style signatures is passed over, unless words stand after their arrow.
    """
    for paragraph in re.split(r"\n\s*\n", docstring.strip()):
        lines = [line.strip() for line in paragraph.splitlines()]
        if not lines or lines[0].startswith(">>>"):
            continue
        after = next((match["after"] for line in lines if (match := _SIGNATURE_LINE.match(line)) and match["after"]), "")
        if _SIGNATURE_LINE.match(lines[0]) and len(after.split()) > 2 and after[0] not in "([":
            said = after
        else:
            said = " ".join(line for line in lines if not _SIGNATURE_LINE.match(line) and re.search(r"[^\W_]", line))
        said = re.sub(r"\s+", " ", said).strip()
        if len(re.findall(r"[^\W\d_]{2,}", said)) >= 2 and not re.fullmatch(r"(?:\w+=\S+\s?)+", said):
            end = _SENTENCE_END.search(said)
            return said[: end.end()] if end is not None else said
    return ""


def _parsed_signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    if decorators & {"property", "cached_property", "setter", "getter", "DynamicClassAttribute"}:
        return ""
    first = (node.args.posonlyargs + node.args.args)[:1]
    bound = bool(first) and first[0].arg in ("self", "cls", "mcs", "metacls") and "staticmethod" not in decorators
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    return f"{_parameters(node.args, bound)}{returns}"


def _parameters(arguments: ast.arguments, bound: bool) -> str:
    """The parameters as written; `bound` leaves out the first."""
    if not bound:
        return f"({ast.unparse(arguments)})"
    listed = arguments.posonlyargs or arguments.args
    posonly = listed[1:] if arguments.posonlyargs else []
    plain = arguments.args if arguments.posonlyargs else listed[1:]
    return f"({ast.unparse(_copy(arguments, posonly, plain))})"


def _copy(arguments: ast.arguments, posonly: list[ast.arg], plain: list[ast.arg]) -> ast.arguments:
    defaults = arguments.defaults[-len(posonly + plain) :] if posonly + plain else []
    return ast.arguments(
        posonlyargs=posonly,
        args=plain,
        vararg=arguments.vararg,
        kwonlyargs=arguments.kwonlyargs,
        kw_defaults=arguments.kw_defaults,
        kwarg=arguments.kwarg,
        defaults=defaults,
    )
