"""Model-written tests and repairs are worth what running them shows; numbers by hand."""

import itertools
import json

import pytest

from metier.artifacts import Table
from metier.engines.sandbox import landlock
from metier.engines.sandbox.limits import Limits
from metier.engines.sandbox.mutants import mutants
from metier.evaluate.software_testing import software_testing
from metier.evaluate.software_testing.judge import judge_repair, judge_tests, killable, repair_reward
from metier.evaluate.software_testing.passes import pass_at_k
from metier.evaluate.software_testing.problem import Problem, one_by_one, python_in, shadows
from metier.models.language_model import Completion

runs = pytest.mark.skipif(landlock.version() == 0, reason="this kernel has no Landlock, so the sandbox refuses to run anything")

CODE = "def clip(x, low, high):\n    if x < low:\n        return low\n    if x > high:\n        return high\n    return x\n"
TESTS = "assert clip(5, 0, 9) == 5\nassert clip(-5, 0, 9) == 0\nassert clip(99, 0, 9) == 9\nassert clip(3, 3, 3) == 3"
ROW = {
    "id": "clip",
    "code": CODE,
    "focal": "clip",
    "spec": "Clips.",
    "tests": TESTS,
    "buggy_code": CODE.replace("return high", "return low"),
}
GOOD = f"Here you are:\n```python\nfrom solution import clip\n\ndef test_it():\n    {TESTS.splitlines()[0]}\n    {TESTS.splitlines()[1]}\n\ndef test_high():\n    {TESTS.splitlines()[2]}\n```\nDone."
WEAK = "```python\ndef test_it():\n    assert clip(5, 0, 9) is not None\n```"
LIMITS = Limits(wall_seconds=5)


class Scripted:
    """A model whose n-th seed answers the n-th text to every prompt; it keeps what it was asked."""

    name = "scripted"

    def __init__(self, *texts):
        self.texts, self.prompts = texts, []

    def generate(self, prompts, *, max_new_tokens=256, temperature=0.0, top_p=1.0, stop=(), seed=0):
        self.prompts.append(prompts)
        return [Completion(self.texts[seed]) for _ in prompts]


@pytest.fixture(scope="module")
def problem():
    return Problem("clip", CODE, "clip", tests=TESTS)


@pytest.fixture(scope="module")
def bugs(problem):
    return killable(problem, mutants(CODE, "clip"), LIMITS)


def test_pass_at_k_is_the_mean_over_all_draws():
    for n in range(1, 9):
        for c in range(n + 1):
            right = [place < c for place in range(n)]
            for k in range(1, n + 1):
                draws = [any(draw) for draw in itertools.combinations(right, k)]
                assert pass_at_k(n, c, k) == pytest.approx(sum(draws) / len(draws), abs=1e-12)
    for wrong in [(3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4)]:
        with pytest.raises(ValueError, match="cannot be"):
            pass_at_k(*wrong)


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("x = 1", "x = 1\n"),
        ("Sure!\n```python\nx = 1\n```\nand\n```\ny = 1\nz = 2\n```", "y = 1\nz = 2\n"),
        ("```python\ndef f():\n    return 1\n\ndef g(:", "def f():\n    return 1\n\n"),
        ("Some prose first.\ndef f():\n    return 1\nSome prose after.", "def f():\n    return 1\n"),
        ("It's impossible, I'm afraid.", None),
        ("", None),
        ("# only a comment", None),
        ("(" * 50_000, None),
        ("x = '\0'", None),
    ],
)
def test_python_is_found_in_what_a_model_writes(written, code):
    assert python_in(written) == code


def test_the_function_asked_for_is_preferred_to_longer_code():
    written = "```\ndef f():\n    return 1\n```\n```\ndef g():\n    x = 100\n    return x\n```"
    assert python_in(written, defines=["f"]) == "def f():\n    return 1\n"
    assert python_in(written, defines=["h"]) is None


def test_shadowing_is_seen():
    assert shadows("def f(): pass", "f") and shadows("f = lambda: 1", "f") and shadows("from mine import g as f", "f")
    assert not shadows("from solution import f\nassert f() == 1", "f")


