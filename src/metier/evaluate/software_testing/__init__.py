"""Can the model write tests that find bugs, and repairs that hold? Judged by running them, in a box."""

from __future__ import annotations

import ast
import json
import logging
import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

from metier.artifacts import Scores, Table
from metier.engines.sandbox.examine import examine
from metier.engines.sandbox.limits import MEBIBYTE, Limits
from metier.engines.sandbox.mutants import Mutant, mutants
from metier.evaluate.software_testing.judge import RepairRecord, TestsRecord, judge_repair, judge_tests, killable
from metier.evaluate.software_testing.passes import pass_at_k
from metier.evaluate.software_testing.problem import Problem
from metier.method import method
from metier.models.language_model import LanguageModel, Message
from metier.progress import track

logger = logging.getLogger(__name__)

Row = dict[str, Any]
Given = TypeVar("Given")
Made = TypeVar("Made")
Judged = TypeVar("Judged", TestsRecord, RepairRecord)
Numbers = dict[str, tuple[float, float]]  # metric -> numerator and denominator
ROLE = "acquired"

WRITE_TESTS = (
    "Write tests for the function {focal} of the module solution, in the style of pytest: functions whose names begin with test_, each with asserts. "
    "Begin with `from solution import {focal}`. Answer with one block of Python.\n\n{spec}```python\n{code}\n```"
)
REPAIR = (
    "The function {focal} has a bug. Write the whole function again without it. Answer with one block of Python.\n\n{spec}```python\n{code}\n```\n\n"
    "These tests show the bug:\n\n```python\n{tests}\n```\n\n{failure}"
)


@dataclass(frozen=True)
class Task:
    """A problem with the bugs to find in it, or with the one to repair and the tests the model sees of it."""

    problem: Problem
    bugs: list[Mutant]
    visible: list[str]
    hidden: list[str]
    failure: str = ""


Pair = tuple[Task, str]  # what was asked, and one answer


@method(
    paper="Software Testing with Large Language Model: Survey, Landscape, and Vision, arXiv 2307.07221; pass@k of arXiv 2107.03374, section 2.1",
    claim="tells tests that find bugs from tests that only run, and repairs that hold from repairs that fit the tests shown",
)
def software_testing(
    tasks: Table,
    model: LanguageModel,
    *,
    ability: Literal["unit tests", "repair"] = "unit tests",
    allow_execution: bool = False,
    samples: int = 10,
    k: tuple[int, ...] = (1, 5, 10),
    temperature: float = 0.8,
    max_new_tokens: int = 512,
    num_mutants: int = 30,
    timeout_seconds: float = 5.0,
    memory_mb: int = 512,
    seed: int = 0,
) -> Scores:
    """One row a problem and metric, each a share between 0 and 1; `details` holds what was written and what became of it, as JSON.

    tasks: rows of id, code (a module that is right), focal (one of its functions), tests (a file of tests, or asserts), and where there is one spec (what the
    function does, in words) and buggy_code (for repair). Code that fails its own tests is left out, with a warning that says why.

    Unit tests: loads (share of the files written that can be loaded), tests pass (on the right code, of all tests written), line coverage, branch coverage
    (conditional jumps, each both ways), mutation score (killed, of the mutants that the problem's own tests kill: the others may be equivalent) and real@k: k
    files hold one that kills a mutant. Files that define the function themselves, never call it, or pass now and fail then count as nothing.
    Repair of `buggy_code`, or of a mutant: plausible@k (visible tests pass), pass@k (hidden ones too), overfit (plausible and not correct, of the
    plausible). Half of a problem's tests, drawn by the seed, are visible.

    The survey has no algorithm: this is the evaluation its taxonomy calls for. All runs are confined (engines/sandbox): no network, no files but those of
    an own folder, no processes, limits on time, memory and disk; RuntimeError on a machine that cannot promise that. What cannot be run: code that needs other
    packages than Python's own, and functions of anything but plain data.
    Settings:
        ability: unit tests or repair
        allow_execution: must be true: code that a model wrote will run on this machine
        samples: answers a problem, n of pass@k
        k: sizes of the sets of answers in real@k, plausible@k and pass@k, none above `samples`; the custom of the field
        temperature: of the answers; 0.2 is customary for k of 1 alone
        max_new_tokens: length of an answer
        num_mutants: bugs tried on each problem's tests; for repair, bugs tried until its own tests notice one
        timeout_seconds: wall clock of one run; its processor time too, in whole seconds
        memory_mb: address space of one process in MiB, 64 or more
    """
    _check(allow_execution, samples, k, num_mutants)
    limits = Limits(timeout_seconds, max(1, round(timeout_seconds)), memory_mb * MEBIBYTE)
    rows = list(tasks.rows())
    make = _to_test if ability == "unit tests" else _to_repair
    made = _at_once(lambda row: make(row, num_mutants, limits, seed), rows, "preparing")
    ready = [task for task in made if task is not None]
    if not ready:
        raise ValueError(f"none of {len(rows)} tasks can be used: the log says why of each")
    prompts = [_prompt(task, ability) for task in ready]
    asked = [
        model.generate(prompts, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed + number)
        for number in range(samples)
    ]
    pairs = [(task, answers[place].text) for place, task in enumerate(ready) for answers in asked]
    if ability == "unit tests":
        return _scored(pairs, samples, k, model.name, lambda pair: _judge_tests(*pair, limits), _of_tests)
    return _scored(pairs, samples, k, model.name, lambda pair: _judge_repair(*pair, limits), _of_repairs)


