"""What runs in a confined process: confine it, then serve a module's functions or run a test file against functions served elsewhere.

The parent starts this with the standard library alone. Nothing untrusted runs before the last line of `_confine`. Lines of JSON come on descriptor 0 and
go to the descriptor that the first of them names.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from metier.engines.sandbox import landlock, privileges, seccomp
from metier.engines.sandbox.plain import NotPlainError, decode, encode
from metier.engines.sandbox.tests_run import attempt, run_tests

if TYPE_CHECKING:
    from metier.engines.sandbox.tracing import Tracer

SOLUTION = "solution"
ENDS = ("StopIteration", "StopAsyncIteration")
Send = Callable[[dict[str, Any]], None]


def main() -> None:
    """Reads one task and does it. Ends the process without running what untrusted code left to run at exit."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    task = json.loads(requests.readline())
    answers = os.fdopen(task["answers"], "w", encoding="utf-8")

    def send(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    def receive() -> dict[str, Any]:
        line = requests.readline()
        if not line:
            os._exit(0)  # the parent is done with this process
        return json.loads(line)  # type: ignore[no-any-return]

    if task.get("trace"):
        importlib.import_module("metier.engines.sandbox.tracing")  # once confined, this library cannot be read
    try:
        barriers = _confine(task)
    except (OSError, NotImplementedError) as error:
        send({"refused": str(error)})
        os._exit(1)
    send({"ready": barriers})
    if task["role"] == "code":
        _serve(task, send, receive)
    else:
        names = _stand_ins(task["exports"], send, receive)
        found = run_tests(task["text"], names, only=task["only"], seed=task["seed"])
        send({"tests": found})
    os._exit(0)


def _confine(task: dict[str, Any]) -> list[str]:
    """Limits first, then the barriers; says which hold. Raises OSError where one of those that must hold does not."""
    folder = Path(task["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path[:] = [path for path in sys.path if path != task["source"]]
    os.umask(0o077)
    fences = landlock.version()
    if fences == 0:
        raise OSError("this kernel has no Landlock (Linux 5.13 or later, switched on), so files could not be protected")
    privileges.limit_resources(task["limits"])
    own_network = task["namespaces"] and privileges.own_network()
    user = privileges.drop_privileges(folder, task["parent"])
    landlock.fence(folder)
    seccomp.filter_calls()
    network = "a namespace without devices, no socket calls (seccomp)" if own_network else "no socket calls (seccomp)"
    return [
        f"network: {network}",
        f"files: one folder (Landlock {fences})",
        "processes and signals: none (seccomp)",
        f"rights: {user}",
    ]


def _serve(task: dict[str, Any], send: Send, receive: Callable[[], dict[str, Any]]) -> None:
    """Runs the module's text, then answers calls of its exported names until the parent closes the line."""
    module = ModuleType(SOLUTION)
    sys.modules[SOLUTION] = module
    tracer: list[Tracer] = []

    def load() -> None:
        code = compile(task["text"], f"{SOLUTION}.py", "exec", dont_inherit=True)
        if task["trace"]:
            from metier.engines.sandbox.tracing import Tracer

            tracer.append(Tracer(code, task["trace"]))
        exec(code, module.__dict__)

    send({"loaded": attempt(SOLUTION, load)})
    while True:
        request = receive()
        if "coverage" in request:
            send({"coverage": tracer[0].report()})
        else:
            send(_answer(module, request, tracer))


def _answer(module: ModuleType, request: dict[str, Any], tracer: Sequence[Tracer]) -> dict[str, Any]:
    arguments, words = decode(request["arguments"]), decode(request["words"])
    before = json.dumps([encode(argument) for argument in arguments])
    try:
        value = getattr(module, request["name"])
        if request["call"]:
            for trace in tracer:
                trace.start()
            try:
                value = value(*arguments, **words)
            finally:
                sys.settrace(None)
        answer = {"value": encode(value)}
        changed = [encode(argument) for argument in arguments]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever untrusted code raises is its answer
        return {"raised": [kind.__name__ for kind in type(error).__mro__], "with": _arguments_of(error)}
    if json.dumps(changed) != before:
        answer["arguments"] = changed
    return answer


def _arguments_of(error: BaseException) -> list[Any]:
    """What the exception was made of, or its text where that is not plain data."""
    try:
        return [encode(argument) for argument in error.args]
    except (NotPlainError, RecursionError):
        return [str(error.args)[:1000]]


def _stand_ins(exports: dict[str, str], send: Send, receive: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a test file finds as `solution` and as plain names: functions and classes of exceptions that stand for those of the other process."""
    import builtins

    module = ModuleType(SOLUTION)
    errors: dict[str, type[Exception]] = {}

    def ask(name: str, call: bool, arguments: Sequence[Any], words: dict[str, Any]) -> Any:
        send({"name": name, "call": call, "arguments": [encode(value) for value in arguments], "words": encode(words)})
        answer = receive()
        if "value" in answer:
            _change(arguments, answer.get("arguments"))
            return decode(answer["value"])
        for kind in answer["raised"]:
            raised = errors.get(kind) or getattr(builtins, kind, None)
            # Ends of iterations stay out: in `all(map(check, cases))` they would end the test before its last case.
            if isinstance(raised, type) and issubclass(raised, Exception) and kind not in ENDS:
                raise raised(*map(decode, answer["with"]))
        raise RuntimeError(f"{answer['raised'][:1]}: {answer['with']}")

    for name, kind in exports.items():
        if kind == "function":
            setattr(module, name, _stand_in(name, ask))
        elif kind != "value":
            errors[name] = type(name, (errors.get(kind) or getattr(builtins, kind),), {})
            setattr(module, name, errors[name])
        else:
            with contextlib.suppress(TypeError, AttributeError):  # no plain data, or not there: not offered
                setattr(module, name, ask(name, False, [], {}))
    sys.modules[SOLUTION] = module
    return {SOLUTION: module} | {name: getattr(module, name) for name in exports if hasattr(module, name)}


def _stand_in(name: str, ask: Callable[..., Any]) -> Callable[..., Any]:
    def stand_in(*arguments: Any, **words: Any) -> Any:
        return ask(name, True, arguments, words)

    stand_in.__name__ = stand_in.__qualname__ = name
    return stand_in


def _change(arguments: Sequence[Any], changed: list[Any] | None) -> None:
    """Lists, dictionaries and sets that the function changed are changed here too."""
    for argument, after in zip(arguments, changed or [], strict=False):
        new = decode(after)
        if isinstance(argument, list | bytearray):
            argument[:] = new
        elif isinstance(argument, dict | set):
            argument.clear()
            argument.update(new)
