"""Exact arithmetic on sums that a model wrote: fractions, a grammar of its own, nothing that evaluates code.

Everything is bounded, since the text is untrusted: digits of a number, signs of a sum, depth, and the size of a power.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

MAX_DIGITS = 30
MAX_TOKENS = 60  # of one side of an equation
MAX_DEPTH = 8
MAX_EXPONENT = 64
MAX_BITS = 4096  # of a numerator or denominator on the way

_TOKEN = re.compile(
    r"(?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"|(?P<sign>\*\*|[-+*/^()=≈%])|(?P<word>[^\W\d_]+)|(?P<other>\S)"
)
_SIGNS = str.maketrans({"×": "*", "·": "*", "∗": "*", "÷": "/", "−": "-", "–": "-"})
_TIMES = ("x", "X", "times", "of")
_BULLET = re.compile(r"^\s*[-+*•]\s+")
_OPERATORS = ("+", "-", "*", "/", "^", "**", "(")
_SENTENCE = re.compile(r"[\n;]|[.,:!?](?=\s|$)")

Token = tuple[str, str]  # kind and text


class Equation(NamedTuple):
    """An equation with something to compute on at least one side, as written, and the exact values of its sides.

    holds: whether they are equal; a right side that is one decimal number may be rounded or cut at its last digit
    """

    text: str
    left: Fraction
    right: Fraction
    holds: bool


def value_of(text: str) -> Fraction | None:
    """The exact value of a sum such as `1,234`, `-3.50`, `1/2` or `2 * (3 + 4)`; None for anything else, or too large a one."""
    return _value([piece for _, piece in _tokens(text)], words=any(kind in ("word", "other") for kind, _ in _tokens(text)))


def equations(text: str) -> list[Equation]:
    """Every equation in a text whose sides can be computed, in order; a chain (a = b = c) gives one for each sign.

    Words beside numbers are units and left out (`5 apples + 3 apples = 8 apples`); x, times and of multiply between numbers. A
    running total (`3 + 4 = 7 + 2 = 9`) holds, and so does a percentage written as such (`10 / 50 * 100 = 20%`).
    """
    return [found for line in text.splitlines() for part in _SENTENCE.split(_BULLET.sub("", line)) for found in _in(part)]


def _in(part: str) -> Iterator[Equation]:
    sides: list[list[str]] = [[]]
    signs: list[str] = []
    for piece in _read_words(_tokens(part)):
        if piece in ("=", "≈"):
            signs.append(piece)
            sides.append([])
        else:
            sides[-1].append(piece)
    for sign, before, after in zip(signs, sides[:-1], sides[1:], strict=True):
        left, right = _longest(before[-MAX_TOKENS:], from_end=True), _longest(after[:MAX_TOKENS], from_end=False)
        if left and right and len(left) + len(right) > 2:
            values = _known(left), _known(right)
            written = f"{' '.join(left)} {sign} {' '.join(right)}"
            yield Equation(written, *values, holds=_holds(values[0], right, values[1], approximate=sign == "≈"))


def _holds(left: Fraction, right: list[str], value: Fraction, *, approximate: bool) -> bool:
    if left == value or (right[-1] == "%" and left == value * 100):
        return True
    first = _value(right[:1]) if len(right) > 2 else None
    if first is not None and first == left:  # a running total
        return True
    number = right[-1] if right[:-1] in ([], ["-"]) else ""
    decimals = len(number.partition(".")[2])
    return abs(left - value) < Fraction(1, 10**decimals) if number and (decimals or approximate) else False


def _longest(pieces: list[str], *, from_end: bool) -> list[str]:
    """The longest computable end or beginning of the pieces that no sign ties to the rest; [] where there is none."""
    for size in range(len(pieces), 0, -1):
        part, rest = (pieces[-size:], pieces[:-size][-1:]) if from_end else (pieces[:size], pieces[size:-1][:1])
        if _value(part) is not None and not any(piece in _OPERATORS for piece in rest):
            return part
    return []


def _known(pieces: list[str]) -> Fraction:
    value = _value(pieces)
    assert value is not None  # `_longest` found it
    return value


def _tokens(text: str) -> list[Token]:
    return [(str(match.lastgroup), match[0]) for match in _TOKEN.finditer(text.translate(_SIGNS))]


def _read_words(tokens: list[Token]) -> Iterator[str]:
    """Numbers and signs; words left out but for those that multiply, and with the stroke of `dollars/apple`."""
    for place, (kind, piece) in enumerate(tokens):
        after = tokens[place + 1][0] if place + 1 < len(tokens) else ""
        before = tokens[place - 1] if place else ("", "")
        if kind == "number" or (kind == "sign" and not (piece == "/" and after == "word")):
            yield piece
        elif piece in _TIMES and after == "number" and (before[0] == "number" or before[1] in ("%", ")")):
            yield "*"


def _value(pieces: list[str], *, words: bool = False) -> Fraction | None:
    if words or not pieces or len(pieces) > MAX_TOKENS:
        return None
    try:
        parser = _Parser(pieces)
        value = parser.sum(0)
        return value if parser.place == len(pieces) else None
    except (_UnreadableError, ZeroDivisionError):
        return None


class _UnreadableError(Exception):
    """No sum of this grammar, or one that is too large."""


class _Parser:
    """Recursive descent: sum of products of powers; `place` is the next piece to read."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces, self.place = pieces, 0

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while (sign := self._take("+", "-")) is not None:
            term = self.product(depth)
            value = _bounded(value + term if sign == "+" else value - term)
        return value

    def product(self, depth: int) -> Fraction:
        value = self.signed(depth)
        while (sign := self._take("*", "/")) is not None:
            factor = self.signed(depth)
            value = _bounded(value * factor if sign == "*" else value / factor)
        return value

    def signed(self, depth: int) -> Fraction:
        if depth > MAX_DEPTH:
            raise _UnreadableError
        return -self.signed(depth + 1) if self._take("-") is not None else self.power(depth)

    def power(self, depth: int) -> Fraction:
        base = self.atom(depth)
        if self._take("^", "**") is None:
            return base
        exponent = self.signed(depth + 1)
        if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT:
            raise _UnreadableError
        return _bounded(base ** int(exponent))

    def atom(self, depth: int) -> Fraction:
        if self._take("(") is not None:
            value = self.sum(depth + 1)
            if self._take(")") is None:
                raise _UnreadableError
        else:
            value = _number(self._take())
        return value / 100 if self._take("%") is not None else value

    def _take(self, *wanted: str) -> str | None:
        """The next piece where it is one of those wanted (or any, where none is named)."""
        if self.place >= len(self.pieces) or (wanted and self.pieces[self.place] not in wanted):
            return None
        self.place += 1
        return self.pieces[self.place - 1]


def _number(piece: str | None) -> Fraction:
    if piece is None or len(piece) > MAX_DIGITS or not piece[-1].isdigit():
        raise _UnreadableError
    return Fraction(piece.replace(",", ""))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise _UnreadableError
    return value
