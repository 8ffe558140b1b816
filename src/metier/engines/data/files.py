"""Which files a source string means: a file, a folder, a glob or a URL of any kind that fsspec knows."""

from __future__ import annotations

import difflib
import glob
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

FORMATS = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".markdown": "text",
    ".rst": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".warc": "warc",
    ".wet": "warc",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
COMPRESSIONS = {".gz": "gz", ".zst": "zst"}
_MEDIA = {"text/html": "html", "text/plain": "text", "application/json": "json", "text/csv": "csv", "application/warc": "warc"}
_VERSION_CONTROL = {"CVS", "_darcs"}  # the others are hidden folders
_IN_ROWS = {"warc", "jsonl", "csv", "tsv", "parquet"}


@dataclass(frozen=True)
class Found:
    """A file of a source.

    name: path below the source, with slashes: the stem of its documents' ids
    group: what its documents' `source` is: the top folder below the source, or the file of rows, or the source's own name
    location: where `filesystem` finds it
    format, compression: None where the extension says nothing known
    stamp: size and time (or version) of the content, as far as the file system tells
    problem: why it can't be read, as "kind: detail", where that is known before opening it
    """

    name: str
    group: str
    location: str
    filesystem: Any
    format: str | None
    compression: str | None
    stamp: str
    problem: str | None = None


def find_files(source: str | list[str]) -> list[Found]:
    """All files that the source means, ordered by name, each once. Hidden files and those of version control are passed over.

    Raises FileNotFoundError for a source that doesn't exist, and ValueError for a folder or glob without a file.
    """
    sources = [source] if isinstance(source, str) else list(source)
    found: dict[str, Found] = {}
    labels = _labels(sources)
    for one, label in zip(sources, labels, strict=True):
        files = sorted(_find(one), key=lambda file: file.name)
        if not files:
            raise ValueError(f"{one} holds no files: put documents there ({', '.join(FORMATS)}), or name another folder")
        for file in files:
            name = file.name if len(sources) == 1 or file.name == label else f"{label}/{file.name}"
            found.setdefault(file.location, replace(file, name=name))
    return list(found.values())


def _labels(sources: list[str]) -> list[str]:
    """A short name for each source, by which equal file names of two sources stay apart."""
    names = [PurePosixPath(urlsplit(one).path if "://" in one else one).name or one for one in sources]
    return [name if names.count(name) == 1 else one for name, one in zip(names, sources, strict=True)]


def _find(source: str) -> Iterator[Found]:
    if source.startswith("file://"):
        source = unquote(urlsplit(source).path)
    return _find_remote(source) if "://" in source else _find_local(source)


def _find_local(source: str) -> Iterator[Found]:
    from fsspec.implementations.local import LocalFileSystem

    path, disk = Path(source).expanduser(), LocalFileSystem()
    if not path.exists() and glob.has_magic(source):
        root = Path(*_before_magic(path))
        for match in sorted(glob.iglob(str(path), recursive=True)):  # noqa: PTH207  Path.glob takes no absolute pattern
            if not Path(match).is_dir():
                yield _local(Path(match), root, disk)
    elif path.is_dir():
        for file in _walk(path):
            yield _local(file, path, disk)
    elif path.exists():
        yield _local(path, path.parent, disk)
    else:
        raise FileNotFoundError(_missing(path))


def _before_magic(path: Path) -> list[str]:
    parts = list(path.parts)
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return parts[:first] or ["."]


def _walk(root: Path) -> Iterator[Path]:
    """Files below a folder; links are followed, each folder once. An unreadable folder comes as itself."""
    visited: set[tuple[int, int]] = set()
    unreadable: list[Path] = []
    walk = os.walk(root, followlinks=True, onerror=lambda error: unreadable.append(Path(error.filename)))
    for folder, inner, files in walk:
        facts = Path(folder).stat()
        if (facts.st_dev, facts.st_ino) in visited:
            inner.clear()
            continue
        visited.add((facts.st_dev, facts.st_ino))
        inner[:] = sorted(name for name in inner if not name.startswith(".") and name not in _VERSION_CONTROL)
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))
    yield from unreadable


