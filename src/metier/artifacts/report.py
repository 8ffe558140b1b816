"""Report: a folder with one self-contained HTML page."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from metier.artifacts.files import atomic_write


@dataclass(frozen=True)
class Report:
    """A page (`index.html`) that opens without a network. `html` is None for a report that is already stored in `path`."""

    path: Path | None = None
    html: str | None = None

    @classmethod
    def open(cls, path: str | Path) -> Self:
        if not (Path(path) / "index.html").is_file():
            raise FileNotFoundError(f"{path} holds no index.html")
        return cls(path=Path(path))

    def save(self, folder: Path) -> Self:
        folder.mkdir(parents=True, exist_ok=True)
        if self.html is not None:
            atomic_write(folder / "index.html", self.html)
        elif self.path is not None and self.path != folder:
            shutil.copy2(self.path / "index.html", folder / "index.html")
        return type(self).open(folder)
