"""Definitions of public tasks, one YAML file each."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def packaged() -> list[str]:
    """The names of the tasks that come with metier."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))