def _local(path: Path, root: Path, disk: Any) -> Found:
    name = path.relative_to(root).as_posix() if path != root else path.name
    problem, stamp = None, ""
    try:
        facts = path.stat()
        stamp = f"{facts.st_size} {facts.st_mtime_ns}"
        if stat.S_ISDIR(facts.st_mode):
            problem = "unreadable: permission to list this folder is missing"
        elif not stat.S_ISREG(facts.st_mode):
            problem = "not a file: a pipe, socket or device"
    except OSError as error:
        problem = f"unreadable: {error.strerror or error}"
    # The label of files that lie directly in the folder is the folder's own name.
    return _found(_printable(name), root.resolve().name or "files", str(path.absolute()), disk, stamp, problem)


def _find_remote(source: str) -> Iterator[Found]:
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(source)
        if glob.has_magic(root) and not source.startswith(("http://", "https://")):
            entries = system.glob(root, detail=True)
            base = PurePosixPath(*_before_magic(Path(root))).as_posix()
        else:
            facts = system.info(root)
            base = root.rstrip("/")
            entries = system.find(root, detail=True) if facts["type"] == "directory" else {root: facts}
            base = base if facts["type"] == "directory" else base.rpartition("/")[0]
    except ImportError as error:
        raise ValueError(f"{source}: {error}. For s3:// and gs:// install metier[cloud], for hf:// metier[hub]") from error
    except FileNotFoundError as error:
        if isinstance(error.__cause__, OSError):  # what HTTP makes of a server that does not answer
            raise OSError(f"{source} cannot be reached: {error.__cause__}") from error
        raise FileNotFoundError(f"{source} does not exist, or its server does not show it: {error.__cause__ or error}") from error
    except ValueError as error:
        raise ValueError(f"{source} is no source that can be read: {error}") from error
    except Exception as error:
        hint = "; of a private or gated data set, set HF_TOKEN; without a network, name a folder it was downloaded to"
        raise OSError(
            f"{source} cannot be reached: {type(error).__name__}: {error}{hint if source.startswith('hf://') else ''}"
        ) from error
    for location, facts in entries.items():
        name = location[len(base) :].lstrip("/") if location.startswith(base) else PurePosixPath(location).name
        hidden = any(part.startswith(".") or part in _VERSION_CONTROL for part in PurePosixPath(name).parts)
        if facts["type"] == "file" and not hidden:
            keys = ("size", "ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "blob_id")
            stamp = " ".join(str(facts[key]) for key in keys if facts.get(key) is not None)
            found = _found(name.partition("?")[0], PurePosixPath(base).name or source, location, system, stamp, None)
            if found.format is None and facts.get("mimetype"):
                known = _MEDIA.get(facts["mimetype"].partition(";")[0].strip())
                found = replace(found, format=known, problem=None) if known is not None else found
            yield found


def _found(name: str, label: str, location: str, filesystem: Any, stamp: str, problem: str | None) -> Found:
    path = PurePosixPath(name)
    compression = COMPRESSIONS.get(path.suffix.lower())
    plain = path.with_suffix("") if compression is not None and path.stem else path
    kind = FORMATS.get(plain.suffix.lower())
    group = path.parts[0] if len(path.parts) > 1 else plain.stem if kind in _IN_ROWS else label
    if problem is None and kind is None:
        problem = f"unknown format: {plain.suffix or 'no extension'}"
    return Found(name, group, location, filesystem, kind, compression, stamp, problem)


def _printable(name: str) -> str:  # names that are no UTF-8 hold lone surrogates, which Parquet can't
    return name.encode("utf-8", "backslashreplace").decode()


def _missing(path: Path) -> str:
    """What doesn't exist, and what is nearest to it."""
    parent = next(folder for folder in (path.absolute().parent, *path.absolute().parent.parents) if folder.is_dir())
    wanted = path.absolute().relative_to(parent).parts[0]
    try:
        near = difflib.get_close_matches(wanted, [entry.name for entry in parent.iterdir()], n=1, cutoff=0.5)
    except OSError:
        near = []
    hint = f"did you mean {parent / near[0]}?" if near else f"{parent} has no {wanted!r}"
    return f"{path} does not exist: {hint}"
