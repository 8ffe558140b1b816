"""Chats with a model in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

EXAMPLES = """Examples:

* `metier chat`
"""


def chat(
    model: Annotated[str | None, typer.Argument()] = None,
) -> None:
    """Chats with a model in the terminal."""
    raise typer.Exit(1)
