"""Rows of any dataset: a local or remote file, or a set of the Hugging Face hub."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]
FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


def read_rows(dataset: str, *, config: str | None = None, split: str | None = None) -> Iterator[Row]:
    """The rows of `hf://org/name[@revision]` (one config and split of it) or of a file, which may be compressed or a URL.

    A file is .jsonl, .json (a list of objects), .csv, .tsv or .parquet. Raises FileNotFoundError, ValueError for what is no such thing,
    and RuntimeError where the hub can't be reached.
    """
    if dataset.startswith("hf://"):
        yield from _hub(dataset, config, split)
    else:
        yield from _file(dataset)


def _hub(dataset: str, config: str | None, split: str | None) -> Iterator[Row]:
    try:
        import datasets
    except ImportError as error:
        raise RuntimeError(f"{dataset} needs the package datasets: pip install 'metier[hub]'") from error
    name, _, revision = dataset.removeprefix("hf://").removeprefix("datasets/").partition("@")
    try:
        found = datasets.load_dataset(name, config, split=split or "test", revision=revision or None)
    except (OSError, ValueError, RuntimeError) as error:
        # datasets and huggingface_hub raise all of these for no network, a missing set and a missing split.
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RuntimeError(
            f"{dataset} (config {config}, split {split}) could not be read: {reason[0]}. Without the hub, name a file: TASK=FILE.jsonl"
        ) from error
    for row in found:
        yield dict(row)


def _file(path: str) -> Iterator[Row]:
    import fsspec

    kind = next((suffix for suffix in FORMATS if path.removesuffix(".gz").removesuffix(".zst").endswith(suffix)), None)
    if kind is None:
        raise ValueError(f"{path} is no table of rows: give {', '.join(FORMATS)}, or hf://org/name")
    if kind == ".parquet":
        import pyarrow.parquet as pq

        with fsspec.open(path, "rb") as file:
            for batch in pq.ParquetFile(file).iter_batches():
                yield from batch.to_pylist()
        return
    with fsspec.open(path, "rt", compression="infer", encoding="utf-8", newline="") as file:
        if kind == ".jsonl":
            yield from _json_lines(path, file)
        elif kind == ".json":
            yield from _objects(path, file.read())
        else:
            yield from csv.DictReader(file, delimiter="\t" if kind == ".tsv" else ",")


def _json_lines(path: str, file: io.TextIOBase) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}:{number}: broken JSON: {error.msg} at character {error.pos}") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}:{number}: a line must be an object, and this is {line.strip()[:60]}")
            yield row


def _objects(path: str, text: str) -> Iterator[Row]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: broken JSON: {error.msg} at character {error.pos}") from error
    if isinstance(found, dict):
        found = found.get("data", [found])
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"{path} holds no list of objects")
    yield from found
