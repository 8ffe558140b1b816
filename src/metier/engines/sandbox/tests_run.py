"""Runs the text of a test file in this process and says what became of each test.

Tests are functions called test* (with cases where pytest.mark.parametrize gave them), the methods of unittest.TestCase classes, methods called test*
of classes called Test*, and, where a file has none of these, the file itself: its asserts run when it is loaded.
"""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from metier.engines.sandbox.expectations import Skipped, pytest_module

Found = dict[str, str]  # name, outcome, message
FILE = "test_solution.py"
WHOLE_FILE = "(the file)"
LONGEST_MESSAGE = 2000


def run_tests(text: str, names: dict[str, Any], *, only: list[str] | None, seed: int) -> list[Found]:
    """One entry a test, in the order they ran (shuffled by `seed`, 0 for the order written); a file that cannot be loaded is one entry.

    names: what the file finds defined. only: the tests to run, None for all.
    """
    sys.modules["pytest"] = pytest_module()
    module = ModuleType("test_solution")
    sys.modules["test_solution"] = module
    module.__dict__.update(names)
    linecache.cache[FILE] = (len(text), None, text.splitlines(keepends=True), FILE)  # messages quote it
    loaded = attempt(WHOLE_FILE, lambda: exec(compile(text, FILE, "exec", dont_inherit=True), module.__dict__))
    if loaded["outcome"] != "ok":
        return [loaded]
    tests = dict(_tests(module, set(names)))
    if not tests:
        return [loaded]
    order = [name for name in tests if only is None or name in only]
    if seed:
        import random  # here and not above: every confined process would pay for it

        random.Random(seed).shuffle(order)
    return [attempt(name, tests[name]) for name in order]


def attempt(name: str, test: Callable[[], object]) -> Found:
    """What became of one test: ok, skipped, assertion, exception, syntax, import, memory, forbidden."""
    try:
        test()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a model's test raises is its outcome
        return {"name": name, "outcome": outcome_of(error), "message": _message(error)}
    return {"name": name, "outcome": "ok", "message": ""}


def outcome_of(error: BaseException) -> str:
    kinds: list[tuple[type[BaseException], str]] = [
        (Skipped, "skipped"),
        (AssertionError, "assertion"),
        (SyntaxError, "syntax"),
        (ImportError, "import"),
        (MemoryError, "memory"),
        (PermissionError, "forbidden"),
    ]
    return next((outcome for kind, outcome in kinds if isinstance(error, kind)), "exception")


def _message(error: BaseException) -> str:
    """Where in the test file, and what."""
    lines = [
        f"line {frame.lineno}: {frame.line}".rstrip(": ")
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == FILE
    ]
    try:
        said = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - an exception whose own text fails
        said = type(error).__name__
    return "\n".join([*lines[-3:], said])[:LONGEST_MESSAGE]


def _tests(module: ModuleType, given: set[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    for name, value in list(vars(module).items()):
        if name in given:
            continue
        if name.startswith("test") and callable(value) and not isinstance(value, type):
            yield from _cases(name, value)
        elif isinstance(value, type) and (name.startswith("Test") or _is_unittest(value)):
            for method in dir(value):
                if method.startswith("test") and callable(getattr(value, method)):
                    yield from _methods(f"{name}.{method}", value, method)


def _cases(name: str, function: Callable[..., object]) -> Iterator[tuple[str, Callable[[], object]]]:
    cases = getattr(function, "cases", None)
    if cases is None:
        yield name, function
    else:
        yield from ((f"{name}[{number}]", partial(function, **case)) for number, case in enumerate(cases))


def _methods(name: str, kind: type, method: str) -> Iterator[tuple[str, Callable[[], object]]]:
    if _is_unittest(kind):
        yield name, partial(_run_unittest, kind, method)
        return
    for case, _ in _cases(name, getattr(kind, method)):
        number = int(case.rpartition("[")[2][:-1]) if case != name else None
        yield case, partial(_run_method, kind, method, number)


def _run_method(kind: type, method: str, number: int | None) -> None:
    test = kind()
    getattr(test, "setup_method", lambda: None)()
    function = getattr(test, method)
    function(**(function.cases[number] if number is not None else {}))


def _is_unittest(kind: type) -> bool:
    return "unittest" in sys.modules and issubclass(kind, sys.modules["unittest"].TestCase)


def _run_unittest(kind: Any, method: str) -> None:
    case, result = kind(method), sys.modules["unittest"].TestResult()
    case.run(result)
    if result.failures:
        raise AssertionError(result.failures[0][1][-LONGEST_MESSAGE:])
    if result.errors:
        raise RuntimeError(result.errors[0][1][-LONGEST_MESSAGE:])
    if result.skipped:
        raise Skipped(result.skipped[0][1])