def test_asserts_become_tests_of_their_own():
    assert one_by_one("import math\nassert f(1) == 1\nassert f(2) == 2") == (
        "import math\ndef test_0():\n    assert f(1) == 1\n\ndef test_1():\n    assert f(2) == 2\n"
    )
    assert one_by_one("def test_a(): pass\nassert 1") == "def test_a(): pass\nassert 1"


def test_what_is_no_problem_is_refused():
    with pytest.raises(ValueError, match="defines no function 'f'"):
        Problem("x", "def g(): pass", "f")
    with pytest.raises(ValueError, match="must be a function at the top level"):
        Problem("x", "class A:\n    def f(self): pass", "A.f")


@runs
def test_strong_tests_kill_what_weak_ones_leave(problem, bugs):
    strong, weak = judge_tests(problem, GOOD, bugs, LIMITS), judge_tests(problem, WEAK, bugs, LIMITS)
    assert (strong.outcome, strong.passed, strong.total, strong.loads) == ("ok", 2, 2, True)
    assert strong.killed == tuple(range(len(bugs)))
    assert strong.coverage.ran == strong.coverage.lines == [2, 3, 4, 5, 6] and (strong.coverage.taken, strong.coverage.ways) == (
        4,
        4,
    )
    assert weak.outcome == "ok" and weak.coverage.ran == [2, 4, 6] and weak.coverage.taken == 2
    changes = [bugs[number].change for number in weak.killed]
    assert changes == ["return x -> return None"], "of the values it looks only whether there is one"


@runs
def test_equivalent_mutants_count_for_nobody(problem, bugs):
    every = mutants(CODE, "clip")
    assert {bug.change for bug in every} - {bug.change for bug in bugs} == {"x < low -> x <= low", "x > high -> x >= high"}


@runs
@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("I cannot.", "syntax"),
        ("def clip(x, low, high): return 5\ndef test_it():\n    assert clip(5, 0, 9) == 5", "shadowed"),
        ("def test_it():\n    assert 1 == 1", "vacuous"),
        ("def test_it():\n    assert clip(5, 0, 9) == 6", "assertion"),
        ("from mine import clip as cut\ndef test_it():\n    assert cut(5, 0, 9) == 5", "import"),
        ("import os\ndef test_it():\n    clip(5, 0, 9)\n    os._exit(0)", "killed"),
        ("def test_it():\n    clip(5, 0, 9)\n    assert hash('a') % 8 == HASH", "flaky"),
    ],
)
def test_tests_that_count_as_nothing(problem, bugs, text, outcome):
    text = text.replace("HASH", str(_hash_in_child()))
    record = judge_tests(problem, text, bugs[:1], LIMITS)
    assert record.outcome == outcome and record.killed == () and record.coverage is None


def _hash_in_child():
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", "print(hash('a') % 8)"], env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True
    )
    return done.stdout.strip()


@runs
@pytest.mark.parametrize(
    ("patch", "plausible", "correct", "outcome"),
    [
        (CODE, True, True, "ok"),
        (f"```python\n{CODE}```", True, True, "ok"),
        ("def clip(x, low, high):\n    return 9 if x == 99 else max(low, x)", True, False, "assertion"),
        ("def clip(x, low, high):\n    return x", False, False, "assertion"),
        ("import os\ndef clip(x, low, high):\n    os._exit(0)", False, False, "killed"),
        ("def cut(x): return x", False, False, "syntax"),
    ],
)
def test_repairs(patch, plausible, correct, outcome):
    problem = Problem("clip", CODE, "clip", tests=f"{TESTS}\nassert clip(7, 0, 5) == 5")
    found = judge_repair(
        problem, ROW["buggy_code"], patch, visible=["test_0", "test_1", "test_2"], hidden=["test_3", "test_4"], limits=LIMITS
    )
    assert (found.plausible, found.correct, found.outcome) == (plausible, correct, outcome)


@runs
def test_a_reward_for_shape_never_beats_a_right_repair(problem):
    columns = {
        "problem": [problem] * 3,
        "buggy": [ROW["buggy_code"]] * 3,
        "visible": [["test_0", "test_2"]] * 3,
        "hidden": [["test_1"]] * 3,
    }
    patches = [CODE, "def clip(x, low, high):\n    return min(x, high)", "def clip(x, low, high):\n    return x"]
    assert repair_reward([""] * 3, patches, **columns, limits=LIMITS) == [1.0, 0.0, 0.0]
    assert repair_reward([""] * 3, patches, **columns, limits=LIMITS, shaping=0.5) == [1.0, 0.5, 0.25]
    with pytest.raises(ValueError, match="shaping=1"):
        repair_reward([], [], problem=[], buggy=[], visible=[], hidden=[], shaping=1)


