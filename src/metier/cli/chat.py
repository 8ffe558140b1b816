"""`metier chat`: talks with a model in the terminal, or answers the lines of a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from metier.artifacts import Model
    from metier.models.language_model import LanguageModel, Message

EXAMPLES = """Examples:

* `metier chat smollm2`
* `metier chat runs/quickstart/expert --system "Answer in one sentence."`
* `metier chat openai://my-model@http://localhost:8000/v1`
* `echo "What does bisect.insort do?" | metier chat runs/quickstart/expert`
"""

_HELP = "/reset begins anew, /exit or Ctrl-D ends, Ctrl-C stops an answer"
_ASKED = ("openai", "vllm", "ct2")  # answered by a backend; the weights are not opened here


def chat(
    model: Annotated[
        str, typer.Argument(help="A model: smollm2, tiny, a path (such as a run's stage folder), hf://, gguf:// or openai://.")
    ],
    system: Annotated[
        str | None,
        typer.Option("--system", metavar="TEXT", help="What the model is told before the conversation.", show_default=False),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, metavar="N", help="Longest answer.")] = 256,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, metavar="T", help="0 always takes the likeliest token.")
    ] = 0.0,
) -> None:
    """Chats with a model: in a terminal, or one prompt a line from a pipe (answers go to stdout, all else to stderr)."""
    from rich.console import Console
    from rich.text import Text

    notes = Console(stderr=True, soft_wrap=True, highlight=False)
    with notes.status(f"opening {model}"):
        talker = _open(model, max_new_tokens, temperature)
    if system is not None and not talker.chats:
        raise ValueError(f"--system is for models with a chat template, and {model} has none")
    interactive = sys.stdin.isatty()
    if not talker.chats:
        notes.print(Text(f"{model} has no chat template: it continues each text as it stands", style="yellow"))
    if interactive:
        notes.print(Text(_HELP, style="dim"))
    _converse(talker, system, notes, interactive)


class Talker(Protocol):
    """Answers a conversation; `write` is given the answer's pieces as they come. `chats` is False for a model that only continues text."""

    chats: bool

    def reply(self, messages: list[Message], write: Callable[[str], None]) -> str: ...


def _converse(talker: Talker, system: str | None, notes: Console, interactive: bool) -> None:
    beginning: list[Message] = [{"role": "system", "content": system}] if system is not None else []
    messages = list(beginning)
    while True:
        line = _next_line(interactive)
        if line is None or line == "/exit":
            return
        if line == "/reset":
            messages = list(beginning)
            notes.print("begun anew", style="dim")
            continue
        if not line:
            continue
        if line.startswith("/") and interactive:
            notes.print(f"there is no command {line}; {_HELP}", style="dim", markup=False)
            continue
        asked: list[Message] = [*(messages if talker.chats else []), {"role": "user", "content": line}]
        try:
            answer = talker.reply(asked, _write)
        except KeyboardInterrupt:
            if not interactive:
                raise
            _write("\n")
            notes.print("stopped; the question is forgotten", style="dim")
            continue
        except ValueError as error:
            if not interactive:
                raise
            notes.print(str(error), style="red", markup=False)
            continue
        _write("\n")
        messages = [*asked, {"role": "assistant", "content": answer}]


def _next_line(interactive: bool) -> str | None:
    """The next line without blanks around it; None at the end. Ctrl-C in an empty prompt ends as Ctrl-D does."""
    if not interactive:
        line = sys.stdin.readline()
        return line.strip() if line else None
    import readline  # noqa: F401  gives input() its history and editing keys

    try:
        return input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        _write("\n")
        return None


def _write(text: str) -> None:
    if sys.stdout.isatty():  # what a model writes could otherwise steer the terminal
        text = "".join(character for character in text if character.isprintable() or character in "\n\t")
    sys.stdout.write(text)
    sys.stdout.flush()


def _open(source: str, max_new_tokens: int, temperature: float) -> Talker:
    from metier.models.source import open_model, parse

    if parse(source).kind in _ASKED:
        from metier.engines.generate.open import open_language_model

        return _Asked(open_language_model(source, cache=False), max_new_tokens, temperature)
    return _Local(open_model(source), max_new_tokens, temperature)


class _Asked:
    """A model behind an endpoint: whole answers."""

    chats = True

    def __init__(self, model: LanguageModel, max_new_tokens: int, temperature: float) -> None:
        self._model, self._max_new_tokens, self._temperature = model, max_new_tokens, temperature

    def reply(self, messages: list[Message], write: Callable[[str], None]) -> str:
        [completion] = self._model.generate([messages], max_new_tokens=self._max_new_tokens, temperature=self._temperature)
        if completion.error is not None:
            from metier.core.errors import RunError

            raise RunError(f"{self._model.name} gave no answer: {completion.error}")
        write(completion.text)
        return completion.text


class _Local:
    """A model in this process: answers token by token."""

    def __init__(self, model: Model, max_new_tokens: int, temperature: float) -> None:
        from metier.models.precision import best_device, resolve_dtype

        self._tokenizer = model.tokenizer()
        device = best_device()
        self._model = model.load(resolve_dtype("auto", device)).to(device)
        self._max_new_tokens, self._temperature = max_new_tokens, temperature
        self._path = model.path
        self.chats = self._tokenizer.chat_template is not None

    def reply(self, messages: list[Message], write: Callable[[str], None]) -> str:
        import torch

        inputs = self._inputs(messages).to(self._model.device)
        sampling: dict[str, Any] = {"do_sample": self._temperature > 0}
        if self._temperature > 0:
            sampling["temperature"] = self._temperature
        streamer = _streamer(self._tokenizer, write)
        with torch.inference_mode():
            self._model.generate(
                **inputs,
                **sampling,
                max_new_tokens=self._max_new_tokens,
                streamer=streamer,
                pad_token_id=self._tokenizer.pad_token_id
                if self._tokenizer.pad_token_id is not None
                else self._tokenizer.eos_token_id,
            )
        return "".join(streamer.pieces)

    def _inputs(self, messages: list[Message]) -> Any:
        """The prompt's ids and mask. The oldest turns go where the conversation has outgrown the window."""
        window = getattr(self._model.config, "max_position_embeddings", None)
        while True:
            inputs = self._encoded(messages)
            if window is None or inputs["input_ids"].shape[1] + self._max_new_tokens <= window:
                return inputs
            first = 1 if messages[0]["role"] == "system" else 0
            if len(messages) - first < 3:
                raise ValueError(
                    f"the prompt has {inputs['input_ids'].shape[1]} tokens and the answer may take {self._max_new_tokens}, and the window of {self._path} "
                    f"is {window}: shorten it, or lower --max-new-tokens"
                )
            messages = [*messages[:first], *messages[first + 2 :]]

    def _encoded(self, messages: list[Message]) -> Any:
        import jinja2

        if not self.chats:
            return self._tokenizer(messages[-1]["content"], return_tensors="pt")
        try:
            return self._tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        except jinja2.TemplateError as error:
            raise ValueError(
                f"the chat template of {self._path} refuses the conversation: {error}; try without --system"
            ) from error


def _streamer(tokenizer: Any, write: Callable[[str], None]) -> Any:
    """A transformers streamer that gives words to `write` as soon as they are whole, and keeps them."""
    from transformers import TextStreamer

    class Streamer(TextStreamer):
        def __init__(self) -> None:
            super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
            self.pieces: list[str] = []

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            self.pieces.append(text)
            write(text)

    return Streamer()
