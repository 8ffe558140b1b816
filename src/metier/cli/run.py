"""`metier run`: prints the plan, runs it with one live progress display, then says what was made, where, and the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from metier.core.plan import Plan

EXAMPLES = """Examples:

* `metier run quickstart`
* `metier run my.yaml --set stages.expert.tokens=1M --set seed=1`
* `metier run my.yaml --dry-run`
* `metier run my.yaml --from questions`
* `metier run curate-web --set stages.read.source=crawl/ --cluster local`
"""


def run(
    recipe: Annotated[str, typer.Argument(help="A recipe: a YAML file, or the name of a packaged one (quickstart).")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a value of the recipe; may stand several times."),
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="FOLDER", help="The run folder; runs/NAME unless given.", show_default=False)
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="Do this stage again, and all that builds on it.")
    ] = None,
    force: Annotated[
        list[str] | None,
        typer.Option("--force", metavar="STAGE", help="Do this stage again, and only this one; may stand several times."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the recipe, print the plan, run nothing.")] = False,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="ADDRESS", help="Run steps over tables on Ray: local, or ray://host:port."),
    ] = None,
) -> None:
    """Runs a recipe; what is done already is not done again, and what was interrupted goes on."""
    from rich.console import Console

    from metier.cli.display import Display, show_warnings
    from metier.core import recipe as recipes
    from metier.core.plan import plan as make_plan
    from metier.core.run import run as run_plan
    from metier.progress import listening

    console = Console()
    read = recipes.read(recipe, set_ or [])
    folder = into if into is not None else Path("runs") / read.name
    with console.status(f"checking {recipe}"):
        plan = make_plan(read, folder, force=force or [], start=from_)
    _print_plan(console, plan)
    if dry_run:
        return
    if cluster is not None:
        _use_cluster(console, cluster)
    show_warnings(console)
    display = Display(console)
    with display, listening(display):
        folders = run_plan(plan, display)
    _print_results(console, plan, folders, display.seconds)


def _use_cluster(console: Console, address: str) -> None:
    from metier.core.errors import InputError, RunError
    from metier.engines.data.cluster import use_cluster

    with console.status(f"reaching the cluster {address}"):
        try:
            use_cluster(address)
        except (ValueError, ImportError) as error:
            raise InputError(str(error)) from error
        except ConnectionError as error:
            raise RunError(str(error)) from error


def _print_plan(console: Console, plan: Plan) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text.assemble(("metier ", "bold"), (plan.recipe.name, "bold cyan"), f"  {plan.recipe.description}".rstrip()))
    table = Table(box=None, pad_edge=False, show_header=False)
    words = {"done": ("done before", "dim"), "resumes": ("goes on", "yellow"), "runs": ("to do", "")}
    for stage in plan.stages:
        word, style = words[stage.state]
        given = {name: value for name, value in plan.recipe.stages[stage.name].arguments.items() if name in stage.settings}
        table.add_row(
            Text(stage.name, style="bold"),
            Text(stage.use, style="cyan"),
            Text(word, style=style),
            Text(", ".join(f"{name}={value}" for name, value in given.items()), style="dim", overflow="ellipsis", no_wrap=True),
        )
    console.print(table)
    console.print(Text(f"run folder {plan.store.folder}", style="dim"))


def _print_results(console: Console, plan: Plan, folders: dict[str, Path], seconds: float) -> None:
    from rich.text import Text

    from metier.artifacts import Model, Report, Scores
    from metier.cli.display import duration

    console.print(Text(f"done in {duration(seconds)}", style="bold green"))
    for stage in plan.stages:
        link = plan.store.folder / stage.name
        if stage.result.single is Model and stage.inputs:  # made by this run, not what it began with
            console.print(Text.assemble("  model   ", (str(link), "cyan")))
        elif stage.result.single is Report:
            console.print(Text.assemble("  report  ", (str(link / "index.html"), "cyan")))
    for stage in plan.stages:
        if stage.result.single is Scores:
            scores = Scores.open(folders[stage.name])
            if scores.verdict is not None:
                style = {"specialist": "bold green", "cost": "bold yellow", "no gain": "bold yellow", "worse": "bold red"}
                console.print(Text(scores.verdict.sentence, style=style[scores.verdict.status]))
