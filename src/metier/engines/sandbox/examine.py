"""Examines code with tests, neither of which is trusted, each in a process of its own.

The code's process is only ever asked to call a function on plain data; what is expected of the answer is known in the test's process, and the
verdict goes from there to here. So code that prints "OK", exits with success, patches `assert`, or searches memory and disk for the answers gains
nothing: what it sends back is a return value, which is compared elsewhere. And tests that look for anything but behaviour (the source, the
bytecode, a flag) find stand-ins for functions, so they can tell a right program from a wrong one by what it does, and in no other way.

The price: arguments and answers are plain data (see plain.py). Functions of objects, generators or callbacks cannot be examined, and say so.
"""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metier.engines.sandbox.limits import Limits
from metier.engines.sandbox.process import Process, pump

OUTCOMES = ("ok", "skipped", "assertion", "exception", "syntax", "import", "timeout", "memory", "killed", "forbidden")


@dataclass(frozen=True)
class Result:
    """One test: its name, one of OUTCOMES, and what failed."""

    name: str
    outcome: str
    message: str = ""


@dataclass(frozen=True)
class Coverage:
    """Of the functions traced: lines that could run and that ran (line numbers), ways out of branches (two each) and ways taken."""

    lines: list[int]
    ran: list[int]
    ways: int
    taken: int


@dataclass(frozen=True)
class Examination:
    """outcome: "ok" when at least one test ran and all that ran passed; else the first failure's, or what ended the code or the test.

    results: one a test. calls: how often each function was called. cpu_seconds: of both processes. output: what both printed.
    barriers: what confined them.
    """

    outcome: str
    message: str = ""
    results: list[Result] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    coverage: Coverage | None = None
    cpu_seconds: float = 0.0
    output: str = ""
    barriers: list[str] = field(default_factory=list)

    @property
    def passed(self) -> list[str]:
        """Names of the tests that passed."""
        return [result.name for result in self.results if result.outcome == "ok"]


def examine(
    code: str,
    tests: str,
    *,
    exports: Mapping[str, str],
    limits: Limits | None = None,
    only: Sequence[str] | None = None,
    seed: int = 0,
    trace: Sequence[str] = (),
    namespaces: bool = True,
) -> Examination:
    """What became of the tests of a file, run against a module.

    exports: what the test finds of the module, as `exports_of` gives it for a module that is trusted; it is `from solution import *` for these
    names, and `import solution` works too.
    Raises RuntimeError where this machine offers no barrier.
    Settings:
        limits: of each of the two processes
        only: names of the tests to run, None for all
        seed: of the order of the tests (0: as written) and of the hash of strings
        trace: qualified names of functions whose coverage is measured, which makes them some fifty times slower
        namespaces: False does without namespaces even where the kernel permits them
    """
    limits = limits if limits is not None else Limits()
    served = {"role": "code", "text": code, "trace": list(trace)}
    asked = {
        "role": "tests",
        "text": tests,
        "exports": dict(exports),
        "only": list(only) if only is not None else None,
        "seed": seed,
    }
    with (
        Process(served, limits, hash_seed=seed, namespaces=namespaces) as module,
        Process(asked, limits, hash_seed=seed, namespaces=namespaces) as test,
    ):
        found = _mediate(module, test, exports)
        coverage = _coverage(module) if trace and module.ended is None and "results" in found else None
        barriers = test.barriers or []
    return Examination(
        **found,
        coverage=coverage,
        cpu_seconds=module.cpu_seconds + test.cpu_seconds,
        output=module.output + test.output,
        barriers=barriers,
    )


def exports_of(code: str) -> dict[str, str]:
    """What a module's text defines at its top level for others: name -> "function", "value", or the base of an exception class.

    Names that begin with an underscore, imports and other classes are left out; the test does not find a value that is no plain data either.
    Raises SyntaxError.
    """
    found: dict[str, str] = {}
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = "function"
        elif isinstance(node, ast.ClassDef):
            base = next((base.id for base in node.bases if isinstance(base, ast.Name)), "")
            known = getattr(builtins, base, None)
            if (isinstance(known, type) and issubclass(known, Exception)) or found.get(base, "value") not in (
                "function",
                "value",
            ):
                found[node.name] = base
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            kind = "function" if isinstance(node.value, ast.Lambda) else "value"
            found.update({target.id: kind for target in targets if isinstance(target, ast.Name) and node.value is not None})
    return {name: kind for name, kind in found.items() if not name.startswith("_")}


def _mediate(module: Process, test: Process, exports: Mapping[str, str]) -> dict[str, Any]:
    """Carries calls to the module and answers back until the tests are done; the fields of the Examination."""
    calls: Counter[str] = Counter()
    loaded, asking = False, ""
    while True:
        pump((module, test))
        if module.ended is not None:
            who = f"the code, asked for {asking}" if asking else "the test" if loaded else "the code"
            return _over(who, module, calls)
        if module.lines and not loaded:
            load = module.lines.popleft().get("loaded")
            if not isinstance(load, dict) or load.get("outcome") != "ok":
                return {"outcome": _outcome(load), "message": f"the code cannot be loaded: {_text(load)}", "calls": dict(calls)}
            loaded = True
        elif module.lines and asking:
            test.send(module.lines.popleft())
            asking = ""
        elif module.lines:
            module.end("killed", "it answered what nobody asked")
        if loaded and not asking and test.lines:
            message = test.lines.popleft()
            if "tests" in message:
                return {**_verdict(message["tests"]), "calls": dict(calls)}
            name = message.get("name")
            if not isinstance(name, str) or name not in exports or (message.get("call") and exports[name] != "function"):
                test.end("killed", f"it asked for {str(name)[:60]!r}, which the module does not offer")
            else:
                module.send({word: message.get(word) for word in ("name", "call", "arguments", "words")})
                asking = name
                calls[name] += message.get("call") is True
        if test.ended is not None:
            return _over(f"the test{f', waiting for {asking}' if asking else ''}", test, calls)


def _over(who: str, process: Process, calls: Counter[str]) -> dict[str, Any]:
    """A process that ended before the verdict: whatever it said or printed, nothing passed."""
    assert process.ended is not None
    outcome = "killed" if process.ended.outcome == "done" else process.ended.outcome
    return {"outcome": outcome, "message": f"{who}: {process.ended.message}, without a verdict", "calls": dict(calls)}


def _verdict(tests: object) -> dict[str, Any]:
    entries = tests if isinstance(tests, list) else []
    results = [
        Result(str(entry.get("name"))[:200], _outcome(entry), _text(entry)) for entry in entries if isinstance(entry, dict)
    ]
    failed = next((result for result in results if result.outcome not in ("ok", "skipped")), None)
    if failed is not None:
        return {"outcome": failed.outcome, "message": f"{failed.name}: {failed.message}", "results": results}
    if not any(result.outcome == "ok" for result in results):
        return {"outcome": "skipped", "message": "no test ran", "results": results}
    return {"outcome": "ok", "results": results}


def _outcome(entry: object) -> str:
    found = entry.get("outcome") if isinstance(entry, dict) else None
    return found if isinstance(found, str) and found in OUTCOMES else "killed"


def _text(entry: object) -> str:
    return str(entry.get("message", ""))[:2000] if isinstance(entry, dict) else ""


def _coverage(module: Process) -> Coverage | None:
    """The module's own word, None where its time ended: only for code that is trusted, as that which model-written tests are run against is."""
    module.send({"coverage": True})
    while module.ended is None and not module.lines:
        pump((module,))
    return Coverage(**module.lines.popleft()["coverage"]) if module.ended is None else None
