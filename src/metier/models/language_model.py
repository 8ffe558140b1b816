"""LanguageModel: the one protocol for asking a model. Backends are in engines/generate; this module only says what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Message: TypeAlias = dict[str, str]  # role and content
Prompt: TypeAlias = str | Sequence[Message]


@dataclass(frozen=True)
class Completion:
    """What a model wrote. `error` says why there is nothing to read (then `text` is ""); it is None when all went well.

    finish_reason: "stop" (end of sequence, or a stop string, which is cut off) or "length"
    """

    text: str
    num_tokens: int = 0
    finish_reason: str = "stop"
    error: str | None = None


@dataclass(frozen=True)
class Score:
    """The log-probability (natural log) of a continuation, summed over its tokens.

    num_tokens, num_bytes: of the continuation (bytes in UTF-8)
    is_greedy: whether greedy decoding would have produced it; None for texts and where the backend cannot tell
    """

    logprob: float
    num_tokens: int
    num_bytes: int
    is_greedy: bool | None = None


class LanguageModel(Protocol):
    """A model that can be asked. Answers come in the order of the requests and are cached on disk by content."""

    @property
    def name(self) -> str:
        """The source string it was opened by."""

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
        """One completion a prompt. A string is continued as it stands; a list of messages goes through the chat template.

        temperature 0 is greedy. What failed after all retries is in the answer's `error`, never missing.
        """

    def score(self, requests: Sequence[tuple[str, str]]) -> list[Score]:
        """log p(continuation | context) for pairs (context, continuation).

        An empty context is the model's BOS token (EOS where it has none). Spaces at the end of a context belong to the continuation, as
        in lm-evaluation-harness. A context too long is cut on its left.
        """

    def score_texts(self, texts: Sequence[str]) -> list[Score]:
        """log p of whole texts. Texts longer than the model's window are scored in windows, each token once."""
