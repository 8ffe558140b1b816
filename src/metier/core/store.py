"""The run folder: where each stage's result lives, whole or not at all (docs/architecture.md draws it)."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from metier.artifacts.files import atomic_write
from metier.core.errors import InputError, RunError

KEPT = ("metrics.jsonl", "series")  # of what a training leaves in its working folder: its course, and checkpoints to study


class Store:
    """Stage results by name and key, below a run folder. Nothing is made before `lock` is entered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str, key: str) -> Path:
        """Where the finished result of a stage is, or will be."""
        return self.folder / "stages" / f"{name}-{key[:8]}"

    def partial(self, name: str, key: str) -> Path:
        """Where a stage works before it is finished."""
        return self.folder / "stages" / f"{name}-{key[:8]}.partial"

    def facts(self, name: str, key: str) -> dict[str, Any]:
        """stage.json of a finished stage."""
        return json.loads((self.path(name, key) / "stage.json").read_text())  # type: ignore[no-any-return]

    def state(self, name: str, key: str) -> Literal["done", "resumes", "runs"]:
        folder = self.path(name, key)
        if (folder / "stage.json").is_file() and self.facts(name, key)["key"] == key and not _has_broken_link(folder):
            return "done"
        work = self.partial(name, key) / "work"
        return "resumes" if work.is_dir() and any(work.iterdir()) else "runs"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Makes the run folder and keeps it for this process. Raises InputError when it can't be written or is in use."""
        try:
            (self.folder / "stages").mkdir(parents=True, exist_ok=True)
            file = (self.folder / ".lock").open("a+")
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(
                f"the run folder {self.folder} cannot be written ({reason}); choose another with --into FOLDER"
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(
                    f"another run is using {self.folder}; wait for it, or choose another folder with --into"
                ) from error
            yield

    def begin(self, name: str, key: str, *, afresh: bool) -> Path:
        """The folder for a stage to work in; what an interrupted attempt left in work/ stays unless `afresh`."""
        partial = self.partial(name, key)
        if afresh:
            shutil.rmtree(partial, ignore_errors=True)
        (partial / "work").mkdir(parents=True, exist_ok=True)
        for leftover in list(partial.iterdir()):  # of an attempt that was killed while its results were saved
            if leftover.name in KEPT:
                leftover.replace(partial / "work" / leftover.name)
            elif leftover.name not in {"work", "log.txt"}:
                _remove(leftover)
        return partial

    def finish(self, name: str, key: str, facts: dict[str, Any]) -> Path:
        """Makes the partial result the result: stage.json is written, the folder is renamed, work/ goes but for KEPT, the name is linked."""
        partial, final = self.partial(name, key), self.path(name, key)
        for kept in KEPT:
            if (partial / "work" / kept).exists():
                (partial / "work" / kept).replace(partial / kept)
        atomic_write(partial / "stage.json", json.dumps(facts, indent=1))
        if final.exists():
            old = final.with_name(f"{final.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            final.rename(old)
            partial.rename(final)
            shutil.rmtree(old, ignore_errors=True)
        else:
            partial.rename(final)
        shutil.rmtree(final / "work")  # after the rename: killed before it, the stage still resumes; after it, it is done
        self.link(name, key)
        return final

    def link(self, name: str, key: str) -> None:
        """Points the stage's name in the run folder to this result."""
        link, fresh = self.folder / name, self.folder / f".{name}.link"
        target = os.path.relpath(self.path(name, key), self.folder)
        if link.is_symlink() and link.readlink() == Path(target):
            return
        if link.exists() and not link.is_symlink():
            raise RunError(f"{link} is in the way: the run folder links its stages by name there; move it away and run again")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.replace(link)


def _has_broken_link(folder: Path) -> bool:
    return any(file.is_symlink() and not file.exists() for file in folder.rglob("*"))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
