"""Errors that a person sees. Light: no heavy imports."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Self


class InputError(ValueError):
    """What was asked for can't be done as asked: a recipe, a setting, a name, a path. The command line ends with exit code 2."""

    @classmethod
    def unknown(cls, what: str, name: str, known: Iterable[str], *, where: str = "", remedy: str = "") -> Self:
        """ "unknown stage 'expret' in recipe.yaml:12; did you mean 'expert'?" """
        known = list(known)
        near = nearest(name, known)
        if near is not None:
            hint = f"; did you mean {near!r}?"
        elif known and len(known) <= 12:
            hint = f"; known are {', '.join(known)}"
        else:
            hint = ""
        place = f" in {where}" if where else ""
        return cls(f"unknown {what} {name!r}{place}{hint}" + (f" ({remedy})" if remedy else ""))


class RunError(RuntimeError):
    """A stage failed while it ran. The command line ends with exit code 1; what was finished stays."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when none is like it. Of dotted names also the last part counts."""
    known = list(known)
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if found:
        return found[0]
    by_slug = {full.rpartition(".")[2]: full for full in known}
    found = difflib.get_close_matches(name.rpartition(".")[2], list(by_slug), n=1, cutoff=0.7)
    return by_slug[found[0]] if found else None
