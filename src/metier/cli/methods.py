"""`metier methods`: all methods with their claims and the evidence for them, read from source without importing any."""

from __future__ import annotations

from typing import Annotated, Any

import typer

app = typer.Typer(help="Lists the methods, or shows one.", invoke_without_command=True, no_args_is_help=False)
Json = Annotated[bool, typer.Option("--json", help="Machine-readable: name, kind, paper, claim, settings, evidence.")]


@app.callback()
def methods(context: typer.Context, json_: Json = False) -> None:
    """Lists the methods: name, kind, claim, and the verdict of the stored proof."""
    if context.invoked_subcommand is None:
        list_(json_)


@app.command("list")
def list_(json_: Json = False) -> None:
    """Lists all methods."""
    from metier.core import catalog

    found = catalog.methods()
    if json_:
        import json

        typer.echo(json.dumps([_as_json(description.name) for description in found], indent=1))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("name", "kind", "evidence", "claim"):
        table.add_column(column)
    for description in found:
        evidence = _evidence(description.name)
        verdict = evidence["verdict"] if evidence is not None else "-"
        table.add_row(
            Text(description.name, style="cyan"), description.kind, Text(verdict, style=_STYLES[verdict]), description.claim
        )
    Console().print(table)


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="A method's name, such as pretrain.continued.")], json_: Json = False) -> None:
    """Shows one method: what it does, what flows in and out, its settings, its evidence."""
    from metier.core import catalog

    description = catalog.describe(name)
    if json_:
        import json

        typer.echo(json.dumps(_as_json(name), indent=1))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(Text.assemble((description.name, "bold cyan"), f"  {description.kind}"))
    console.print(Text(f"claims: {description.claim}"))
    if description.paper is not None:
        console.print(Text(f"paper:  {description.paper}"))
    console.print(Text(_evidence_line(name)), "")
    console.print(Text(description.doc.partition("Settings:\n")[0].rstrip()), "")
    flows = ", ".join(f"{flow}: {kind}" for flow, kind in description.flows.items())
    console.print(Text(f"({flows}) -> {description.returns}", style="cyan"), "")
    table = Table(box=None, pad_edge=False)
    for column in ("setting", "type", "default", "meaning"):
        table.add_column(column)
    for setting in description.settings:
        default = setting.default if setting.default is not None else "required"
        table.add_row(Text(setting.name, style="cyan"), Text(setting.type), Text(default), Text(setting.help))
    console.print(table)


_STYLES = {"exact": "green", "shown": "green", "not shown": "yellow", "contradicted": "red", "-": "dim"}


def _as_json(name: str) -> dict[str, Any]:
    from metier.core import catalog

    description = catalog.describe(name)
    return {
        "name": description.name,
        "kind": description.kind,
        "paper": description.paper,
        "claim": description.claim,
        "settings": [
            {"name": setting.name, "type": setting.type, "default": setting.default, "help": setting.help}
            for setting in description.settings
        ],
        "evidence": _evidence(name),
    }


def _evidence(name: str) -> dict[str, Any] | None:
    from metier.core import evidence

    found = evidence.stored(name)
    if found is None:
        return None
    return {"verdict": found.verdict, "effect": found.effect, "interval": found.interval, "seconds": found.seconds}


def _evidence_line(name: str) -> str:
    from metier.core import evidence

    found = evidence.stored(name)
    if found is None:
        return f"evidence: none stored; `metier prove {name}` makes it if there is a proof"
    effect = f"{found.effect:.3g}" + (
        f" [{found.interval[0]:.3g}, {found.interval[1]:.3g}]" if found.interval is not None else ""
    )
    return f"evidence: {found.verdict}, {found.metric} {effect}, {found.seconds:.0f} s, {found.made}"
