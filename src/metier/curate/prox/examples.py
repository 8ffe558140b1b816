"""`curate.prox.examples`: what a refiner is trained on, made of clean texts and noise whose place is known."""

from __future__ import annotations

import random
from typing import Any, Literal

from metier.artifacts import Corpus, Examples, Model
from metier.curate.prox.chunks import Ruler, numbered
from metier.curate.prox.interpreter import ChunkProgram, execute
from metier.curate.prox.oracle import Noisy, Part, noise_alone, with_noise
from metier.curate.prox.program import parse, written
from metier.curate.prox.prompts import Form, chunk_prompt, document_prompt
from metier.method import method
from metier.progress import track

_FIRST_SHARE = 0.75  # of chunks that begin their document
_FARTHEST_START = 120
_MOST_DRAWS = 20  # of noise that fits


@method(
    paper="Programming Every Example, arXiv 2409.17115, section 3.2",
    claim="seed programs that give the clean text back to the letter, without a large model to write them",
)
def examples(
    corpus: Corpus,
    tokenizer: Model | None = None,
    *,
    num_examples: int = 400,
    level: Literal["document", "chunk", "both"] = "both",
    max_tokens: int = 150,
    templates: Part = "train",
    form: Form = "plain",
    seed: int = 0,
) -> Examples:
    """Pairs of a prompt and the program that answers it: pieces of the corpus's texts, which must be clean, with noise put in.

    Columns: id, prompt, completion (a program), level, text (what is shown, without numbers), start (number of its first line), source.
    Chunks: menus, footers, buttons and strings stuck to lines, or (15%) nothing, to be kept; each program was executed and gave the clean
    piece back. Documents: half are pieces of text (with noise, as the web has them) to be kept, half nothing but noise to be dropped;
    "both" alternates. Where there are fewer texts than `num_examples`, they are used again, in other pieces and with other noise.
    The paper has a 70B model write its seeds instead: that is curate.prox.annotate, and takes a large model.
    Raises ValueError for a corpus without a text of two words, and for settings out of range.
    Settings:
        num_examples: pairs to make; the paper's refiners see 5,000 to 57,000
        level: of the programs; with both, one model learns both tasks, told apart by the prompt's end
        max_tokens: of what is shown, at least 50; counted by the model `tokenizer`, or as three bytes each without it
        templates: train or held_out; they share no line of noise
        form: plain text, or messages for a model with a chat template
    """
    if num_examples < 1:
        raise ValueError(f"num_examples={num_examples} makes nothing: give 1 or more")
    if max_tokens < 50:
        raise ValueError(f"max_tokens={max_tokens} leaves no room for noise beside a text: give 50 or more")
    ruler = Ruler(tokenizer.tokenizer() if tokenizer is not None else None)
    documents = [(row["id"], row["text"], row["source"]) for row in corpus.rows() if len(row["text"].split()) > 1]
    if not documents:
        raise ValueError("the corpus holds no text of two words or more to make examples of")
    random.Random(f"{seed} order").shuffle(documents)
    rows = []
    for number in track(range(num_examples), "making examples", unit="example"):
        name, text, source = documents[number % len(documents)]
        generator = random.Random(f"{seed} {templates} {name} {number}")
        kind = level if level != "both" else ("document", "chunk")[number % 2]
        make = _document if kind == "document" else _chunk
        rows.append(
            {"id": f"{name}#{number}", "level": kind, "source": source}
            | make(text, ruler, max_tokens, templates, form, generator)
        )
    return Examples.from_rows(rows)


def _piece(text: str, ruler: Ruler, budget: int, generator: random.Random) -> list[str]:
    """Lines one after another from a place drawn, at most `budget` tokens of them, and at least the beginning of one."""
    lines = text.split("\n")
    counts = ruler.counts([f"[000] {line}\n" for line in lines], budget)
    starts = [place for place, line in enumerate(lines) if line.strip()]
    first = generator.choice(starts)
    stop, size = first, 0
    while stop < len(lines) and size + counts[stop] <= budget:
        size += counts[stop]
        stop += 1
    return lines[first:stop] or [ruler.cut(lines[first], budget - 8)]


def _noisy(
    text: str, ruler: Ruler, max_tokens: int, part: Part, generator: random.Random, start: int = 0
) -> tuple[Noisy, list[str]]:
    """A piece with noise that fits `max_tokens` together, and the piece; the piece alone where none of twenty draws fits."""
    for _ in range(_MOST_DRAWS):
        clean = _piece(text, ruler, max(30, int(generator.uniform(0.2, 0.8) * max_tokens)), generator)
        noisy = with_noise(clean, part, generator, start)
        if ruler.counts([numbered(noisy.lines, start)], max_tokens)[0] <= max_tokens:
            return noisy, clean
    clean = _piece(text, ruler, max_tokens, generator)
    return Noisy(clean, [], start), clean


def _chunk(text: str, ruler: Ruler, max_tokens: int, part: Part, form: Form, generator: random.Random) -> dict[str, Any]:
    start = 0 if generator.random() < _FIRST_SHARE else generator.randrange(1, _FARTHEST_START)
    noisy, clean = _noisy(text, ruler, max_tokens, part, generator, start)
    program = written(noisy.calls, "chunk")
    _check(noisy.lines, clean, program, start)
    return {
        "prompt": chunk_prompt(noisy.lines, start, form),
        "completion": _answer(program, form),
        "text": "\n".join(noisy.lines),
        "start": start,
    }


def _check(lines: list[str], clean: list[str], program: str, start: int) -> None:
    """The program, read again and executed below `start` empty lines, gives the clean lines back."""
    chunk = ChunkProgram(parse(program, "chunk"), start, start + len(lines))
    done = execute("\n".join([*[""] * start, *lines]), [chunk])
    assert not done.problems and done.text.split("\n")[start:] == clean, (lines, program)


def _document(text: str, ruler: Ruler, max_tokens: int, part: Part, form: Form, generator: random.Random) -> dict[str, Any]:
    keep = generator.random() < 0.5
    lines = noise_alone(part, generator)
    if keep:
        lines = _noisy(text, ruler, max_tokens, part, generator)[0].lines
    shown = ruler.cut("\n".join(lines), max_tokens)
    return {
        "prompt": document_prompt(shown, form),
        "completion": _answer("keep_doc()" if keep else "drop_doc()", form),
        "text": shown,
        "start": 0,
    }


def _answer(program: str, form: Form) -> Any:
    return program if form == "plain" else [{"role": "assistant", "content": program}]
