"""Programs that clean a text: their grammar. Read with `ast`, never compiled or run; any string is a program, with its errors named.

A program is a list of calls, one a line; empty lines, comments and code fences mean nothing, and a line that does not begin with a
name and a parenthesis is prose, which is counted. A document's program says drop_doc() or keep_doc(); a chunk's says
remove_lines(line_start, line_end), both numbers included, normalize(source_str, target_str=""), or keep_chunk(). untouch_doc() is
another name for keep at either level. Arguments are integers and strings as Python writes them, by place or by name.

The authors' reader splits strings: a comma in a quoted string loses the call, "=" and ")" cut the source. Here these are characters.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["document", "chunk"]

MOST_CALLS = 64  # of one program; 256 tokens hold about thirty
LONGEST_LINE = 8_000  # characters; deeper or longer than any program needs, and shallow enough for the parser's stack
_SIGNATURES: dict[str, dict[str, type]] = {
    "drop_doc": {},
    "keep_doc": {},
    "keep_chunk": {},
    "untouch_doc": {},
    "remove_lines": {"line_start": int, "line_end": int},
    "normalize": {"source_str": str, "target_str": str},
}
_CALL = re.compile(rf"(?:[A-Za-z_]\w*|(?:{'|'.join(_SIGNATURES)})\s+)\(", re.ASCII)  # "a word (in prose)" is none
_NAMES: dict[Level, tuple[str, ...]] = {
    "document": ("drop_doc", "keep_doc", "untouch_doc"),
    "chunk": ("remove_lines", "normalize", "keep_chunk", "untouch_doc"),
}
_KEEP = ("keep_doc", "keep_chunk", "untouch_doc")


@dataclass(frozen=True)
class Problem:
    """Why a call is not carried out. kind: a few words from a closed list (`KINDS`); call: the line, at most 120 characters."""

    kind: str
    call: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.call}"


KINDS = (
    "syntax",
    "unknown name",
    "wrong level",
    "arguments",
    "range",
    "characters",
    "too many calls",
    "contradiction",
    # by the text that the call meets, in interpreter.py
    "lines not shown",
    "source too short",
    "changes too much",
)


@dataclass(frozen=True)
class RemoveLines:
    """Lines first to last, counted from 0 over the whole document, both included; 0 <= first <= last."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"remove_lines({self.first}, {self.last})"


@dataclass(frozen=True)
class Normalize:
    """Every literal occurrence of `source` becomes `target`; neither holds a line break."""

    source: str
    target: str = ""

    def __str__(self) -> str:
        return f"normalize({quoted(self.source)}, {quoted(self.target)})"


@dataclass(frozen=True)
class Drop:
    """The document goes."""

    def __str__(self) -> str:
        return "drop_doc()"


@dataclass(frozen=True)
class Keep:
    """Nothing is done."""

    def __str__(self) -> str:
        return "keep_chunk()"


Call = RemoveLines | Normalize | Drop | Keep


@dataclass(frozen=True)
class Program:
    """calls: what can be carried out, in order; problems: the calls that can't be; num_prose: lines that are no calls at all."""

    calls: tuple[Call, ...] = ()
    problems: tuple[Problem, ...] = ()
    num_prose: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is not one call, right or wrong: the model wrote no program."""
        return not self.calls and not self.problems

    @property
    def decision(self) -> Literal["keep", "drop"] | None:
        """Of a document's program; None where it has no call that can be carried out."""
        if not self.calls:
            return None
        return "drop" if isinstance(self.calls[0], Drop) else "keep"


