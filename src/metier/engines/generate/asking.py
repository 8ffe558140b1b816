"""A LanguageModel made of a backend and the cache: equal requests are asked once, known answers not at all, order is kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from metier.engines.generate.backend import Backend, Sampling
from metier.engines.generate.cache import AnswerCache, key_of
from metier.models.language_model import Completion, Prompt, Score
from metier.progress import task

A = TypeVar("A", Completion, Score)


@dataclass
class AskedModel:
    """See LanguageModel. `cache` is None for a model that is asked anew every time."""

    backend: Backend
    cache: AnswerCache | None

    @property
    def name(self) -> str:
        return self.backend.name

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
        seed: int = 0,
    ) -> list[Completion]:
        sampling = Sampling(max_new_tokens, float(temperature), float(top_p), tuple(stop), seed)
        settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "stop": list(sampling.stop)}
        if temperature > 0:  # greedy answers are the same whatever the seed
            settings |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": seed}
        requests = [prompt if isinstance(prompt, str) else [dict(message) for message in prompt] for prompt in prompts]
        return self._ask("generate", requests, settings, Completion, lambda wanted: self.backend.complete(wanted, sampling))

    def score(self, requests: Sequence[tuple[str, str]]) -> list[Score]:
        return self._ask("score", [tuple(request) for request in requests], {}, Score, self.backend.score)

    def score_texts(self, texts: Sequence[str]) -> list[Score]:
        return self._ask("score_texts", list(texts), {}, Score, self.backend.score_texts)

    def _ask(
        self,
        kind: str,
        requests: Sequence[Any],
        settings: dict[str, Any],
        answer_type: type[A],
        ask: Callable[[Sequence[Any]], Iterator[tuple[int, A]]],
    ) -> list[A]:
        keys = [key_of(self.backend.identity, kind, request, settings) for request in requests]
        known: dict[Hashable, A] = self.cache.get(keys, answer_type) if self.cache is not None else {}
        wanted = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
        if wanted:
            missing = list(wanted)
            answers = ask([wanted[key] for key in missing])
            with task(_DESCRIPTIONS[kind], total=len(missing), unit="answer") as progress:
                if self.cache is not None:
                    answers = self.cache.keeping(missing, answers)
                for number, answer in answers:
                    known[missing[number]] = answer
                    progress.advance()
        return [known[key] for key in keys]


_DESCRIPTIONS = {"generate": "writing answers", "score": "scoring", "score_texts": "scoring texts"}
