"""Which lines ran, and which ways each branch went, in the functions asked about.

A branch is a conditional jump of the compiled code, with two ways out: `if`, `while` and `for`, each part of an `and` or `or`, each comprehension's
loop. That is finer than branches between lines, where `if a and b` is one. What runs in other processes or in C is not seen.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any

PROLOGUE = ("RESUME", "COPY_FREE_VARS", "MAKE_CELL", "RETURN_GENERATOR", "CACHE", "NOP")

Way = tuple[int, int, bool]  # the code's number, the offset of the jump, whether it jumped


class Tracer:
    """Counts from `start` on, for code objects with one of the qualified names, and those inside them."""

    def __init__(self, code: CodeType, names: list[str]) -> None:
        self._codes = {
            inner for inner, name in _with_names(code) if any(name == wanted or name.startswith(f"{wanted}.") for wanted in names)
        }
        self._jumps = {inner: _jumps(inner) for inner in self._codes}
        self._lines = {line for inner in self._codes for line in _own_lines(inner)}
        self._seen_lines: set[int] = set()
        self._seen_ways: set[Way] = set()
        self._last: dict[int, int | None] = {}

    def start(self) -> None:
        sys.settrace(self._global)

    def report(self) -> dict[str, Any]:
        """lines: every line that could run; ran: those that did; ways: two a branch; taken: how many of them."""
        return {
            "lines": sorted(self._lines),
            "ran": sorted(self._seen_lines & self._lines),
            "ways": 2 * sum(len(jumps) for jumps in self._jumps.values()),
            "taken": len(self._seen_ways),
        }

    def _global(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code not in self._codes:
            return None
        frame.f_trace_opcodes = True
        self._last[id(frame)] = None
        return self._local

    def _local(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self._seen_lines.add(frame.f_lineno)
        elif event == "opcode":
            jumps, last = self._jumps[frame.f_code], self._last.get(id(frame))
            if last is not None:
                self._seen_ways.add((id(frame.f_code), last, frame.f_lasti != jumps[last]))
            self._last[id(frame)] = frame.f_lasti if frame.f_lasti in jumps else None
        elif event == "exception":  # a jump that raised went neither way
            self._last[id(frame)] = None
        elif event == "return":
            self._last.pop(id(frame), None)
        return self._local


def _with_names(code: CodeType, prefix: str = "") -> Iterator[tuple[CodeType, str]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            name = f"{prefix}{constant.co_name}"
            yield constant, name
            yield from _with_names(constant, f"{name}.")


def _own_lines(code: CodeType) -> set[int]:
    """Lines with code of their own; that of the `def` is only one of them where the body stands on it."""
    lines = (
        instruction.positions.lineno
        for instruction in dis.get_instructions(code)
        if instruction.opname not in PROLOGUE and instruction.positions is not None
    )
    return {line for line in lines if line is not None}


def _jumps(code: CodeType) -> dict[int, int]:
    """Offset of each conditional jump, and of the instruction after it."""
    instructions = list(dis.get_instructions(code))
    return {
        instruction.offset: following.offset
        for instruction, following in pairwise(instructions)
        if ("JUMP" in instruction.opname and "_IF_" in instruction.opname) or instruction.opname == "FOR_ITER"
    }
