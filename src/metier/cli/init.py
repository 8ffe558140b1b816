"""`metier init`: looks at a pile of documents and writes a commented recipe for it."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from metier.cli.survey import Survey

EXAMPLES = """Examples:

* `metier init papers`
* `metier init papers --output papers.yaml --model hf://Qwen/Qwen3-0.6B`
* `metier init "texts/**/*.md"`
* `metier init corpus.jsonl --force`
"""

LESSON = 130_000  # characters that two CPU cores learn twice in about six minutes
TOKENS_A_MINUTE = 12_000  # of the default model's training on two CPU cores: 200 a second


def init(
    folder: Annotated[str, typer.Argument(help="A folder of documents; a file, a glob or a URL will do.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where the recipe goes; FOLDER.yaml here unless given.", show_default=False
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", metavar="SOURCE", help="The model to begin with.")] = "smollm2",
    force: Annotated[bool, typer.Option("--force", help="Replace the recipe if there is one.")] = False,
) -> None:
    """Looks at a folder of documents and writes a recipe for it, with the reasons in its comments."""
    from rich.console import Console
    from rich.text import Text

    from metier.artifacts.files import atomic_write
    from metier.cli.survey import survey
    from metier.core.errors import InputError
    from metier.models.source import parse

    parse(model)
    name = recipe_name(folder)
    file = output if output is not None else Path(f"{name}.yaml")
    if file.exists() and not force:
        raise InputError(f"{file} exists: choose another name with --output, or replace it with --force")
    if not file.absolute().parent.is_dir():
        raise InputError(f"{file.absolute().parent} is no folder: make it, or choose another --output")
    console = Console(soft_wrap=True)
    with console.status(f"looking at {folder}"):
        seen = survey(folder)
        text = recipe(name if output is None else recipe_name(output.stem), seen, model, gpu=_has_gpu())
    atomic_write(file, text)
    for line in _facts(seen):
        console.print(Text(line))
    for line in _warnings(seen):
        console.print(Text.assemble(("note: ", "bold yellow"), line))
    console.print(Text.assemble("wrote ", (str(file), "bold cyan"), f"; look through it, then: metier run {file}"))


def recipe_name(source: str) -> str:
    """A recipe's name from what was named: the last part without wildcards and the extensions of known formats."""
    from metier.engines.data.files import COMPRESSIONS, FORMATS

    local = "://" not in source
    parts = [part for part in PurePosixPath(source.partition("://")[2] or source).parts if not re.search(r"[*?\[]", part)]
    if local and (not parts or parts[-1] in (".", "..", "~")):
        parts = list(Path(*parts).expanduser().resolve().parts)
    name = PurePosixPath(parts[-1] if parts else "")
    while name.suffix.lower() in {*FORMATS, *COMPRESSIONS}:
        name = name.with_suffix("")
    return re.sub(r"[^\w.-]+", "-", name.name).strip("-.") or "specialist"


def recipe(name: str, seen: Survey, model: str, *, gpu: bool) -> str:
    """The recipe's text for documents that were looked at."""
    by, by_reason = _grouping(seen)
    lesson, lesson_reason = _lesson(seen, gpu)
    epochs, epochs_reason = _epochs(seen, lesson, gpu)
    source = (
        f"{{use: data.read, source: {_quoted(seen.source)}"
        + (f", text_column: {_quoted(seen.text_column)}" if seen.text_column not in (None, "text") else "")
        + "}"
    )
    training = "$lesson" if lesson is not None else "$parts.train"
    lines = [
        f"# A specialist for {_printable(seen.source)}, written by `metier init` from what it saw there. Each stage is a call: `use` names a method,",
        "# the rest are its arguments, $stage is the result of an earlier stage. `metier methods show NAME` explains a method and its settings.",
        f"name: {name}",
        f"description: {_quoted(f'{model} learns {seen.source}')}",
        "seed: 0",
        "stages:",
        "  # What we begin with.",
        f"  base: {{use: models.load, source: {_quoted(model)}}}",
        "",
        *_comment(*_facts(seen), *_warnings(seen)),
        f"  docs: {source}",
        "",
        *_comment(f"Copies out ({_copies(seen)}), then texts with too little to learn from."),
        "  unique: {use: curate.duplicates, corpus: $docs}",
        "  clean: {use: curate.quality, corpus: $unique}",
        "",
        *_comment(f"A part is held out, never trained on, for the examination. {by_reason}"),
        f"  parts: {{use: data.split, corpus: $clean, by: {by or 'null'}, held_out: {_held_out(seen)}}}",
        "",
        *_comment(lesson_reason),
        *(
            [f"  lesson: {{use: data.sample, corpus: $parts.train, by: {by or 'null'}, characters: {_short(lesson)}}}", ""]
            if lesson is not None
            else []
        ),
        *_comment(
            "The examination, written before the lesson is learnt, so that documents too poor to ask about are found out early: questions made "
            "without any model (from documents trained on, for knowledge acquired, and from those held out, for generalisation), texts never "
            "seen, and general abilities that must not be lost.",
        ),
        f"  questions: {{use: evaluate.corpus_questions, train: {training}, held_out: $parts.held_out}}",
        "  unseen: {use: evaluate.held_out_text, corpus: $parts.held_out}",
        "  general: {use: evaluate.general_probes}",
        "",
        *_comment(epochs_reason),
        f"  expert: {{use: pretrain.continued, model: $base, corpus: {training}, epochs: {epochs}}}",
        "  versus: {use: evaluate.head_to_head, candidate: $expert, base: $base, items: [$questions, $unseen, $general]}",
        "",
        "  report: {use: report.page, of: [$versus]}",
    ]
    return "\n".join(lines) + "\n"


