"""`metier compare`: a base and its specialists on the same items, win, tie or loss with intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metier.cli.evaluate import GENERAL, all_items

if TYPE_CHECKING:
    from rich.console import Console

    from metier.artifacts import Scores

EXAMPLES = """Examples:

* `metier compare smollm2 runs/quickstart/expert`
* `metier compare smollm2 expert-a expert-b --tasks runs/quickstart/questions,general --into versus`
* `metier compare hf://org/base hf://org/medical --tasks medqa,pubmedqa --practice medqa-train.jsonl --shots 3`
"""


def compare(
    base: Annotated[str, typer.Argument(help="The model that the others came from: smollm2, a path, hf:// or gguf://.")],
    candidates: Annotated[list[str], typer.Argument(help="One or more models to compare with it.")],
    tasks: Annotated[
        list[str] | None,
        typer.Option("--tasks", metavar="TASK,...", help="As for `metier eval`; general unless given.", show_default=False),
    ] = None,
    practice: Annotated[
        list[str] | None,
        typer.Option(
            "--practice",
            metavar="TASK,...",
            help="Questions of the same tasks on which each model chooses its own best prompt, so that no gain is only the prompt's.",
            show_default=False,
        ),
    ] = None,
    shots: Annotated[
        int | None, typer.Option("--shots", min=0, help="Worked examples before each question.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Ask only the first so many questions of each task.", show_default=False)
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="FOLDER", help="Store a page and every item's score there.", show_default=False),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Machine-readable: the comparisons of each model.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap and of everything drawn.")] = 0,
) -> None:
    """Says of each model whether it beats the base, task by task, corrected for all comparisons made at once."""
    from rich.console import Console

    from metier.cli.display import Display, show_warnings
    from metier.core.errors import InputError, RunError
    from metier.evaluate.head_to_head import head_to_head
    from metier.models.source import open_model
    from metier.progress import listening

    if into is not None and into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise InputError(f"{into} exists: choose another folder for --into")
    if len(set(candidates)) < len(candidates) or base in candidates:
        raise InputError("a model is named twice: name the base once, and each model to compare with it once")
    console = Console(stderr=True)
    show_warnings(console)
    with console.status("opening the models and the tasks"):
        items = all_items(tasks or [GENERAL], shots=0 if practice else shots, limit=limit)
        practised = all_items(practice, shots=0, limit=None) if practice else None
        models = {name: open_model(name) for name in [base, *candidates]}
    display = Display(console)
    found: dict[str, Scores] = {}
    with display, listening(display):
        for name in candidates:
            try:
                found[name] = head_to_head(
                    models[name], models[base], items, practised, num_shots=3 if shots is None else shots, seed=seed
                )
            except RuntimeError as error:
                raise RunError(f"{name} could not be compared with {base}: {error}") from error
    correct_together(list(found.values()))
    if into is not None:
        _store(into, found)
    if json_:
        typer.echo(json.dumps({name: [asdict(one) for one in scores.comparisons] for name, scores in found.items()}, indent=1))
    else:
        for name, scores in found.items():
            show(Console(), base, name, scores)
    if into is not None:
        console.print(f"the page is {into / 'index.html'}", style="dim", markup=False, highlight=False)


def correct_together(found: Sequence[Scores]) -> None:
    """Corrects the p-values of all comparisons of all models as one family (Holm)."""
    from metier.engines.stats.holm import holm

    adjusted = iter(holm([one.p for scores in found for one in scores.comparisons]))
    for scores in found:
        scores.comparisons = [one.with_holm(next(adjusted)) for one in scores.comparisons]


def show(console: Console, base: str, name: str, scores: Scores) -> None:
    """The table of one model against the base, and what it comes to.

    Differences in points or bits with their 95% interval; items that only the candidate (won) and only the base (lost) has right; p corrected for
    all comparisons; the outcome by both, and in brackets by the interval alone where that differs.
    """
    from rich.table import Table
    from rich.text import Text

    console.print(Text.assemble((name, "bold cyan"), " against ", (base, "cyan")))
    table = Table(box=None, pad_edge=False)
    for column in ("task", "n", "base", "candidate", "difference", "won, lost", "p", "outcome"):
        table.add_column(column, justify="left" if column in ("task", "outcome") else "right", no_wrap=column != "task")
    styles = {"better": "green", "tie": "dim", "worse": "red"}
    for one in scores.comparisons:
        value, scale = ("{:.3f}", 1) if one.metric == "bits per byte" else ("{:.1%}", 100)
        digits = 3 if scale == 1 else 1
        low, high = (f"{scale * bound:+.{digits}f}" for bound in (one.low, one.high))
        table.add_row(
            one.task,
            f"{one.num_items:,}",
            value.format(one.base),
            value.format(one.candidate),
            f"{scale * one.difference:+.{digits}f} [{low}, {high}]",
            "" if one.num_gained is None else f"{one.num_gained}, {one.num_lost}",
            f"{one.p_holm:.3f}",
            Text(
                one.corrected if one.outcome == one.corrected else f"{one.corrected} ({one.outcome})", style=styles[one.corrected]
            ),
        )
    console.print(table)
    counts = {word: sum(one.corrected == word for one in scores.comparisons) for word in styles}
    total = len(scores.comparisons)
    console.print("  ".join(f"{word} {count} of {total} ({count / total:.1%})" for word, count in counts.items()))
    if scores.verdict is not None:
        console.print(scores.verdict.sentence, markup=False, highlight=False)


def _store(into: Path, found: dict[str, Scores]) -> None:
    from metier.artifacts.files import atomic_folder
    from metier.report.page import page

    with atomic_folder(into) as partial:
        stored = [scores.save(partial / f"{number}") for number, scores in enumerate(found.values(), start=1)]
        page(stored, title=" and ".join(found)).save(partial)