def _scored(
    pairs: Sequence[Pair],
    samples: int,
    k: Sequence[int],
    model: str,
    judge: Callable[[Pair], Judged],
    summary: Callable[[Task, Sequence[Judged], Sequence[int]], Numbers],
) -> Scores:
    """Judges all answers, those of a task side by side, and sums up each task's."""
    records = _at_once(judge, pairs, "running")
    rows: list[Row] = []
    for start in range(0, len(pairs), samples):
        task, part = pairs[start][0], records[start : start + samples]
        texts = [text for _, text in pairs[start : start + samples]]
        details = [{"completion": text, **asdict(record)} for text, record in zip(texts, part, strict=True)]
        rows += _rows(task.problem.id, model, summary(task, part, k), json.dumps(details))
    return Scores.from_rows(rows)


def _check(allow_execution: bool, samples: int, k: Sequence[int], num_mutants: int) -> None:
    if not allow_execution:
        raise ValueError(
            "allow_execution is false, and this method runs code that a model wrote: set it to true to let it, in a sandbox"
        )
    if not k or not all(1 <= size <= samples for size in k):
        raise ValueError(f"k={tuple(k)} with samples={samples}: give sizes between 1 and samples")
    if num_mutants < 1:
        raise ValueError(f"num_mutants={num_mutants} seeds no bug: give 1 or more")


