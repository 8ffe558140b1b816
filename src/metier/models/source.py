"""Source strings: how a model is named, and how its name becomes a folder that from_pretrained opens.

`smollm2` (the default), `tiny` (random, made in seconds), a path, `hf://org/name[@revision]`, `gguf://path`. Importing this module is
light, and so is `fingerprint`: plans ask for it before anything is downloaded.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metier.artifacts import Model

NAMES = ("smollm2", "tiny")
SCHEMES = ("hf", "gguf", "openai", "vllm", "ct2")
KNOWN_SOURCES = "A model is smollm2, tiny, a path, hf://org/name[@revision] or gguf://path/to/file.gguf"

Kind = Literal["name", "path", "hf", "gguf", "openai", "vllm", "ct2"]


@dataclass(frozen=True)
class Source:
    """A source string taken apart. `rest` is the name, the path, or what follows `://`; `revision` is for hf only."""

    kind: Kind
    rest: str
    revision: str | None = None


def parse(source: str) -> Source:
    """What kind of source it is. Looks at the file system for bare words only.

    Raises ValueError for an unknown scheme or name, with the nearest known one.
    """
    scheme, separator, rest = source.partition("://")
    if separator:
        if scheme not in SCHEMES:
            raise ValueError(f"model source {source!r}: unknown scheme {scheme!r}{_nearest(scheme, SCHEMES)}. {KNOWN_SOURCES}")
        if not rest:
            raise ValueError(f"model source {source!r} names nothing after {scheme}://. {KNOWN_SOURCES}")
        if scheme == "hf":
            return _hub_source(source, rest)
        return Source(scheme, rest)  # type: ignore[arg-type]
    if source in NAMES:
        return Source("name", source)
    if "/" in source or os.sep in source or source.startswith((".", "~")) or Path(source).exists():
        return Source("path", source)
    raise ValueError(f"unknown model {source!r}{_nearest(source, NAMES)}, and there is no such folder here. {KNOWN_SOURCES}")


def open_model(source: str) -> Model:
    """The model behind a source string, downloaded or converted where it has to be; the second time from metier's cache.

    Raises ValueError for a source that can't be opened as weights (unknown, pickle only, remote code), FileNotFoundError for what
    is not there, ConnectionError for what can't be downloaded now; each says what to do.
    """
    parsed = parse(source)
    match parsed.kind:
        case "name" if parsed.rest == "tiny":
            from metier.models.tiny import cached_tiny

            return cached_tiny()
        case "name":
            from metier.models.bundled import open_smollm2

            return open_smollm2()
        case "path":
            from metier.models.folder import check_folder

            return check_folder(Path(parsed.rest).expanduser())
        case "hf":
            from metier.models.hub import open_repository

            return open_repository(parsed.rest, parsed.revision)
        case "gguf":
            from metier.models.gguf import open_gguf

            return open_gguf(Path(parsed.rest).expanduser())
        case _:
            raise ValueError(
                f"model source {source!r} can be asked, but its weights can't be opened; this needs a model of its own. {KNOWN_SOURCES}"
            )


def fingerprint(source: str) -> str:
    """A string that changes when the model behind the source does, without any download.

    For a path or a gguf file it follows their content. Named models and hub repositories are taken to stand still: the answer must
    be the same before and after their first download, or a finished run would look stale. Pin a repository with @revision.
    """
    parsed = parse(source)
    match parsed.kind:
        case "path":
            path = Path(parsed.rest).expanduser()
            return Model(path).fingerprint() if path.is_dir() else f"missing {path}"
        case "gguf":
            return file_fingerprint(Path(parsed.rest).expanduser())
        case _:
            return source


def file_fingerprint(file: Path) -> str:
    """A hash of a file's size and of its first and last mebibyte."""
    if not file.is_file():
        return f"missing {file}"
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as content:
        digest.update(content.read(_EDGE))
        content.seek(max(0, size - _EDGE))
        digest.update(content.read(_EDGE))
    return digest.hexdigest()[:32]


_EDGE = 1 << 20


def cache_folder() -> Path:
    """Where metier keeps downloaded and converted models and cached answers: METIER_CACHE, or the user's cache folder."""
    chosen = os.environ.get("METIER_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("metier", appauthor=False)


def _hub_source(source: str, rest: str) -> Source:
    name, _, revision = rest.partition("@")
    if len(name.split("/")) != 2 or not all(name.split("/")):
        raise ValueError(f"model source {source!r}: a hub repository is named hf://org/name or hf://org/name@revision")
    return Source("hf", name, revision or None)


def _nearest(name: str, known: tuple[str, ...]) -> str:
    found = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""