@runs
def test_unit_tests_of_a_model(bugs):
    broken = {**ROW, "id": "broken", "code": CODE.replace("<", ">")}
    model = Scripted(GOOD, WEAK, "I cannot.")
    scores = software_testing(
        Table.from_rows([ROW, broken]), model, allow_execution=True, samples=3, k=(1, 3), num_mutants=99, max_new_tokens=9
    )
    values = {row["metric"]: row["numerator"] / row["denominator"] for row in scores.rows()}
    assert values == pytest.approx(
        {
            "loads": 2 / 3,
            "tests pass": 1.0,
            "line coverage": (1 + 3 / 5) / 3,
            "branch coverage": (1 + 2 / 4) / 3,
            "mutation score": (len(bugs) + 1) / (3 * len(bugs)),
            "real@1": 2 / 3,
            "real@3": 1.0,
        }
    )
    assert {row["item"].partition("/")[0] for row in scores.rows()} == {"clip"}, "the broken one is left out"
    details = json.loads(next(row["details"] for row in scores.rows() if row["metric"] == "loads"))
    assert [detail["outcome"] for detail in details] == ["ok", "ok", "syntax"] and details[2]["completion"] == "I cannot."
    assert "Clips." in model.prompts[0][0][0]["content"] and "from solution import clip" in model.prompts[0][0][0]["content"]


@runs
def test_repairs_of_a_model():
    row = {**ROW, "buggy_code": CODE.replace("return x\n", "return 1\n")}
    cheat = "def clip(x, low, high):\n    return {5: 5, 3: 3, -5: 0, 99: 9}.get(x, 0) if VISIBLE else 0"
    model = Scripted(CODE, cheat.replace("VISIBLE", "x in (5, 3, 99, -5)"), "no idea")
    scores = software_testing(Table.from_rows([row]), model, ability="repair", allow_execution=True, samples=3, k=(1, 2))
    values = {row["metric"]: (row["numerator"], row["denominator"]) for row in scores.rows()}
    assert values["pass@1"] == pytest.approx((2 / 3, 1.0)) and values["pass@2"] == (1.0, 1.0)
    assert values["plausible@1"] == values["pass@1"] and values["overfit"] == (0.0, 2.0)
    asked = model.prompts[0][0][0]["content"]
    assert "return 1" in asked and asked.count("assert clip") == 3, "two visible tests, and the line that failed"


@runs
def test_a_mutant_is_repaired_where_no_bug_is_given():
    row = {name: value for name, value in ROW.items() if name != "buggy_code"}
    model = Scripted(CODE)
    scores = software_testing(Table.from_rows([row]), model, ability="repair", allow_execution=True, samples=1, k=(1,), seed=0)
    assert {row["metric"]: row["numerator"] for row in scores.rows()}["pass@1"] == 1.0
    assert CODE not in model.prompts[0][0][0]["content"]


def test_settings_are_checked_before_anything_is_asked():
    table, model = Table.from_rows([ROW]), Scripted()
    with pytest.raises(ValueError, match="allow_execution is false"):
        software_testing(table, model)
    for settings, said in [
        ({"samples": 4}, "samples=4"),
        ({"k": ()}, r"k=\(\)"),
        ({"num_mutants": 0}, "num_mutants=0"),
        ({"timeout_seconds": 0}, "wall_seconds=0"),
        ({"memory_mb": 1}, "memory_bytes=1048576"),
    ]:
        with pytest.raises(ValueError, match=said):
            software_testing(table, model, allow_execution=True, **settings)
    assert model.prompts == []


@runs
def test_no_usable_task_is_an_error():
    with pytest.raises(ValueError, match="none of 1 tasks"):
        software_testing(
            Table.from_rows([{**ROW, "tests": "assert clip(1, 0, 9) == 2"}]), Scripted(), allow_execution=True, samples=1, k=(1,)
        )
