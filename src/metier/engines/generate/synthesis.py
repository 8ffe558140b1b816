"""Texts that a language model writes for a corpus: what they will cost is said, and refused, before the first one is asked for."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Self, TypeVar

from metier.artifacts import Model
from metier.engines.generate.asking import AskedModel
from metier.engines.generate.backend import Sampling
from metier.models.language_model import Completion, LanguageModel, Prompt

T = TypeVar("T")

PILOT = 50  # documents after which the projection is made anew, from what was measured
AT_ONCE = 512
_PER_MESSAGE = 8  # tokens of a chat template around a message
_BYTES_PER_TOKEN = 4
_LONGEST_TOKEN = 16  # characters: no further is a beginning looked for

logger = logging.getLogger(__name__)


def spaced(text: str, marks: Iterable[str]) -> str:
    """The text with a space in every mark, which a prompt puts around it, that would end it early."""
    for mark in marks:
        text = text.replace(mark, f"{mark[0]} {mark[1:]}")
    return text


@dataclass(frozen=True)
class Budget:
    """What a writer's answers may cost, those included that the cache still knows from an earlier run.

    input_price, output_price: of a million tokens read and written, in any one currency
    max_cost: most that the job may cost, in that currency; None for no bound
    max_tokens: most tokens, read and written together; None for no bound
    """

    input_price: float = 0.0
    output_price: float = 0.0
    max_cost: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("input_price", "output_price", "max_cost", "max_tokens"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"budget {name}={value} is no amount: give 0 or more, or leave it out")
        if self.max_cost is not None and self.input_price == self.output_price == 0:
            raise ValueError(f"budget max_cost={self.max_cost} binds nothing without prices: give input_price and output_price")

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """In the currency of the prices."""
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1e6

    def excess(self, input_tokens: float, output_tokens: float) -> str | None:
        """Which bound so many tokens break, and by what; None for none."""
        total, cost = input_tokens + output_tokens, self.cost(input_tokens, output_tokens)
        if self.max_tokens is not None and total > self.max_tokens:
            return f"{total:,.0f} tokens, more than max_tokens={self.max_tokens:,}"
        if self.max_cost is not None and cost > self.max_cost:
            return f"{cost:.4g}, more than max_cost={self.max_cost:,}"
        return None


@dataclass(frozen=True)
class TokenCounter:
    """Tokens of a text. how: whose tokens these are, for people."""

    how: str
    count: Callable[[str], int]

    @classmethod
    def of(cls, base: Model) -> Self:
        """The tokens of a model's tokenizer."""
        return cls("the tokenizer of base", _Tokens(base.tokenizer()))

    def of_prompt(self, prompt: Prompt) -> int:
        """About what a prompt costs, the chat template included."""
        if isinstance(prompt, str):
            return self.count(prompt)
        return sum(self.count(message["content"]) + _PER_MESSAGE for message in prompt)

    def beginning(self, text: str, limit: int) -> str:
        """The longest beginning of at most `limit` tokens, or a little less so as to end after a word; one character at least."""
        end = min(len(text), limit * _LONGEST_TOKEN)
        while (tokens := self.count(text[:end])) > limit and end > 1:
            end = max(1, min(end - 1, end * limit // tokens))
            space = max(text.rfind(mark, 0, end) for mark in " \t\n\u3000")
            end = space if space > end // 2 else end
        return text[:end]


def token_counter(writer: LanguageModel, base: Model | None = None) -> TokenCounter:
    """Counts as the writer does where it computes here, else as `base` does, else four UTF-8 bytes for a token."""
    if isinstance(writer, AskedModel) and hasattr(writer.backend, "tokenizer"):
        return TokenCounter("the writer's tokenizer", _Tokens(writer.backend.tokenizer))
    if base is not None:
        return TokenCounter.of(base)
    return TokenCounter("four bytes a token", lambda text: math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN))


@dataclass(frozen=True)
class _Tokens:
    tokenizer: Callable[..., dict[str, list[int]]]

    def __call__(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


@dataclass(frozen=True)
class Plan:
    """What a job will ask for: calls, tokens read, tokens written as expected, and at the very most."""

    calls: int
    input_tokens: int
    output_tokens: int
    most_output_tokens: int


@dataclass
class Account:
    """A writer with a budget: plans a job, asks, and keeps count of what it spent (tokens read are counted by `counter`)."""

    writer: LanguageModel
    sampling: Sampling
    budget: Budget
    counter: TokenCounter
    planned: Plan = field(default=Plan(0, 0, 0, 0), init=False)
    calls: int = field(default=0, init=False)
    input_tokens: int = field(default=0, init=False)
    output_tokens: int = field(default=0, init=False)

    def plan(self, requests: Iterable[tuple[Prompt, int]]) -> Plan:
        """The plan for prompts with the tokens that an answer to each is expected to have; logged, and nothing asked yet.

        Raises ValueError where what is expected breaks the budget.
        """
        calls = read = written = 0
        for prompt, expected in requests:
            calls, read, written = calls + 1, read + self.counter.of_prompt(prompt), written + expected
        self.planned = Plan(calls, read, written, calls * self.sampling.max_new_tokens)
        logger.info(
            "plan: %s answers %d calls, reads %d tokens and writes about %d, at most %d (%s); %.6g and %.6g a million: about %.4g, "
            "at most %.4g; answers in the cache cost nothing again",
            self.writer.name,
            calls,
            read,
            written,
            self.planned.most_output_tokens,
            self.counter.how,
            self.budget.input_price,
            self.budget.output_price,
            self.budget.cost(read, written),
            self.budget.cost(read, self.planned.most_output_tokens),
        )
        excess = self.budget.excess(read, written)
        if excess is not None:
            raise ValueError(f"{calls} calls would come to about {excess}: raise it, or give fewer documents; nothing was asked")
        return self.planned

    def ask(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """The answers. No call is made that could break the budget if its answer had `max_new_tokens`.

        Raises RuntimeError for a budget that is used up, and when not one call was answered; what was answered is in the cache.
        """
        answers: list[Completion] = []
        while len(answers) < len(prompts):
            affordable = self._affordable(prompts[len(answers) :])
            told = self.writer.generate(
                affordable,
                max_new_tokens=self.sampling.max_new_tokens,
                temperature=self.sampling.temperature,
                top_p=self.sampling.top_p,
                stop=self.sampling.stop,
                seed=self.sampling.seed,
            )
            self.calls += len(told)
            self.input_tokens += sum(map(self.counter.of_prompt, affordable))
            self.output_tokens += sum(answer.num_tokens or self.counter.count(answer.text) for answer in told)
            answers += told
        errors = [answer.error for answer in answers if answer.error is not None]
        if errors and len(errors) == len(answers):
            raise RuntimeError(f"{self.writer.name} answered none of {len(errors)} calls: {errors[0]}")
        return answers

    def project(self, done: int, total: int) -> None:
        """Logs what the whole job comes to, judged by the `done` of its `total` documents that were measured.

        Raises RuntimeError where that breaks the budget; the answers so far are in the cache.
        """
        scale = total / done
        read, written = self.input_tokens * scale, self.output_tokens * scale
        logger.info(
            "after %d of %d documents: %d calls, %d tokens read, %d written; the whole job would read %.0f and write %.0f and cost %.4g",
            done,
            total,
            self.calls,
            self.input_tokens,
            self.output_tokens,
            read,
            written,
            self.budget.cost(read, written),
        )
        excess = self.budget.excess(read, written)
        if excess is not None:
            raise RuntimeError(f"by the first {done} documents the whole job would come to {excess}: raise it, or give fewer")

    def _affordable(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """As many of the first prompts as the budget surely allows."""
        read = written = 0
        found: list[Prompt] = []
        for prompt in prompts:
            read, written = read + self.counter.of_prompt(prompt), written + self.sampling.max_new_tokens
            excess = self.budget.excess(self.input_tokens + read, self.output_tokens + written)
            if excess is not None:
                if not found:
                    raise RuntimeError(
                        f"the next of {len(prompts)} calls could come to {excess} ({self.calls} calls so far, "
                        "kept in the cache): raise it and run again to go on"
                    )
                break
            found.append(prompt)
        return found


def blocks(rows: Iterable[T]) -> Iterator[list[T]]:
    """The rows in blocks: first a pilot's `PILOT`, then `AT_ONCE` each."""
    iterator, size = iter(rows), PILOT
    while block := list(islice(iterator, size)):
        yield block
        size = AT_ONCE
