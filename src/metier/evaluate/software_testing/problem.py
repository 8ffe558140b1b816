"""A function to test or to repair, and what a model wrote about it."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from metier.engines.sandbox.examine import exports_of
from metier.engines.sandbox.mutants import function

FENCED = re.compile(r"```[ \t]*(?:python|py)?[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL | re.IGNORECASE)
BEGINS = ("def ", "async def ", "class ", "import ", "from ", "@", "assert ")
LONGEST_CODE = 1 << 16  # characters; a model that rambles further wrote no program
SOLUTION = "solution"


@dataclass(frozen=True)
class Problem:
    """A module whose function `focal` does what `spec` says and what `tests` checks.

    id: unique. code: the module's text, right as far as its tests can tell. focal: the function's name. spec: in words, or "". tests: a file of
    tests, or of asserts, which become one test each.
    Raises SyntaxError or ValueError for code or tests that cannot be.
    """

    id: str
    code: str
    focal: str
    spec: str = ""
    tests: str = ""

    def __post_init__(self) -> None:
        function(ast.parse(self.code), self.focal)
        if self.focal not in self.exports:
            raise ValueError(
                f"problem {self.id!r}: focal {self.focal!r} must be a function at the top level of its code, without a leading _"
            )
        object.__setattr__(self, "tests", one_by_one(self.tests))

    @property
    def exports(self) -> dict[str, str]:
        return exports_of(self.code)


def one_by_one(tests: str) -> str:
    """Tests as functions: each assert at the top level becomes one, where the file has no test functions or classes yet."""
    tree = ast.parse(tests)
    if any(isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.lower().startswith("test") for node in tree.body):
        return tests
    rest = [node for node in tree.body if not isinstance(node, ast.Assert)]
    asserts = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Assert)]
    functions = [f"def test_{number}():\n    {text}\n" for number, text in enumerate(asserts)]
    return "\n".join([ast.unparse(ast.Module(rest, [])), *functions])


def python_in(completion: str, *, defines: Sequence[str] = ()) -> str | None:
    """The longest Python in what a model wrote, fences and prose left out; None where there is none.

    defines: names of functions of which it must define one; with none named, anything that holds a statement will do. A block that was cut off
    is read up to its last whole statement.
    """
    text = completion[:LONGEST_CODE]
    blocks = FENCED.findall(text) or [text]
    found = [code for block in blocks if (code := _parsable(block)) is not None]
    if defines:
        found = [code for code in found if any(_defined(code, name) for name in defines)]
    return max(found, key=len, default=None)


def shadows(tests: str, focal: str) -> bool:
    """Whether a test file defines or assigns the function under test, and so tests itself."""
    for node in ast.walk(ast.parse(tests)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == focal:
            return True
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == focal:
            return True
        if (
            isinstance(node, ast.ImportFrom)
            and node.module != SOLUTION
            and focal in {name.asname or name.name for name in node.names}
        ):
            return True
    return False


def _defined(code: str, name: str) -> bool:
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name for node in ast.walk(ast.parse(code))
    )


def _parsable(block: str) -> str | None:
    lines = block.splitlines()
    first = next((place for place, line in enumerate(lines) if line.startswith(BEGINS)), 0)
    found = [code for start in {0, first} if (code := _whole_statements(lines[start:]))]
    return max(found, key=len, default=None)


def _whole_statements(lines: list[str]) -> str | None:
    """The lines before the first that is no Python; None where they hold no statement."""
    while lines:
        code = "\n".join(lines) + "\n"
        try:
            return code if ast.parse(code).body else None
        except SyntaxError as error:
            lines = lines[: min(len(lines), error.lineno or 1) - 1]
        except (ValueError, RecursionError, MemoryError):
            return None
    return None
