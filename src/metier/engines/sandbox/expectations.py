"""What a test file may ask of `pytest`, where pytest itself is out of reach: raises, approx, fail, skip, mark.parametrize."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType, TracebackType
from typing import Any


class Skipped(Exception):  # noqa: N818 - pytest's name
    """Raised by skip()."""


class Raised:
    """The exception that a `raises` block caught, in `value`."""

    def __init__(self, expected: type[BaseException] | tuple[type[BaseException], ...], match: str | None) -> None:
        self._expected, self._match = expected, match
        self.value: BaseException | None = None

    def __enter__(self) -> Raised:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> bool:
        if value is None:
            raise AssertionError(f"did not raise {self._expected}")
        if not isinstance(value, self._expected):
            return False
        if self._match is not None and re.search(self._match, str(value)) is None:
            raise AssertionError(f"{self._match!r} does not match {str(value)!r}")
        self.value = value
        return True


class Approx:
    """Equal within max(rel * |expected|, abs): numbers, and sequences and mappings of them."""

    def __init__(self, expected: Any, rel: float, absolute: float, nan_ok: bool) -> None:
        self._expected, self._rel, self._abs, self._nan_ok = expected, rel, absolute, nan_ok

    def __eq__(self, found: object) -> bool:
        return self._near(self._expected, found)

    def __repr__(self) -> str:
        return f"approx({self._expected!r})"

    def _near(self, expected: Any, found: Any) -> bool:
        if isinstance(expected, Mapping):
            return (
                isinstance(found, Mapping)
                and expected.keys() == found.keys()
                and all(self._near(expected[key], found[key]) for key in expected)
            )
        if isinstance(expected, Sequence) and not isinstance(expected, str | bytes):
            return isinstance(found, Sequence) and len(expected) == len(found) and all(map(self._near, expected, found))
        if isinstance(expected, int | float | complex) and isinstance(found, int | float | complex):
            if expected == found or (self._nan_ok and expected != expected and found != found):
                return True
            within = abs(expected - found) <= max(self._rel * abs(expected), self._abs)
            return within and math.isfinite(abs(expected))
        return bool(expected == found)


def raises(
    expected: type[BaseException] | tuple[type[BaseException], ...], *call: Any, match: str | None = None, **words: Any
) -> Raised:
    caught = Raised(expected, match)
    if call:
        with caught:
            call[0](*call[1:], **words)
    return caught


def approx(expected: Any, rel: float | None = None, abs: float | None = None, nan_ok: bool = False) -> Approx:  # noqa: A002
    absolute = 1e-12 if abs is None else abs
    relative = rel if rel is not None else (1e-6 if abs is None else 0.0)
    return Approx(expected, relative, absolute, nan_ok)


def fail(reason: str = "", pytrace: bool = True) -> None:
    raise AssertionError(reason)


def skip(reason: str = "") -> None:
    raise Skipped(reason)


def parametrize(names: str | Sequence[str], values: Sequence[Any], ids: object = None) -> Callable[[Any], Any]:
    """Notes the cases on the function; the runner calls it once a case, and once a combination of several lists."""
    parts = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
    cases = [dict(zip(parts, value if len(parts) > 1 else (value,), strict=True)) for value in values]

    def note(function: Any) -> Any:
        before = getattr(function, "cases", [{}])
        function.cases = [{**one, **other} for one in before for other in cases]
        return function

    return note


def pytest_module() -> ModuleType:
    """A module called pytest that holds these."""
    module, mark = ModuleType("pytest"), ModuleType("mark")
    mark.parametrize = parametrize  # type: ignore[attr-defined]
    module.__dict__.update(raises=raises, approx=approx, fail=fail, skip=skip, mark=mark)
    return module
