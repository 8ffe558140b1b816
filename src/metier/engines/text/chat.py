"""Examples as token sequences whose loss falls on the answers only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metier.engines.text.sequences import IGNORED, TokenSequence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = list[dict[str, str]]


def tokenize_example(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, *, name: str = "the example") -> TokenSequence:
    """One example in TRL's columns: `messages` (every assistant turn is an answer), or `prompt` and `completion`.

    Prompt and completion are texts, which are joined as they stand and end with EOS, or lists of messages, which go through the chat
    template. Raises ValueError naming the example when it has no answer, when its columns are others, or when messages meet a
    tokenizer without a chat template.
    """
    source = str(row.get("source") or "")
    if row.get("messages") is not None:
        return _of_messages(row["messages"], tokenizer, name, source, first_answer=0)
    prompt, completion = row.get("prompt"), row.get("completion")
    if prompt is None or completion is None:
        raise ValueError(f"{name} has neither messages nor prompt and completion; its columns are {sorted(row)}")
    if isinstance(prompt, str) and isinstance(completion, str):
        return _of_texts(prompt, completion, tokenizer, name, source)
    if isinstance(prompt, str) or isinstance(completion, str):
        raise ValueError(f"{name}: prompt and completion must both be texts, or both lists of messages")
    return _of_messages([*prompt, *completion], tokenizer, name, source, first_answer=len(prompt))


def _of_texts(prompt: str, completion: str, tokenizer: PreTrainedTokenizerBase, name: str, source: str) -> TokenSequence:
    if not completion:
        raise ValueError(f"{name} has an empty completion: there is nothing to learn from it")
    if tokenizer.eos_token_id is None:
        raise ValueError(f"the tokenizer {tokenizer.name_or_path!r} has no EOS token to end an answer with: set one")
    begin = tokenizer(prompt)["input_ids"] if prompt else [tokenizer.bos_token_id or tokenizer.eos_token_id]
    whole = (
        tokenizer(prompt + completion)["input_ids"]
        if prompt
        else [*begin, *tokenizer(completion, add_special_tokens=False)["input_ids"]]
    )
    if whole[-1] != tokenizer.eos_token_id:  # some tokenizers end every text with it themselves
        whole = [*whole, tokenizer.eos_token_id]
    # Where a token spans the border, its piece of the completion is learnt too: the common prefix is what surely is the prompt.
    return _answers(whole, [(_common_prefix(begin, whole), len(whole))], source)


def _of_messages(
    messages: Messages, tokenizer: PreTrainedTokenizerBase, name: str, source: str, *, first_answer: int
) -> TokenSequence:
    if getattr(tokenizer, "chat_template", None) is None:
        raise ValueError(
            f"{name} holds messages, and the tokenizer {tokenizer.name_or_path!r} has no chat template: start from an instruct model, set "
            "tokenizer.chat_template and save it, or give prompt and completion as plain texts"
        )
    messages = [{key: value for key, value in message.items() if value is not None} for message in messages]
    whole = _render(messages, tokenizer)
    spans = []
    for position, message in enumerate(messages):
        if message.get("role") == "assistant" and position >= first_answer:
            before = (
                _opening(whole, tokenizer)
                if position == 0
                else _render(messages[:position], tokenizer, add_generation_prompt=True)
            )
            after = _render(messages[: position + 1], tokenizer)
            if whole[: len(before)] != before or whole[: len(after)] != after:
                raise ValueError(
                    f"{name}: the chat template of {tokenizer.name_or_path!r} rewrites earlier turns, so the answer in turn {position + 1} "
                    "cannot be told from its prompt; give one prompt and completion per answer"
                )
            spans.append((len(before), len(after)))
    if not any(end > start for start, end in spans):
        raise ValueError(f"{name} has no answer of the assistant: there is nothing to learn from it")
    return _answers(whole, spans, source)


def _opening(whole: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the template puts before a first turn of the assistant: it may hold a system prompt, which is no answer."""
    return whole[: _common_prefix(_render([{"role": "assistant", "content": ""}], tokenizer), whole)]


def _common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    places = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in places if a != b), min(len(one), len(other)))


def _render(messages: Messages, tokenizer: PreTrainedTokenizerBase, add_generation_prompt: bool = False) -> list[int]:
    found = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=add_generation_prompt, return_dict=True)
    return list(found["input_ids"])


def _answers(input_ids: Sequence[int], spans: Sequence[tuple[int, int]], source: str) -> TokenSequence:
    """The sequence of which the tokens inside the spans, but never the first of all, are predicted."""
    labels = [IGNORED] * len(input_ids)
    for start, end in spans:
        for place in range(max(start, 1), end):
            labels[place - 1] = input_ids[place]
    return TokenSequence(list(input_ids), labels, source)


def tokenize_examples(
    rows: Iterator[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase, *, longest: int
) -> tuple[list[TokenSequence], int]:
    """All examples, and how many were left out because they are longer than `longest` tokens (an answer cut short teaches to stop short)."""
    kept, too_long = [], 0
    for number, row in enumerate(rows):
        sequence = tokenize_example(row, tokenizer, name=f"example {row.get('id', number)}")
        if len(sequence) > longest:
            too_long += 1
        else:
            kept.append(sequence)
    return kept, too_long
