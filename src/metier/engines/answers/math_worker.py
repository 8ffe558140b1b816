"""A program of its own, run by engines/answers/equal.py: reads pairs of answers, writes whether math-verify finds them equal.

One JSON line in, [expected, found]; one out, true or false. It imports nothing of metier. What it parses is untrusted, and
computing its value may take any time or memory: memory is bounded here, time by the parent, which ends this process.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from types import ModuleType
from typing import TextIO

MEMORY_BYTES = 2 * 2**30


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing that a library prints may pass for an answer
    _bound_memory()
    logging.disable(logging.CRITICAL)
    math_verify = importlib.import_module("math_verify")  # has no types
    _say(answers, True)
    for line in sys.stdin:
        expected, found = json.loads(line)
        try:
            equal = _equal(math_verify, expected, found)
        except Exception:  # noqa: BLE001 - a text that a parser trips over equals nothing, whatever it trips with
            equal = False
        _say(answers, equal)


def _say(answers: TextIO, answer: bool) -> None:
    answers.write(f"{json.dumps(answer)}\n")
    answers.flush()


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _equal(math_verify: ModuleType, expected: str, found: str) -> bool:
    """Only the LaTeX grammar is asked: math-verify's other one hands text to sympy's parse_expr, which evaluates it."""
    config = [math_verify.LatexExtractionConfig()]
    parsed = [
        math_verify.parse(_boxed(text), extraction_config=config, fallback_mode="no_fallback", parsing_timeout=None)
        for text in (expected, found)
    ]
    return bool(parsed[0] and parsed[1] and math_verify.verify(*parsed, timeout_seconds=None))


def _boxed(text: str) -> str:
    return text if "\\boxed" in text else f"\\boxed{{{text.strip().strip('$')}}}"


if __name__ == "__main__":
    main()