def _facts(seen: Survey) -> list[str]:
    formats = ", ".join(f"{count:,} {kind}" for kind, count in seen.files.most_common())
    about = "" if seen.looked_at == seen.files.total() else f"; {seen.looked_at} files were looked at"
    lines = [
        f"{formats} {_plural(seen.files.total(), 'file')}: about {seen.documents:,.0f} {_plural(seen.documents, 'document')} of {seen.shortest:,} to "
        f"{seen.longest:,} characters, {_short(seen.characters)} characters or {_short(seen.tokens)} tokens in all{about}."
    ]
    if seen.text_column is not None:
        columns = ", ".join(f"{name} ({mean:,.0f} characters on average)" for name, mean in seen.columns.items())
        lines.append(f"The text of rows is taken from the column with the most of it; those with text: {columns}.")
    return lines


def _warnings(seen: Survey) -> list[str]:
    lines = []
    if seen.columnless:
        lines.append(
            f"{len(seen.columnless)} of the files of rows lack the column {seen.text_column!r}, such as {seen.columnless[0]}: they will be put apart."
        )
    if seen.unreadable:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in seen.unreadable.most_common(4))
        lines.append(f"Files that can't be read will be put apart and counted: {reasons}.")
    if seen.documents < 10:
        lines.append("These are too few documents to hold some out and show anything: a hundred and more is a beginning.")
    return lines


def _copies(seen: Survey) -> str:
    if seen.copies == 0:
        return f"no exact ones among the {seen.sampled:,} documents looked at; near ones are found too"
    return f"{seen.copies:,} of the {seen.sampled:,} documents looked at are exact copies of another: expect to lose some"


def _grouping(seen: Survey) -> tuple[str | None, str]:
    """The column to split by, and why: groups keep texts of one kind together, if there are enough and none is most of it."""
    count = len(seen.groups)
    largest, size = seen.groups.most_common(1)[0]
    share = size / max(1, seen.groups.total())
    if count >= 5 and share <= 0.4:
        return (
            "source",
            f"There are {count:,} groups (subfolders, files of rows, or the rows' own source), so whole groups are, and no text has a sibling in training.",
        )
    if count == 1:
        return (
            None,
            "All documents are of one group, so single documents are; data.split sees to it that they have no twin in training.",
        )
    return (
        None,
        f"By document: of {count} groups the largest ({largest}) holds {share:.0%}, so that whole groups would split unevenly.",
    )


def _held_out(seen: Survey) -> float:
    """A tenth, more of a small corpus: its held-out part must still give an interval."""
    return 0.1 if seen.characters > 1_000_000 else 0.15 if seen.characters > 200_000 else 0.2


def _training(seen: Survey) -> float:
    """Characters that are not held out."""
    return seen.characters * (1 - _held_out(seen))


def _lesson(seen: Survey, gpu: bool) -> tuple[int | None, str]:
    """Characters of the lesson, and why; None and nothing where all of it is learnt."""
    if gpu or _training(seen) <= 1.5 * LESSON:
        return None, ""
    return LESSON, (
        f"Of {_short(_training(seen) / 4)} tokens a sample is learnt, as much as two CPU cores do in minutes. Raise `characters` with your patience; on a "
        "GPU, drop this stage and write $parts.train for $lesson below."
    )


def _epochs(seen: Survey, lesson: int | None, gpu: bool) -> tuple[int, str]:
    """How often the lesson is read, and why."""
    characters = lesson if lesson is not None else _training(seen)
    if gpu:
        epochs = 1 if characters > 20_000_000 else 2 if characters > 1_000_000 else 3
    else:
        epochs = 2 if characters > 0.75 * LESSON else 3 if characters > 0.3 * LESSON else 4
    often = {1: "once", 2: "twice"}.get(epochs, f"{epochs} times")
    tokens = epochs * characters / 4
    time = (
        "this machine has a GPU"
        if gpu
        else f"about {max(1, tokens / TOKENS_A_MINUTE):.0f} min for the default model on two CPU cores"
    )
    return (
        epochs,
        f"The lesson is read {often}, {_short(tokens)} tokens in all; {time}. The less text, the more often it may be read before that harms.",
    )


def _plural(count: float, noun: str) -> str:
    return noun if round(count) == 1 else f"{noun}s"


def _short(count: float) -> str:
    """ "940", "150k", "2.3M": also read back by recipes."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale:
            return f"{count / scale:.{1 if count < 10 * scale else 0}f}".removesuffix(".0") + unit
    return f"{count:.0f}"


def _comment(*sentences: str) -> list[str]:
    """The sentences as comment lines of a stage, wrapped."""
    import textwrap

    text = _printable(" ".join(" ".join(sentences).split()))
    return textwrap.wrap(
        text, 128, initial_indent="  # ", subsequent_indent="  # ", break_long_words=False, break_on_hyphens=False
    )


def _quoted(text: str | None) -> str:
    """A text as YAML, quoted where it must be, and not mistaken for a reference."""
    import json

    text = f"${text}" if text is not None and text.startswith("$") else text
    if (
        text is not None
        and re.fullmatch(r"[A-Za-z][\w./-]*", text)
        and text.lower() not in ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
    ):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(character if character.isprintable() else f"\\U{ord(character):08x}" for character in quoted)


def _printable(text: str) -> str:  # names may hold line ends and worse, which would end a comment
    return "".join(character if character.isprintable() else "?" for character in text)


def _has_gpu() -> bool:
    """Whether torch can use a GPU; torch, which takes seconds to import, is asked only where a driver's traces are."""
    import shutil

    traces = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd"))  # NVIDIA, the same under WSL, AMD
    if shutil.which("nvidia-smi") is None and not any(trace.exists() for trace in traces):
        return False
    import torch

    return torch.cuda.is_available()
