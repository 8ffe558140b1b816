"""What running says of a model's tests and of its repairs. Everything runs confined: see engines/sandbox/examine.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from metier.engines.sandbox.examine import Coverage, Examination, examine
from metier.engines.sandbox.limits import Limits
from metier.engines.sandbox.mutants import Mutant
from metier.engines.sandbox.tests_run import WHOLE_FILE
from metier.evaluate.software_testing.problem import Problem, python_in, shadows

REPEATS = 3
TRACED = 10  # times the limits of a run that measures coverage


@dataclass(frozen=True)
class TestsRecord:
    """What a file of tests is worth.

    outcome: ok; or what keeps it from counting: an outcome of the sandbox (the file cannot be loaded, no test passes), shadowed (it defines the
        function it tests), vacuous (it never calls it), flaky (runs differ). Then nothing is killed and nothing covered.
    loads: whether the file could be loaded. passed, total: tests that pass on the right code, and all of its tests
    coverage: of the function, over the passing tests; None where they do not count, or took too long once traced
    killed: numbers of the mutants that a passing test fails on
    """

    outcome: str
    message: str = ""
    loads: bool = False
    passed: int = 0
    total: int = 0
    coverage: Coverage | None = None
    killed: tuple[int, ...] = ()
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class RepairRecord:
    """outcome: ok when the hidden tests pass too, else the first failure. plausible: the visible tests pass. correct: all do."""

    outcome: str
    message: str = ""
    plausible: bool = False
    correct: bool = False
    visible_share: float = 0.0
    cpu_seconds: float = 0.0


def judge_tests(problem: Problem, completion: str, mutants: Sequence[Mutant], limits: Limits | None = None) -> TestsRecord:
    """Runs a model's tests on the right code, three times in other orders, and on each mutant.

    Two of the three runs come after the mutants, so that a test whose answer depends on when it is asked shows itself.
    """
    limits = limits if limits is not None else Limits()
    text = python_in(completion)
    if text is None:
        return TestsRecord("syntax", "no Python in what was written")
    if shadows(text, problem.focal):
        return TestsRecord("shadowed", f"it defines {problem.focal} itself")
    first = examine(problem.code, text, exports=problem.exports, limits=limits)
    record = TestsRecord(
        first.outcome, first.message, _loads(first), len(first.passed), len(first.results), cpu_seconds=first.cpu_seconds
    )
    if not first.passed:
        return record
    if not first.calls.get(problem.focal):
        return replace(record, outcome="vacuous", message=f"it never calls {problem.focal}", passed=0, total=0)
    kept: dict[str, Any] = {"exports": problem.exports, "only": first.passed}
    on_mutants = [examine(mutant.code, text, **kept, limits=limits) for mutant in mutants]
    again = [examine(problem.code, text, **kept, limits=limits, seed=seed) for seed in range(1, REPEATS)]
    traced = examine(problem.code, text, **kept, limits=_slow(limits), trace=[problem.focal])
    record = replace(record, cpu_seconds=sum(run.cpu_seconds for run in (first, *on_mutants, *again, traced)))
    unsteady = next((run for run in again if set(run.passed) != set(first.passed)), None)
    if unsteady is not None:
        return replace(record, outcome="flaky", message=unsteady.message)
    killed = tuple(number for number, run in enumerate(on_mutants) if run.outcome != "ok")
    return replace(record, outcome="ok", coverage=traced.coverage, killed=killed)


def _loads(run: Examination) -> bool:
    return any(result.name != WHOLE_FILE or result.outcome not in ("syntax", "import") for result in run.results)


def _slow(limits: Limits) -> Limits:
    return replace(limits, wall_seconds=min(3600, TRACED * limits.wall_seconds), cpu_seconds=TRACED * limits.cpu_seconds)


def killable(problem: Problem, mutants: Sequence[Mutant], limits: Limits | None = None) -> list[Mutant]:
    """The mutants that the problem's own tests notice; the others may be equivalent to the right code, and count for nobody."""
    return [
        mutant
        for mutant in mutants
        if examine(mutant.code, problem.tests, exports=problem.exports, limits=limits).outcome not in ("ok", "skipped")
    ]


def judge_repair(
    problem: Problem,
    buggy: str,
    completion: str,
    *,
    visible: Sequence[str],
    hidden: Sequence[str],
    limits: Limits | None = None,
) -> RepairRecord:
    """Puts what a model wrote after the buggy module, so that its functions replace those of the same names, and runs the problem's tests.

    visible, hidden: names of tests; the model may have seen the former.
    """
    patch = python_in(completion, defines=[problem.focal])
    if patch is None:
        return RepairRecord("syntax", f"no Python that defines {problem.focal}")
    patched = f"{buggy}\n\n{patch}"
    seen = examine(patched, problem.tests, exports=problem.exports, limits=limits, only=visible)
    share = len(set(seen.passed) & set(visible)) / len(visible) if visible else 1.0
    if share < 1:
        return RepairRecord(seen.outcome, seen.message, visible_share=share, cpu_seconds=seen.cpu_seconds)
    rest = examine(patched, problem.tests, exports=problem.exports, limits=limits, only=hidden)
    correct = set(hidden) <= set(rest.passed)
    spent = seen.cpu_seconds + rest.cpu_seconds
    return RepairRecord(rest.outcome, rest.message, plausible=True, correct=correct, visible_share=1.0, cpu_seconds=spent)


def repair_reward(
    prompts: Sequence[object],
    completions: Sequence[str],
    *,
    problem: Sequence[Problem],
    buggy: Sequence[str],
    visible: Sequence[Sequence[str]],
    hidden: Sequence[Sequence[str]],
    shaping: float = 0.0,
    limits: Limits | None = None,
    **columns: object,
) -> list[float]:
    """1.0 for each repair that passes hidden tests too, else at most `shaping`, in TRL's form of a reward: one value a completion.

    Settings:
        shaping: what passing all visible tests alone is worth, in proportion for some of them; below 1, so that it never beats a right repair
        limits: of the processes that run it
    """
    if not 0 <= shaping < 1:
        raise ValueError(f"shaping={shaping} could beat a right repair: give 0 or more and less than 1")
    rewards = []
    for completion, one, bug, seen, unseen in zip(completions, problem, buggy, visible, hidden, strict=True):
        record = judge_repair(one, bug, completion, visible=seen, hidden=unseen, limits=limits)
        rewards.append(1.0 if record.correct else shaping * record.visible_share)
    return rewards
