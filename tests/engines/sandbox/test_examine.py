"""Verdicts come from the test's process alone: what passes, what fails and how, and what crosses between the two."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.engines.sandbox.examine import examine, exports_of
from metier.engines.sandbox.limits import Limits
from metier.engines.sandbox.plain import NotPlainError, decode, encode

CODE = '''
LIMIT = 3

class Odd(ValueError):
    """Too odd."""

class VeryOdd(Odd):
    pass

class Thing:
    pass

def add(a, b=1):
    if a > 100 and b > 2:
        raise VeryOdd("too big")
    return a + b

def push(items, item):
    items.append(item)

def thing():
    return Thing()

def _hidden():
    return 1
'''
TESTS = """
import unittest
import pytest
from solution import add
import solution

def test_adds():
    assert add(1, 2) == 3 and solution.add(1, b=5) == 6 and LIMIT == 3

def test_raises():
    with pytest.raises(Odd, match="big"):
        add(101, 3)

@pytest.mark.parametrize("a, b", [(1, 2), (2, 4)])
def test_cases(a, b):
    assert add(a, a) == b

def test_changes_its_argument():
    items = [1]
    push(items, 2)
    assert items == [1, 2]

def test_near():
    assert add(0.1, 0.2) == pytest.approx(0.3)
    assert add(1, 1) == 3, "wrong on purpose"

def test_object():
    thing()

class TestThem(unittest.TestCase):
    def test_one(self):
        self.assertEqual(add(2), 3)
    def test_two(self):
        self.assertEqual(add(2), 4)

class TestPlain:
    def test_it(self):
        assert add(3) == 4
