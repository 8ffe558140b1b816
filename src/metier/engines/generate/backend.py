"""What a backend is: it answers what it is asked, in any order, as the answers come. Caching and order are engines/generate/asking.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from metier.models.language_model import Completion, Prompt, Score


@dataclass(frozen=True)
class Sampling:
    """How to choose tokens.

    max_new_tokens: at least 1
    temperature: 0 for the likeliest token
    top_p: tokens are drawn from the smallest set of this much probability, above 0, at most 1
    stop: strings that end a completion, and are cut off
    seed: the same prompt with the same seed draws the same numbers, whatever else is asked with it
    """

    max_new_tokens: int
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    seed: int

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens={self.max_new_tokens} asks for nothing: give 1 or more")
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature} is negative: give 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p} is no probability to draw from: give more than 0 and at most 1")
        if "" in self.stop:
            raise ValueError("stop holds an empty string, which would end every completion at once: leave it out")


class Backend(Protocol):
    """Answers by the place of the request. Each request is answered once; a failure is an answer with `error`, or is raised."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str:
        """Changes when the answers may: the model's fingerprint and the precision. It keys the cache."""

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Completion]]: ...

    def score(self, requests: Sequence[tuple[str, str]]) -> Iterator[tuple[int, Score]]: ...

    def score_texts(self, texts: Sequence[str]) -> Iterator[tuple[int, Score]]: ...