def _at_once(work: Callable[[Given], Made], items: Sequence[Given], what: str) -> list[Made]:
    """Threads, one a processor: they only wait for confined processes."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(track(pool.map(work, items), what, total=len(items), unit="task"))


def _problem(row: Row, limits: Limits) -> Problem | None:
    """None, with a warning, for a row that is no problem: code or tests that cannot be read, or code that fails its tests."""
    try:
        problem = Problem(str(row["id"]), row["code"], row["focal"], row.get("spec") or "", row["tests"])
    except (SyntaxError, ValueError) as error:
        logger.warning("task %r is left out: %s", row["id"], error)
        return None
    found = examine(problem.code, problem.tests, exports=problem.exports, limits=limits)
    if found.outcome != "ok":
        logger.warning("task %r is left out: its code fails its own tests (%s): %s", row["id"], found.outcome, found.message)
        return None
    return problem


def _to_test(row: Row, num_mutants: int, limits: Limits, seed: int) -> Task | None:
    problem = _problem(row, limits)
    if problem is None:
        return None
    bugs = killable(problem, mutants(problem.code, problem.focal, count=num_mutants, seed=seed), limits)
    if not bugs:
        logger.warning("task %r is left out: its own tests notice none of its mutants", problem.id)
        return None
    return Task(problem, bugs, [], [])


def _to_repair(row: Row, num_mutants: int, limits: Limits, seed: int) -> Task | None:
    problem = _problem(row, limits)
    if problem is None:
        return None
    names = examine(problem.code, problem.tests, exports=problem.exports, limits=limits).passed
    random.Random(f"{seed} {problem.id}").shuffle(names)
    visible, hidden = names[: len(names) // 2], names[len(names) // 2 :]
    if not visible:
        logger.warning("task %r is left out: one test cannot be both seen and held back; give two or more", problem.id)
        return None
    bugs = [Mutant(row["buggy_code"], "given", 0)] if row.get("buggy_code") else mutants(problem.code, problem.focal)
    random.Random(f"{seed} {problem.id}").shuffle(bugs)
    for bug in bugs[:num_mutants]:
        found = examine(bug.code, problem.tests, exports=problem.exports, limits=limits, only=visible)
        if found.outcome != "ok":
            return Task(problem, [bug], visible, hidden, found.message)
    logger.warning("task %r is left out: the visible tests notice none of its bugs", problem.id)
    return None


def _prompt(task: Task, ability: str) -> list[Message]:
    problem = task.problem
    spec = f"{problem.spec}\n\n" if problem.spec else ""
    if ability == "unit tests":
        words = WRITE_TESTS.format(focal=problem.focal, spec=spec, code=problem.code.strip())
    else:
        tests = _only(problem.tests, task.visible)
        words = REPAIR.format(focal=problem.focal, spec=spec, code=task.bugs[0].code.strip(), tests=tests, failure=task.failure)
    return [{"role": "user", "content": words.strip()}]


def _only(tests: str, names: Sequence[str]) -> str:
    """The named test functions of a file, and all in it that is no test."""
    tree = ast.parse(tests)
    wanted = {name.partition("[")[0].partition(".")[0] for name in names}
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.lower().startswith("test")) or node.name in wanted
    ]
    return ast.unparse(tree)


def _judge_tests(task: Task, text: str, limits: Limits) -> TestsRecord:
    return judge_tests(task.problem, text, task.bugs, limits)


def _judge_repair(task: Task, text: str, limits: Limits) -> RepairRecord:
    return judge_repair(task.problem, task.bugs[0].code, text, visible=task.visible, hidden=task.hidden, limits=limits)


def _of_tests(task: Task, records: Sequence[TestsRecord], k: Sequence[int]) -> Numbers:
    """Coverage is of the function's lines and ways, none for files that do not count."""
    covered = [record.coverage for record in records if record.coverage is not None]
    n, finders = len(records), sum(bool(record.killed) for record in records)
    shares = {
        "loads": (sum(record.loads for record in records), n),
        "tests pass": (sum(record.passed for record in records), sum(record.total for record in records)),
        "line coverage": (sum(len(one.ran) / max(1, len(one.lines)) for one in covered), n),
        "branch coverage": (sum(one.taken / one.ways if one.ways else 1.0 for one in covered), n),
        "mutation score": (sum(len(record.killed) for record in records), n * len(task.bugs)),
    }
    return {**shares, **{f"real@{size}": (pass_at_k(n, finders, size), 1.0) for size in k}}


def _of_repairs(task: Task, records: Sequence[RepairRecord], k: Sequence[int]) -> Numbers:
    n, plausible, correct = len(records), sum(record.plausible for record in records), sum(record.correct for record in records)
    return {
        **{f"plausible@{size}": (pass_at_k(n, plausible, size), 1.0) for size in k},
        **{f"pass@{size}": (pass_at_k(n, correct, size), 1.0) for size in k},
        "overfit": (plausible - correct, plausible),
    }


def _rows(problem: str, model: str, numbers: Numbers, details: str) -> list[Row]:
    """A metric is a task of its own, so that each has its value and interval; a share of nothing (denominator 0) stays visible and counts nowhere."""
    return [
        {
            "item": f"{problem}/{metric}",
            "task": metric,
            "role": ROLE,
            "kind": "execution",
            "model": model,
            "metric": metric,
            "numerator": float(numerator),
            "denominator": float(denominator),
            "details": details if place == 0 else None,
        }
        for place, (metric, (numerator, denominator)) in enumerate(numbers.items())
    ]
