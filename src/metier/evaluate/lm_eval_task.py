"""Tasks written for lm-evaluation-harness, in the plain multiple_choice and generate_until form, in metier's terms."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

_BRACES = re.compile(r"^\{\{(.*)\}\}$", re.DOTALL)
_IGNORED = {
    "task", "tag", "group", "group_alias", "task_alias", "metadata", "metric_list", "output_type", "dataset_kwargs", "repeats",
    "should_decontaminate", "doc_to_decontamination_query", "dataset_path", "dataset_name", "test_split", "validation_split",
    "training_split", "fewshot_split", "doc_to_text", "doc_to_target", "doc_to_choice", "description", "target_delimiter",
    "fewshot_delimiter", "generation_kwargs", "filter_list", "num_fewshot", "fewshot_config",
}  # fmt: skip


class TolerantLoader(yaml.SafeLoader):
    """Reads the tag `!function` as the text "!function name", which is then refused by name where it matters."""


TolerantLoader.add_constructor("!function", lambda loader, node: f"!function {loader.construct_scalar(node)}")  # type: ignore[arg-type]


def converted(found: dict[str, Any], where: str) -> dict[str, Any]:
    """The keys of a Task (evaluate/task.py) for a task of lm-evaluation-harness.

    Raises ValueError, naming the key, for what the plain form does not have: functions in Python, other output types, includes.
    """
    for key, value in found.items():
        if isinstance(value, str) and value.startswith("!function"):
            raise ValueError(
                f"{where}: {key} is a Python function ({value}), which metier does not run; write `function:` instead"
            )
    unknown = sorted(found.keys() - _IGNORED)
    if unknown:
        raise ValueError(f"{where}: {', '.join(unknown)} are beyond the plain form of lm-evaluation-harness' tasks")
    kind = found.get("output_type", "generate_until")
    if kind not in ("multiple_choice", "generate_until"):
        raise ValueError(f"{where}: output_type {kind} cannot be converted; multiple_choice and generate_until can")
    task: dict[str, Any] = {
        "dataset": _dataset(found, where),
        "config": found.get("dataset_name"),
        "split": found.get("test_split") or found.get("validation_split") or found.get("training_split"),
        "shots_split": found.get("fewshot_split") or found.get("training_split"),
        "prompt": _template(found["doc_to_text"]),
        "instruction": found.get("description", ""),
        "delimiter": found.get("target_delimiter", " "),
        "separator": found.get("fewshot_delimiter", "\n\n"),
        "shots": int(found.get("num_fewshot") or 0),
    }
    if "task" in found:
        task["name"] = found["task"]
    if kind == "multiple_choice":
        return task | {"options": _options(found, where), "gold": _expression(found["doc_to_target"])}
    generation = found.get("generation_kwargs") or {}
    until = generation.get("until", ["\n\n"])
    task |= {
        "answer": _expression(found["doc_to_target"]),
        "stop": [until] if isinstance(until, str) else list(until),
        "max_new_tokens": int(generation.get("max_gen_toks", 256)),
    }
    return task | _extraction(found)


def _dataset(found: dict[str, Any], where: str) -> str:
    path = found.get("dataset_path")
    if path in ("json", "csv", "parquet"):
        files = (found.get("dataset_kwargs") or {}).get("data_files")
        if isinstance(files, dict):
            files = next(iter(files.values()))
        if isinstance(files, list):
            files = files[0]
        if not isinstance(files, str):
            raise ValueError(f"{where}: dataset_path {path} names no file in dataset_kwargs.data_files")
        return files
    if not path:
        raise ValueError(f"{where}: dataset_path is missing")
    return f"hf://{path}"


def _template(text: Any) -> str:
    """A template; lm-evaluation-harness takes the bare name of a column for one, too."""
    text = str(text)
    return text if "{{" in text or "{%" in text or " " in text else f"{{{{{text}}}}}"


def _expression(text: Any) -> str:
    if isinstance(text, int):
        return str(text)
    found = _BRACES.match(str(text).strip())
    if found is not None and "{{" not in found[1]:
        return found[1].strip()
    if "{{" in str(text):  # text around the braces: joined as an expression would be
        parts = re.split(r"\{\{(.*?)\}\}", str(text), flags=re.DOTALL)
        return " ~ ".join(json.dumps(part) if place % 2 == 0 else f"({part})" for place, part in enumerate(parts) if part)
    return str(text)


def _options(found: dict[str, Any], where: str) -> str:
    choices = found.get("doc_to_choice")
    if choices is None:
        raise ValueError(f"{where}: doc_to_choice is missing, so there is nothing to choose from")
    return json.dumps(choices) if isinstance(choices, list) else _expression(choices)


def _extraction(found: dict[str, Any]) -> dict[str, str]:
    """The regular expression of the last `filter_list` entry that has one (the flexible one, where there are two)."""
    for entry in reversed(found.get("filter_list") or []):
        for step in entry.get("filter", []):
            if step.get("function") == "regex":
                return {"extract": step["regex_pattern"]}
    return {}
