"""A task: rows of a dataset become questions, by a few templates in YAML.

    name: commonsenseqa
    dataset: hf://tau/commonsense_qa     # or a file: .jsonl, .parquet, .csv; `--tasks NAME=FILE` takes another
    split: validation
    shots_split: train                   # where worked examples come from; the split itself, its own row aside, where there is none
    prompt: "Question: {{question}}\\nAnswer:"
    options: choices.text                # an expression over the row's columns: a list of texts; without it the model answers freely
    gold: answerKey                      # the right option: its number from 0, its letter, or its text
    letters: false                       # true lists the options in the prompt and asks for their letters
    answer: ...                          # free answers: the right one

Templates and expressions are Jinja in its sandbox, and a column that a row lacks is an error. Tasks of lm-evaluation-harness in the plain
multiple_choice and generate_until form are read too (evaluate/lm_eval_task.py).
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import random
import re
import string
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import yaml
from jinja2 import StrictUndefined, TemplateError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import ConfigDict, TypeAdapter, ValidationError

from metier.artifacts.comparison import Role
from metier.evaluate.item import Answer, Item
from metier.evaluate.rows import Row, read_rows
from metier.evaluate.tasks import FOLDER, packaged

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What a task's YAML says (see the module). `instruction` stands before everything; `separator` between worked examples.

    stem: a template of the bare question, for prompts of another form; the column `question` unless given, or the prompt
    function: "module:name" or "file.py:name", called with each row; its dict takes the row's place, None leaves the row out
    stop, max_new_tokens, extract, compare: of free answers (see artifacts.Items)
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(coerce_numbers_to_str=True)  # `gold: 0` is an expression, too

    name: str
    dataset: str
    prompt: str
    config: str | None = None
    split: str | None = None
    shots_split: str | None = None
    options: str | None = None
    gold: str | None = None
    answer: str | None = None
    letters: bool = False
    stem: str = ""
    instruction: str = ""
    separator: str = "\n\n"
    delimiter: str = " "
    function: str | None = None
    stop: list[str] = field(default_factory=lambda: ["\n"])
    max_new_tokens: int = 0
    extract: str = ""
    compare: Answer = "words"
    shots: int = 0
    paper: str = ""

    def __post_init__(self) -> None:
        if (self.options is None) != (self.gold is None) or (self.options is None) == (self.answer is None):
            raise ValueError(f"task {self.name}: give `options` and `gold` for a choice, or `answer` for a free answer")
        if self.extract:
            try:
                re.compile(self.extract)
            except re.error as error:
                raise ValueError(f"task {self.name}: extract {self.extract!r} is no regular expression: {error}") from error


def read_task(name: str) -> Task:
    """A packaged task by its name, or one described by a YAML file; NAME=FILE takes the rows of another file.

    Raises ValueError for unknown names (with the nearest), for unknown, missing or mistyped keys and for templates that are none.
    """
    given, _, data = name.partition("=")
    path = Path(given).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        path = FOLDER / f"{given}.yaml"
    if not path.is_file():
        raise ValueError(f"there is no task {given!r}; known are {', '.join(packaged())}, or a .yaml file")
    return replace(task_of(path), dataset=data, config=None, split=None, shots_split=None) if data else task_of(path)


def task_of(path: Path) -> Task:
    """The task in a YAML file, metier's or lm-evaluation-harness'."""
    from metier.evaluate.lm_eval_task import TolerantLoader, converted

    try:
        # lm-evaluation-harness' tag `!function` is only understood so far that the converter can refuse it.
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=TolerantLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} describes no task: it holds no mapping")
    if "doc_to_text" in found or "output_type" in found:
        found = converted(found, str(path))
    known = {part.name for part in fields(Task)}
    unknown = sorted(found.keys() - known)
    if unknown:
        raise ValueError(f"{path}: unknown keys {', '.join(unknown)}; a task has {', '.join(sorted(known))}")
    missing = sorted({"dataset", "prompt"} - found.keys())
    if missing:
        raise ValueError(f"{path}: {' and '.join(missing)} missing")
    if "/" in str(found["dataset"]) or str(found["dataset"]).endswith((".jsonl", ".json", ".csv", ".tsv", ".parquet")):
        beside = path.parent / str(found["dataset"])
        found["dataset"] = str(beside) if beside.is_file() else found["dataset"]
    try:
        return TypeAdapter(Task).validate_python({"name": path.stem} | found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: {f'{where}: ' if where else ''}{first['msg']}") from error


@dataclass(frozen=True)
class Question:
    """A row in the task's terms.

    prompt: without worked examples; stem: the bare question; texts: of the options, gold: the index of the right one; lettered: whether
    `prompt` lists the options and asks for their letters; answer: the right one where there are no options
    """

    id: str
    prompt: str
    stem: str
    texts: list[str]
    gold: int
    lettered: bool
    answer: str

    @property
    def options(self) -> list[str]:
        """What is scored after the prompt."""
        return letters(len(self.texts)) if self.lettered else self.texts

    def worked(self, delimiter: str) -> str:
        return f"{self.prompt}{delimiter}{self.options[self.gold] if self.texts else self.answer}"


def letters(count: int) -> list[str]:
    return list(string.ascii_uppercase[:count])


def questions(task: Task, split: str | None) -> Iterator[Question]:
    """The questions of a split, in the order of the rows. Raises ValueError, with the row's number, for what a template can't make."""
    function = _function(task.function) if task.function else None
    for number, row in enumerate(read_rows(task.dataset, config=task.config, split=split)):
        shaped: Row | None = row if function is None else function(row)
        if shaped is None:
            continue
        try:
            yield _question(task, f"{task.name}-{row.get('id', number)}", shaped)
        except (ValueError, TypeError, TemplateError) as error:
            raise ValueError(f"task {task.name}, row {number} of {task.dataset}: {error}") from error


def items(task: Task, *, shots: int | None = None, limit: int | None = None, role: Role = "general", seed: int = 0) -> list[Item]:
    """The task's items, with `shots` worked examples before each question (the task's own number where None).

    Worked examples are drawn once, by `seed`, from `shots_split`, and are the same for all items, so that they are computed once; where the
    task has no such split they are drawn from its questions, which are then not asked. With `limit` the first so many are asked.
    """
    count = task.shots if shots is None else shots
    drawn: list[Question] = []
    asked = list(islice(questions(task, task.split), None if limit is None else limit + count))
    if count:
        pool = list(questions(task, task.shots_split)) if task.shots_split not in (None, task.split) else asked
        if len(pool) < count + (pool is asked):
            raise ValueError(f"task {task.name}: {count} worked examples and a question cannot be had from {len(pool)} rows")
        drawn = random.Random(seed).sample(pool, count)
    known = {question.id for question in drawn} if count and task.shots_split in (None, task.split) else set()
    before = task.instruction + "".join(f"{shot.worked(task.delimiter)}{task.separator}" for shot in drawn)
    chosen = [question for question in asked if question.id not in known][:limit]
    if not chosen:
        raise ValueError(f"task {task.name}: {task.dataset} (split {task.split}) holds no rows")
    return [_item(task, question, before, role) for question in chosen]


def _item(task: Task, question: Question, before: str, role: Role) -> Item:
    prompt = before + question.prompt + (task.delimiter if task.delimiter != " " else "")
    if question.texts:
        return Item(question.id, task.name, role, "choice", prompt, options=question.options, gold=question.gold)
    return Item(
        question.id, task.name, role, "generate", prompt, answer=question.answer,
        stop=task.stop, max_new_tokens=task.max_new_tokens, extract=task.extract, compare=task.compare,
    )  # fmt: skip


def _question(task: Task, name: str, row: Mapping[str, Any]) -> Question:
    if task.options is None:
        answer = _value(str(task.answer), row)
        answer = int(answer) if isinstance(answer, float) and answer.is_integer() else answer  # 3.0 of a table of numbers is "3"
        prompt = _filled(task.prompt, row).rstrip(" ")
        return Question(name, prompt, _stem(task, row, prompt), [], -1, False, str(answer).strip())
    found = _value(task.options, row)
    if (
        not isinstance(found, Sequence)
        or isinstance(found, str)
        or not all(isinstance(text, str | int | float) for text in found)
    ):
        raise ValueError(f"options {task.options!r} gives {str(found)[:80]!r}, which is no list of texts")
    texts = [str(text).strip() for text in found]
    gold = gold_index(texts, _value(str(task.gold), row))
    listed = "\n".join(f"{letter}. {text}" for letter, text in zip(letters(len(texts)), texts, strict=True))
    prompt = _filled(task.prompt, {**row, "listed": listed}).rstrip(" ")
    return Question(name, prompt, _stem(task, row, prompt), texts, gold, task.letters, "")


def _stem(task: Task, row: Mapping[str, Any], prompt: str) -> str:
    if task.stem:
        return _filled(task.stem, row).strip()
    return str(row["question"]).strip() if isinstance(row.get("question"), str) else prompt


def gold_index(options: Sequence[str], gold: Any) -> int:
    """The number of the right option, from its number from 0, its letter, or its text. Raises ValueError where it is none of these."""
    if isinstance(gold, int) and not isinstance(gold, bool) and 0 <= gold < len(options):
        return gold
    if isinstance(gold, str) and gold.strip() in options:
        return list(options).index(gold.strip())
    if isinstance(gold, str) and len(gold.strip()) == 1 and 0 <= ord(gold.strip().upper()) - ord("A") < len(options):
        return ord(gold.strip().upper()) - ord("A")
    if isinstance(gold, str) and gold.strip().isdecimal() and int(gold) < len(options):
        return int(gold)
    raise ValueError(f"the answer {gold!r} is none of the {len(options)} options, nor the number or letter of one")


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters |= {
        "search": lambda text, pattern: (re.search(pattern, str(text)) or [""])[-1],
        "replaced": lambda text, pattern, by: re.sub(pattern, by, str(text)),
    }
    return environment


def _filled(template: str, row: Mapping[str, Any]) -> str:
    return str(_compiled(template).render(row))


@cache
def _compiled(template: str) -> Any:
    return _environment().from_string(template)


@cache
def _expression(source: str) -> Any:
    return _environment().compile_expression(source, undefined_to_none=False)


def _value(expression: str, row: Mapping[str, Any]) -> Any:
    found = _expression(expression)(**row)
    if isinstance(found, StrictUndefined):
        raise UndefinedError(f"{expression!r} needs a column that the row lacks; it has {', '.join(row)}")
    return found


def _function(name: str) -> Callable[[Row], Row | None]:
    place, _, function = name.rpartition(":")
    if not place:
        raise ValueError(f"function {name!r} names no function: give module:name or file.py:name")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(f"metier_task_{Path(place).stem}", place)
        if spec is None or spec.loader is None or not Path(place).is_file():
            raise ValueError(f"function {name!r}: there is no file {place}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up there
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    found: Callable[[Row], Row | None] = getattr(module, function)
    return found