def quoted(text: str) -> str:
    """A string literal that `parse` reads back: double quotes, on one line, everything printable as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\x7f")


def written(calls: Sequence[Call], level: Level) -> str:
    """The program as text, which `parse` reads back; a program without calls keeps."""
    if level == "document":
        return "drop_doc()" if any(isinstance(call, Drop) for call in calls) else "keep_doc()"
    return "\n".join(map(str, calls)) or str(Keep())


def merged(programs: Sequence[Program]) -> Program:
    """One program of several about the same lines: ranges that meet or overlap become one, equal calls stand once."""
    calls = list(dict.fromkeys(call for program in programs for call in program.calls))
    ranges: list[RemoveLines] = []
    for call in sorted((call for call in calls if isinstance(call, RemoveLines)), key=lambda call: call.first):
        if ranges and call.first <= ranges[-1].last + 1:
            ranges[-1] = RemoveLines(ranges[-1].first, max(ranges[-1].last, call.last))
        else:
            ranges.append(call)
    rest = [call for call in calls if isinstance(call, Normalize)]
    problems = tuple(problem for program in programs for problem in program.problems)
    done: tuple[Call, ...] = (*ranges, *rest)
    kept = (Keep(),) if any(isinstance(call, Keep) for call in calls) else ()
    return Program(done or kept, problems, sum(program.num_prose for program in programs))


def parse(text: str, level: Level) -> Program:
    """The program that a model wrote. Never raises, and does nothing but read `text`."""
    calls: list[Call] = []
    problems: list[Problem] = []
    num_prose = 0
    for line in re.split(r"[\r\n]+", text):
        line = line.strip()
        if not line or line.startswith(("#", "```")):
            continue
        if _CALL.match(line) is None:
            num_prose += 1
        elif len(calls) + len(problems) >= MOST_CALLS:
            problems.append(_problem("too many calls", line))
            break
        else:
            found = _call(line, level)
            (problems if isinstance(found, Problem) else calls).append(found)  # type: ignore[arg-type]
    if any(isinstance(call, Drop) for call in calls) and any(isinstance(call, Keep) for call in calls):
        return Program((), (*problems, Problem("contradiction", "drop_doc() and keep_doc()")), num_prose)
    return Program(tuple(calls), tuple(problems), num_prose)


def _problem(kind: str, line: str) -> Problem:
    return Problem(kind, line[:120])


def _call(line: str, level: Level) -> Call | Problem:
    node = _read(line)
    if node is None or not isinstance(node.func, ast.Name):
        return _problem("syntax", line)
    name = node.func.id
    if name not in _SIGNATURES:
        return _problem("unknown name", line)
    if name not in _NAMES[level]:
        return _problem("wrong level", line)
    arguments = _arguments(node, _SIGNATURES[name])
    if arguments is None:
        return _problem("arguments", line)
    return _made(name, arguments, line)


def _read(line: str) -> ast.Call | None:
    """The line's syntax tree where it is one call, None otherwise."""
    if len(line) > LONGEST_LINE:
        return None
    try:
        with warnings.catch_warnings():  # about escapes in the model's strings, which concern nobody
            warnings.simplefilter("ignore")
            tree = ast.parse(line, mode="eval")
    except (
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
    ):  # NULs and lone surrogates are ValueErrors; depth, the last two
        return None
    return tree.body if isinstance(tree.body, ast.Call) else None


def _arguments(node: ast.Call, signature: Mapping[str, type]) -> dict[str, int | str] | None:
    """Values by name; None for anything but literals of the right types, each given once."""
    if len(node.args) > len(signature):
        return None
    given = [*zip(signature, node.args, strict=False), *((word.arg or "**", word.value) for word in node.keywords)]
    values: dict[str, int | str] = {}
    for name, value in given:
        if name not in signature or name in values or not isinstance(value, ast.Constant):
            return None
        if type(value.value) is not signature[name]:  # not isinstance: True is an int to it
            return None
        values[name] = value.value  # type: ignore[assignment]
    if "target_str" in signature:
        values.setdefault("target_str", "")
    return values if set(values) == set(signature) else None


def _made(name: str, values: Mapping[str, int | str], line: str) -> Call | Problem:
    if name in _KEEP:
        return Keep()
    if name == "drop_doc":
        return Drop()
    if name == "remove_lines":
        first, last = values["line_start"], values["line_end"]
        assert isinstance(first, int) and isinstance(last, int)  # by the signature
        return RemoveLines(first, last) if first <= last else _problem("range", line)
    source, target = str(values["source_str"]), str(values["target_str"])
    return Normalize(source, target) if _within_a_line(source + target) else _problem("characters", line)


def _within_a_line(text: str) -> bool:
    """No line breaks, which would shift the numbers of lines, nor other controls or lone surrogates, which no table can hold."""
    return all(c == "\t" or unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") for c in text)
