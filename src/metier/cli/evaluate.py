"""`metier eval`: one model on tasks, with an interval for each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from metier.evaluate.tasks import packaged

if TYPE_CHECKING:
    from rich.table import Table

    from metier.artifacts import Items
    from metier.evaluate.item import Item
    from metier.evaluate.measure import Estimate

EXAMPLES = """Examples:

* `metier eval smollm2`
* `metier eval runs/quickstart/expert --tasks runs/quickstart/questions,general`
* `metier eval hf://org/name --tasks exam.jsonl --norm tokens --into scores`
* `metier eval smollm2 --tasks commonsenseqa,arc_easy --shots 5 --limit 200`
* `metier eval smollm2 --tasks commonsenseqa=dev.jsonl,my_task.yaml`
* `metier eval openai://my-model@http://localhost:8000/v1 --tasks exam.jsonl --json`
"""

GENERAL = "general"
PUBLIC = packaged()


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A model: smollm2, tiny, a path (such as a run's stage folder), hf://, gguf:// or openai://.")
    ],
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            metavar="TASK,...",
            help=f"general (built-in probes); a public task ({', '.join(PUBLIC)}), read from the hub, or NAME=FILE for its rows from a file; a "
            ".yaml of your own or of lm-evaluation-harness; a stage of items of a run, or a .parquet or .jsonl file of items; JSON lines may also be "
            "{question, options, answer} (answer: an option, its number from 0, or its letter) or {question, answer}.",
        ),
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option(
            "--shots", min=0, help="Worked examples before each question; the task's own number unless given.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Ask only the first so many questions of each task.", show_default=False)
    ] = None,
    norm: Annotated[
        Literal["bytes", "tokens", "unconditional", "none"],
        typer.Option("--norm", help="What the log-probability of an option is divided by, or less (unconditional)."),
    ] = "bytes",
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="FOLDER", help="Store every item's score there, as Parquet.", show_default=False),
    ] = None,
    json_: Annotated[
        bool,
        typer.Option("--json", help="Machine-readable: a list of {task, role, metric, num_items, value, low, high, chance}."),
    ] = False,
) -> None:
    """Scores a model on tasks, general abilities unless others are named."""
    from rich.console import Console

    from metier.artifacts import Scores
    from metier.artifacts.files import atomic_folder
    from metier.cli.display import Display, show_warnings
    from metier.core.errors import InputError, RunError
    from metier.engines.generate.open import open_language_model
    from metier.evaluate.measure import measure, summarise
    from metier.progress import listening

    if into is not None and into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise InputError(f"{into} exists: choose another folder for --into")
    console = Console(stderr=True)
    show_warnings(console)
    with console.status(f"opening {model} and the tasks"):
        sets = all_items(tasks or [GENERAL], shots=shots, limit=limit)
        asked = open_language_model(model)
    display = Display(console)
    with display, listening(display):
        try:
            scores = [measure(asked, items, norm=norm) for items in sets]
        except RuntimeError as error:
            raise RunError(f"{model} could not be scored: {error}") from error
    estimates = [estimate for part in scores for estimate in summarise(part)]
    if into is not None:
        with atomic_folder(into) as partial:
            Scores.from_rows(row for part in scores for row in part.rows()).save(partial)
    if json_:
        typer.echo(json.dumps([asdict(estimate) for estimate in estimates], indent=1))
    else:
        Console().print(_table(estimates))
    if into is not None:
        console.print(f"every item's score is in {into}", style="dim", markup=False, highlight=False)


def all_items(names: list[str], *, shots: int | None, limit: int | None) -> list[Items]:
    """The items of every task named, each task once. Raises InputError where two of them have items of one id."""
    sets = [read_items(name, shots=shots, limit=limit) for name in _names(names)]
    _check_ids(sets)
    return sets


def read_items(name: str, *, shots: int | None = None, limit: int | None = None) -> Items:
    """The items that a task's name means: the built-in probes, a public or described task, a folder or file of items or of questions.

    `shots` and `limit` are for tasks that are made from rows; items that are made already are cut to `limit` and refuse `shots`.
    """
    from metier.core.errors import InputError

    path = Path(name).expanduser()
    if (described := _described(name)) is not None:
        return _task_items(described, shots, limit)
    if shots:
        raise InputError(f"{name} is made of whole items, which take no worked examples: leave --shots out")
    if name == GENERAL and not path.exists():
        from metier.evaluate.general_probes import general_probes

        return _first(general_probes(), limit)
    if path.suffix == ".jsonl" and path.is_file():
        from metier.evaluate.item import items_table

        return _first(items_table(_json_items(path)), limit)
    if path.is_dir() or path.suffix == ".parquet":
        from metier.artifacts import Items

        return _first(Items.open(path), limit)
    if path.exists():
        raise InputError(f"{name} is no task: give a folder of items, or a .yaml, .parquet or .jsonl file")
    raise InputError.unknown("task", name, [GENERAL, *PUBLIC], remedy="a task is one of those, or a folder or file of items")


def _described(name: str) -> str | None:
    """The name where it means a task that makes its items from rows."""
    given = name.partition("=")[0]
    return name if given.endswith((".yaml", ".yml")) or (given in PUBLIC and not Path(name).exists()) else None


def _task_items(name: str, shots: int | None, limit: int | None) -> Items:
    from metier.core.errors import InputError, RunError
    from metier.evaluate.item import items_table
    from metier.evaluate.task import items, read_task

    try:
        return items_table(items(read_task(name), shots=shots, limit=limit))
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error
    except RuntimeError as error:
        raise RunError(str(error)) from error


def _first(items: Items, limit: int | None) -> Items:
    """The first so many of each task."""
    if limit is None:
        return items
    from metier.evaluate.item import Item, in_full, items_table

    counts: Counter[str] = Counter()
    kept = []
    for row in in_full(items).to_pylist():
        counts[row["task"]] += 1
        if counts[row["task"]] <= limit:
            kept.append(Item(**row))
    return items_table(kept)


def _names(given: list[str]) -> Iterator[str]:
    """The tasks named, each once; commas part them, except in the name of something that exists."""
    seen = set()
    for one in given:
        for name in [one] if Path(one).exists() else one.split(","):
            if name and name not in seen:
                seen.add(name)
                yield name


def _check_ids(sets: list[Items]) -> None:
    from metier.core.errors import InputError

    seen: set[str] = set()
    for items in sets:
        ids = {str(row["id"]) for row in items.rows()}
        if ids & seen:
            raise InputError(
                f"the item {min(ids & seen)!r} is in two of the tasks: give each set of items once, and files different names"
            )
        seen |= ids


def _json_items(path: Path) -> Iterator[Item]:
    from metier.core.errors import InputError

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.object[error.start]:#04x} at offset {error.start})") from error
    count = 0
    for number, line in enumerate(lines, start=1):
        if line.strip():
            count += 1
            try:
                yield _item(json.loads(line), path.stem, number)
            except (ValueError, TypeError) as error:
                raise InputError(f"{path}:{number}: {error}") from error
    if count == 0:
        raise InputError(f"{path} holds no items")


def _item(row: Any, task: str, number: int) -> Item:
    """One line: an item with artifacts.Items' columns, or a question with options and an answer, or with an answer alone."""
    from metier.evaluate.item import Item
    from metier.evaluate.task import gold_index

    if not isinstance(row, dict):
        raise ValueError(f"a line must be an object, and this is {json.dumps(row)[:60]}")
    if {"id", "kind", "prompt"} <= row.keys():
        given: dict[str, Any] = {"task": task, "role": GENERAL} | row
        return Item(**given)
    question = row.get("question")
    if not isinstance(question, str) or "answer" not in row:
        raise ValueError(f"an item needs `question` and `answer`, and this one has {', '.join(row) or 'nothing'}")
    options, answer = row.get("options"), row["answer"]
    base: dict[str, Any] = {"id": f"{task}-{number}", "task": task, "role": GENERAL, "prompt": f"Question: {question}\nAnswer:"}
    if options is None:
        return Item(**base, kind="generate", answer=str(answer))
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise ValueError("`options` must be a list of texts")
    return Item(**base, kind="choice", options=options, gold=gold_index(options, answer))


def _table(estimates: list[Estimate]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name, justify in (
        ("task", "left"),
        ("metric", "left"),
        ("n", "right"),
        ("value", "right"),
        ("95% interval", "right"),
        ("chance", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for estimate in estimates:
        show = "{:.3f}".format if estimate.metric == "bits per byte" else "{:.1%}".format
        table.add_row(
            Text(estimate.task, style="cyan"),
            estimate.metric,
            f"{estimate.num_items:,}",
            show(estimate.value),
            f"{show(estimate.low)} to {show(estimate.high)}",
            show(estimate.chance) if estimate.chance is not None else "",
        )
    return table