"""


def run(code, tests="assert f(2) == 4", **settings):
    return examine(code, tests, exports={"f": "function"}, **settings)


def test_exports_are_what_a_module_offers():
    assert exports_of(CODE) == {
        "LIMIT": "value",
        "Odd": "ValueError",
        "VeryOdd": "Odd",
        "add": "function",
        "push": "function",
        "thing": "function",
    }


def test_each_test_has_its_outcome():
    found = examine(CODE, TESTS, exports=exports_of(CODE), trace=["add"])
    outcomes = {result.name: result.outcome for result in found.results}
    assert outcomes == {
        "test_adds": "ok",
        "test_raises": "ok",
        "test_cases[0]": "ok",
        "test_cases[1]": "ok",
        "test_changes_its_argument": "ok",
        "test_near": "assertion",
        "test_object": "exception",
        "TestThem.test_one": "ok",
        "TestThem.test_two": "assertion",
        "TestPlain.test_it": "ok",
    }
    assert found.outcome == "assertion" and "wrong on purpose" in found.message and "line 25" in found.message
    assert found.calls == {"LIMIT": 0, "add": 10, "push": 1, "thing": 1}
    assert found.coverage is not None and found.coverage.ran == found.coverage.lines == [14, 15, 16]
    assert (found.coverage.taken, found.coverage.ways) == (3, 4), "never a > 100 with b <= 2"


def test_only_some_tests_in_another_order():
    names = ["test_adds", "test_raises", "TestPlain.test_it"]
    orders = {
        tuple(result.name for result in examine(CODE, TESTS, exports=exports_of(CODE), only=names, seed=s).results)
        for s in range(4)
    }
    assert len(orders) > 1 and all(set(order) == set(names) for order in orders)


@pytest.mark.parametrize(
    ("code", "tests", "outcome"),
    [
        ("def f(x): return 2 * x", "assert f(2) == 4", "ok"),
        ("def f(x): return 3 * x", "assert f(2) == 4", "assertion"),
        ("def f(x): return x.y", "assert f(2) == 4", "exception"),
        ("def f(x) return x", "assert f(2) == 4", "syntax"),
        ("import nowhere\ndef f(x): return x", "assert f(2) == 4", "import"),
        ("def f(x): return x", "assert f(2) = 4", "syntax"),
        ("def f(x): return x", "import nowhere", "import"),
        ("def f(x): return x", "from solution import g", "import"),
        ("def f(x): return x", "", "ok"),
        ("def f(x): return x", "import pytest\ndef test(): pytest.skip('no')", "skipped"),
        ("def f(x): return (i for i in x)", "assert f([1]) is not None", "exception"),
    ],
)
def test_outcomes(code, tests, outcome):
    assert run(code, tests).outcome == outcome


def test_exceptions_cross_with_what_they_were_made_of():
    tests = "import pytest\nwith pytest.raises(LookupError) as caught:\n    f('k')\nassert caught.value.args == ('k',) and str(caught.value) == \"'k'\""
    assert run("def f(x): return {}[x]", tests).outcome == "ok"
    own = "class Own(KeyError):\n    pass\ndef f(x): raise Own(x, object())"
    assert run(own, "import pytest\nwith pytest.raises(KeyError, match='object object'):\n    f(1)").outcome == "ok"


def test_coverage_by_hand():
    code = "def f(x):\n    total = 0\n    for i in range(x):\n        if i % 2:\n            total += i\n    return total\n"
    once = run(code, "assert f(1) == 0", trace=["f"]).coverage
    assert (once.lines, once.ran, once.taken, once.ways) == ([2, 3, 4, 5, 6], [2, 3, 4, 6], 3, 4)
    never = run(code, "assert True", trace=["f"]).coverage
    assert (never.ran, never.taken, never.ways) == ([], 0, 4)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.integers() | st.text() | st.tuples(st.booleans()), inner)
        | st.frozensets(st.integers() | st.text())
        | st.sets(st.integers())
    ),
    max_leaves=8,
)


def described(value):
    """As repr, which tells types and nan apart, with sets in order."""
    if isinstance(value, dict):
        return [(described(key), described(item)) for key, item in value.items()]
    inside = sorted(map(repr, value)) if isinstance(value, set | frozenset) else value
    return type(value).__name__, [described(item) for item in value] if isinstance(value, list | tuple) else repr(inside)


@given(plain)
def test_plain_data_crosses_as_it_is(value):
    assert described(decode(encode(value))) == described(value)


def test_large_numbers_cross():
    for value in (10**6000, -(10**6000), 2**63, -(2**63), 2**63 - 1):
        assert decode(encode(value)) == value
    assert run("def f(x): return 10**6000", "assert f(1) == 10**6000").outcome == "ok"


def test_a_function_may_have_the_modules_name():
    code, tests = "def solution(x): return x", "import sys\nassert solution(3) == 3 == sys.modules['solution'].solution(3)"
    assert examine(code, tests, exports=exports_of(code)).outcome == "ok"


def test_a_module_may_hold_what_cannot_cross():
    code = "import re\nPATTERN = re.compile('a')\nf = lambda x: bool(PATTERN.match(x))\n"
    assert exports_of(code) == {"PATTERN": "value", "f": "function"}
    assert examine(code, "assert f('ab')", exports=exports_of(code)).outcome == "ok"
    assert "PATTERN" in examine(code, "PATTERN", exports=exports_of(code)).message


def test_what_is_not_plain_data_does_not_cross():
    from collections import Counter

    assert decode(encode(Counter("aab"))) == {"a": 2, "b": 1} and math.isnan(decode(encode(float("nan"))))
    with pytest.raises(NotPlainError, match="object cannot cross"):
        encode([object()])
    for broken in [{"tuple": 3}, {"eval": []}, {"dict": [1]}, {}, {"set": [[1]]}]:
        with pytest.raises(ValueError, match="no plain data"):
            decode(broken)


def test_limits_that_nothing_could_live_with_are_refused():
    for wrong in [
        {"wall_seconds": 0},
        {"cpu_seconds": 0},
        {"memory_bytes": 1 << 20},
        {"open_files": 3},
        {"file_bytes": -1},
        {"output_bytes": -1},
    ]:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Limits(**wrong)
