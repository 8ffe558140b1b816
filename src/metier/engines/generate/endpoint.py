"""The backend that asks an OpenAI-compatible server: `openai://model@base_url`, with the key from OPENAI_API_KEY."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from metier.engines.generate.backend import Sampling
from metier.engines.generate.retry import RequestError, RetryingClient
from metier.models.language_model import Completion, Prompt, Score

R = TypeVar("R")
A = TypeVar("A")

CONCURRENCY = 8
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 300.0


def open_endpoint(rest: str, *, concurrency: int = CONCURRENCY) -> EndpointBackend:
    """The backend of `model@base_url`. Sends nothing yet. Raises ValueError for anything else.

    Settings:
        concurrency: requests under way at once, at least 1
    """
    model, separator, url = rest.partition("@http")
    if not model or not separator or not url.startswith(("://", "s://")):
        raise ValueError(
            f"openai://{rest} is no endpoint: write openai://model@base_url, such as openai://my-model@http://127.0.0.1:8000/v1"
        )
    key = os.environ.get("OPENAI_API_KEY")
    client = httpx.Client(
        base_url=f"http{url}".rstrip("/"),
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=concurrency),
    )
    return EndpointBackend(f"openai://{rest}", model, RetryingClient(client), concurrency)


@dataclass
class EndpointBackend:
    """Messages go to /chat/completions, strings to /completions; scores come from /completions with echo and logprobs."""

    name: str
    model: str
    http: RetryingClient
    concurrency: int = CONCURRENCY
    _length_name: str = "max_tokens"  # newer models of OpenAI refuse this name and know another

    @property
    def identity(self) -> str:
        return self.name

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Completion]]:
        return self._each(prompts, lambda prompt: self._complete(prompt, sampling))

    def score(self, requests: Sequence[tuple[str, str]]) -> Iterator[tuple[int, Score]]:
        return self._each(requests, lambda request: self._score(*request))

    def score_texts(self, texts: Sequence[str]) -> Iterator[tuple[int, Score]]:
        """Scores of whole texts, which must fit the server's window.

        Servers give no probability for a text's first token: num_tokens and num_bytes count what was scored.
        """
        return self._each(texts, self._score_text)

    def _each(self, requests: Sequence[R], ask: Callable[[R], A]) -> Iterator[tuple[int, A]]:
        pool = ThreadPoolExecutor(self.concurrency)
        try:
            numbers = {pool.submit(ask, request): number for number, request in enumerate(requests)}
            for done in as_completed(numbers):
                yield numbers[done], done.result()
        finally:  # also when the reader stops early: what is not sent yet is never sent
            self.http.stopping.set()
            pool.shutdown(cancel_futures=True)
            self.http.stopping.clear()

    def _complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        try:
            if isinstance(prompt, str):
                answer = self._send("/completions", {"prompt": prompt}, sampling)
                choice = answer["choices"][0]
                text = choice["text"]
            else:
                answer = self._send("/chat/completions", {"messages": [dict(message) for message in prompt]}, sampling)
                choice = answer["choices"][0]
                text = choice["message"]["content"] or ""
        except RequestError as error:
            return Completion("", error=str(error))
        except (KeyError, IndexError, TypeError) as error:
            return Completion("", error=f"the server's answer has not the expected form ({type(error).__name__}: {error})")
        cuts = [place for place in (text.find(stop) for stop in sampling.stop) if place >= 0]
        num_tokens = int((answer.get("usage") or {}).get("completion_tokens") or 0)
        reason = "length" if choice.get("finish_reason") == "length" and not cuts else "stop"
        return Completion(text[: min(cuts)] if cuts else text, num_tokens, reason)

    def _send(self, path: str, what: dict[str, Any], sampling: Sampling) -> dict[str, Any]:
        payload = {"model": self.model, **what, "temperature": sampling.temperature}
        if sampling.temperature > 0:
            payload |= {"top_p": sampling.top_p, "seed": sampling.seed}
        if sampling.stop:
            payload["stop"] = list(sampling.stop)
        try:
            return self.http.post(path, payload | {self._length_name: sampling.max_new_tokens})
        except RequestError as error:
            if error.status != 400 or "max_completion_tokens" not in str(error) or self._length_name == "max_completion_tokens":
                raise
            self._length_name = "max_completion_tokens"
            return self.http.post(path, payload | {self._length_name: sampling.max_new_tokens})

    def _score(self, context: str, continuation: str) -> Score:
        if not continuation:
            raise ValueError(f"the continuation of context {context[-60:]!r} is empty, so there is nothing to score")
        begin = len(context.rstrip())  # spaces at the end of a context belong to the continuation
        tokens = [token for token in self._echo(context + continuation) if token.offset >= begin]
        missing = [token for token in tokens if token.logprob is None]
        if missing or not tokens:
            raise ValueError(
                f"{self.name} gives no probability for the first token of a text, so an empty context can't be scored "
                f"(continuation {continuation[:60]!r}): give a context, or open the model's weights instead"
            )
        logprob = sum(token.logprob or 0.0 for token in tokens)
        greedy = [token.is_greedy for token in tokens]
        is_greedy = None if None in greedy else all(greedy)
        return Score(logprob, len(tokens), len(continuation.encode()), is_greedy)

    def _score_text(self, text: str) -> Score:
        if not text:
            return Score(0.0, 0, 0)
        tokens = [token for token in self._echo(text) if token.logprob is not None]
        begin = tokens[0].offset if tokens else len(text)
        return Score(sum(token.logprob or 0.0 for token in tokens), len(tokens), len(text[begin:].encode()))

    def _echo(self, text: str) -> list[_Token]:
        """The tokens of a text with their log-probabilities. Raises ValueError where the server does not do this."""
        payload = {"model": self.model, "prompt": text, "max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0}
        try:
            choice = self.http.post("/completions", payload)["choices"][0]
            given = choice["logprobs"]
            offsets, logprobs = given["text_offset"], given["token_logprobs"]
            tops = given.get("top_logprobs") or [None] * len(offsets)
            tokens = [_Token(*token) for token in zip(offsets, logprobs, tops, strict=True) if token[0] < len(text)]
            echoed = str(choice.get("text", "")).startswith(text)
        except (RequestError, KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.name} can't score: {error}. It takes a server whose /completions knows echo with logprobs and max_tokens=0, "
                "such as vLLM; or open the model's weights instead"
            ) from error
        if not echoed or not tokens:
            raise ValueError(
                f"{self.name} can't score: its /completions does not echo the prompt. Open the model's weights instead"
            )
        return tokens


@dataclass(frozen=True)
class _Token:
    """A token of a scored text: where it begins, in characters; its log-probability and the likeliest tokens', where given."""

    offset: int
    logprob: float | None
    top: dict[str, float] | None

    @property
    def is_greedy(self) -> bool | None:
        return None if self.logprob is None or not self.top else self.logprob >= max(self.top.values()) - 1e-6
