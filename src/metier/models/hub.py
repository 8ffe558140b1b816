"""Models of the Hugging Face hub: safetensors, configuration and tokenizer, nothing that could run."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from metier.artifacts import Model
from metier.models.folder import check_folder

TIMEOUT_SECONDS = 4.0
_PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
# Other precisions and runtimes of the same weights, which some repositories keep in subfolders.
_IGNORED = ["onnx/*", "openvino/*", "original/*", "coreml/*"]


def open_repository(name: str, revision: str | None = None) -> Model:
    """A repository of the hub, from the hub's own cache where it is there, else downloaded.

    Raises ConnectionError when the hub can't be reached or refuses, ValueError for pickle weights or remote code.
    """
    try:
        path = cached_snapshot(name, revision) or download(name, revision)
    except ConnectionError as error:
        raise ConnectionError(
            f"hf://{name} can't be downloaded: {error}. Give a path to a folder that holds the model"
        ) from error
    return check_folder(path)


def cached_snapshot(name: str, revision: str | None = None) -> Path | None:
    """The folder of a repository in the hub's cache on this machine, or None where it is not there whole. No network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return path if (path / "config.json").is_file() and any(path.glob("*.safetensors")) else None


def latest_revision(name: str, revision: str | None = None) -> str:
    """The commit of a repository's revision. Raises ConnectionError with the reason, within seconds, when the hub does not tell;
    ValueError for a repository without safetensors."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        raise ConnectionError("HF_HUB_OFFLINE is set")
    try:
        info = HfApi().model_info(name, revision=revision, timeout=TIMEOUT_SECONDS)
    except OfflineModeIsEnabled as error:
        raise ConnectionError("HF_HUB_OFFLINE is set") from error
    except HfHubHTTPError as error:
        at = f"@{revision}" if revision is not None else ""
        raise ConnectionError(f"the hub answered {error.response.status_code} for {name}{at}") from error
    except _network_errors() as error:
        raise ConnectionError(f"the hub can't be reached ({error})") from error
    files = {sibling.rfilename for sibling in info.siblings or []}
    if files and not any(file.endswith(".safetensors") for file in files):
        raise ValueError(
            f"hf://{name} has no safetensors weights, and metier loads no pickle: choose a repository with *.safetensors"
        )
    return str(info.sha)


def download(name: str, revision: str | None = None, folder: Path | None = None) -> Path:
    """A repository's files, in the hub's cache or in `folder`. Raises ConnectionError with the reason."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    commit = latest_revision(name, revision)
    errors: tuple[type[BaseException], ...] = (HfHubHTTPError, *_network_errors())
    try:
        path = snapshot_download(
            name,
            revision=commit,
            local_dir=folder,
            allow_patterns=_PATTERNS,
            ignore_patterns=_IGNORED,
            etag_timeout=TIMEOUT_SECONDS,
        )
    except errors as error:
        raise ConnectionError(f"the download from the Hugging Face hub broke off ({error})") from error
    return Path(path)


def _network_errors() -> tuple[type[BaseException], ...]:
    """What the hub's client raises when there is no network. Which library it talks HTTP with depends on its version."""
    from huggingface_hub import get_session

    library = importlib.import_module(type(get_session()).__module__.partition(".")[0])
    return (OSError, library.HTTPError)
