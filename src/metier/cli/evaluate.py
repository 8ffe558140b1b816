"""Scores one model on tasks."""

from __future__ import annotations

from typing import Annotated

import typer

EXAMPLES = """Examples:

* `metier eval`
"""


def evaluate(
    model: Annotated[str | None, typer.Argument()] = None,
) -> None:
    """Scores one model on tasks."""
    raise typer.Exit(1)
