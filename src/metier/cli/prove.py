"""`metier prove`: runs the experiment behind a claim and says what came out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """Examples:

* `metier prove text.pack --quick`
* `metier prove train.chunked_cross_entropy`
* `metier prove text.pack --into my-results`
"""


def prove(
    name: Annotated[str, typer.Argument(help="A method's name; `metier methods` lists them.")],
    quick: Annotated[bool, typer.Option("--quick", help="The small version, which ends in 20 s and is not stored.")] = False,
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            metavar="FOLDER",
            help="Where NAME.json goes; the results that metier shows unless given.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Proves a method's claim against its own baseline; any verdict is a result (exit code 0), a failure to run is not."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from metier.cli.display import Display, duration
    from metier.core import evidence
    from metier.progress import listening

    console = Console()
    display = Display(console)
    with display, listening(display):
        found = evidence.prove(name, quick=quick)
    style = {"exact": "bold green", "shown": "bold green", "not shown": "bold yellow", "contradicted": "bold red"}[found.verdict]
    console.print(Text.assemble((name, "bold cyan"), "  ", (found.verdict, style), f"  in {duration(found.seconds)}"))
    console.print(Text(f"claim:  {found.claim}"))
    if found.interval is not None:
        low, high = found.interval
        console.print(
            Text(
                f"effect: {found.effect:+.4g} [{low:+.4g}, {high:+.4g}] {found.metric} ({found.better} is better), {len(found.seeds)} seeds"
            )
        )
    if found.checks:
        table = Table(box=None, pad_edge=False)
        for column in ("check", "difference", "allowed", ""):
            table.add_column(column)
        for check in found.checks:
            table.add_row(check.name, f"{check.difference:.2e}", f"{check.tolerance:.0e}", "holds" if check.holds else "FAILS")
        console.print(table)
    if found.notes:
        console.print(Text(found.notes, style="dim"))
    if not quick or into is not None:
        console.print(Text(f"stored in {evidence.store(name, found, into)}", style="dim"))
