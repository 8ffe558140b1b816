"""One progress function for all loops: done, rate, time left, and the number that matters. A leaf.

The library reports and prints nothing; who shows progress (the command line) sets a listener with `listening`.

    with task("training", total=steps, unit="step") as progress:
        for step in ...:
            progress.advance(1, loss=loss)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


class Listener(Protocol):
    """Who shows progress. Each call names the task by the number that `start` gave."""

    def start(self, description: str, total: float | None, unit: str) -> int: ...
    def advance(self, number: int, amount: float, numbers: dict[str, float]) -> None: ...
    def finish(self, number: int) -> None: ...


_listener: ContextVar[Listener | None] = ContextVar("metier_progress", default=None)


class Progress:
    """A running task; `advance` moves it on and says the numbers worth seeing (loss=2.31)."""

    def __init__(self, listener: Listener | None, number: int) -> None:
        self._listener, self._number = listener, number

    def advance(self, amount: float = 1, **numbers: float) -> None:
        if self._listener is not None:
            self._listener.advance(self._number, amount, numbers)


@contextmanager
def task(description: str, total: float | None = None, unit: str = "item") -> Iterator[Progress]:
    """A task of `total` units (None: unknown) for the length of the block."""
    listener = _listener.get()
    number = listener.start(description, total, unit) if listener is not None else 0
    try:
        yield Progress(listener, number)
    finally:
        if listener is not None:
            listener.finish(number)


def track(items: Iterable[T], description: str, total: float | None = None, unit: str = "item") -> Iterator[T]:
    """The items, one by one, counted as they are taken."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with task(description, total, unit) as progress:
        for item in items:
            yield item
            progress.advance()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """All tasks started inside the block report to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
