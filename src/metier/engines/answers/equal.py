"""Whether two answers have the same value: numbers by exact arithmetic, other mathematics by math-verify in another process.

Nothing that a model wrote is evaluated in this process. The other one is bounded in memory, and ended when an answer takes too
long.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from metier.engines.answers.arithmetic import value_of

logger = logging.getLogger(__name__)

MAX_CHARACTERS = 1000  # of an answer that math-verify is asked about; a longer one is an essay, not a value
START_SECONDS = 120.0
_PLACES = 6  # decimals written out this far are taken for rounded ones, as math-verify does
_WORKER = Path(__file__).with_name("math_worker.py")
_MATHS = re.compile(r"[0-9\\^_{}+*/=<>|√π∞]|\b[a-z]\b")


def same_value(expected: str, found: str, *, timeout_seconds: float = 5.0) -> bool:
    """Whether one answer equals the one expected; see `same_values`."""
    return same_values([(expected, found)], timeout_seconds=timeout_seconds)[0]


def same_values(pairs: Sequence[tuple[str, str]], *, timeout_seconds: float = 5.0) -> list[bool]:
    """For each (expected, found) whether they have the same value: `1,234` and `1234.0`, `1/2` and `.5`, `\\frac{1}{2}` and
    `50\\%`.

    Numbers are compared as fractions, exactly, but for decimals of six or more places, which may be rounded or cut. An answer
    that is empty or has no value equals only its own text. Where math-verify takes longer than the time given, the pair counts as
    unequal, with a warning.
    Raises ModuleNotFoundError where math-verify is needed and not installed.
    """
    if timeout_seconds <= 0:
        raise ValueError(f"timeout_seconds={timeout_seconds} leaves no time to compare: give 1 or more")
    known = [_known(expected.strip(), found.strip()) for expected, found in pairs]
    if all(equal is not None for equal in known):
        return [bool(equal) for equal in known]
    with MathVerify(timeout_seconds) as verifier:
        return [
            verifier.equal(expected, found) if equal is None else equal
            for equal, (expected, found) in zip(known, pairs, strict=True)
        ]


def _known(expected: str, found: str) -> bool | None:
    """The answer where plain arithmetic has one; None where math-verify has to be asked."""
    if expected == found:
        return bool(expected)
    if not expected or not found:
        return False
    values = value_of(expected), value_of(found)
    if values[0] is not None and values[1] is not None:
        return _equal_numbers(values[0], values[1], min(_places(expected), _places(found), key=lambda places: places or 10**6))
    if max(len(expected), len(found)) > MAX_CHARACTERS or not (_MATHS.search(expected) and _MATHS.search(found)):
        return False
    return None


def _places(text: str) -> int:
    return len(text.partition(".")[2]) if re.fullmatch(r"-?[0-9,]*\.[0-9]+", text) else 0


def _equal_numbers(first: Fraction, second: Fraction, places: int) -> bool:
    return first == second or (places >= _PLACES and abs(first - second) <= Fraction(1, 10**places))


class MathVerify:
    """A process that math-verify runs in, started with the first question and again after one that had to be ended."""

    def __init__(self, timeout_seconds: float) -> None:
        if importlib.util.find_spec("math_verify") is None:
            raise ModuleNotFoundError("comparing formulas needs math-verify: pip install 'metier[math]'", name="math_verify")
        self.timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def equal(self, expected: str, found: str) -> bool:
        """Whether math-verify finds them equal; False, with a warning, where it took too long or the process broke."""
        if self._process is None:
            self._start()
        try:
            self._write(json.dumps([expected, found]))
            return bool(json.loads(self._read(self.timeout_seconds)))
        except (queue.Empty, BrokenPipeError):
            logger.warning("%.60r and %.60r could not be compared within %g s: unequal", expected, found, self.timeout_seconds)
            self._end()
            return False

    def _start(self) -> None:
        command = [sys.executable, "-I", str(_WORKER)]
        self._lines = queue.Queue()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
        )
        threading.Thread(target=_pass_on, args=(self._process, self._lines), daemon=True).start()
        try:
            self._read(START_SECONDS)
        except (queue.Empty, BrokenPipeError) as error:
            self._end()
            raise RuntimeError(f"the process that compares formulas did not start: try {' '.join(command)}") from error

    def _write(self, line: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self, seconds: float) -> str:
        line = self._lines.get(timeout=seconds)
        if not line:
            raise BrokenPipeError
        return line

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # what was written last may still be in its buffer
                self._process.stdin.close()
            self._process = None


def _pass_on(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Every line of the process, then an empty one when it has ended: a pipe has no time limit, a queue has."""
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put("")
