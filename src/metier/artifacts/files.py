"""Files that appear whole or not at all."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def work_folder(workdir: Path | None, name: str) -> Path:
    """Where a method leaves what it makes: `workdir`, or for None a new temporary folder that stays; `name` tells whose it is."""
    folder = workdir if workdir is not None else Path(tempfile.mkdtemp(prefix=f"metier-{name}-"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def passing_folder(workdir: Path | None, name: str) -> Path:
    """An empty folder for rows on their way: `name` in `workdir`, without what an interrupted call left there; for None a temporary one
    that lasts as long as the process."""
    if workdir is None:
        folder = Path(tempfile.mkdtemp(prefix=f"metier-{name}-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder
    folder = workdir / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def atomic_write(path: Path, content: str | bytes) -> None:
    """Writes a small file by rename: a reader sees the old content or the new, never a part."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, renamed to `path` when the block ends well and removed when it does not.

    Two processes that make the same folder at once both succeed; the first one's stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    partial.mkdir()
    try:
        yield partial
        try:
            partial.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
