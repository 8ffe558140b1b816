"""Mutants: by hand for a small function, and what holds for all."""

import ast

import pytest

from metier.engines.sandbox.mutants import mutants

CODE = '''
def other(x):
    return x + 1

def f(xs, k=2):
    """Doc 1."""
    total = 0
    for i in range(len(xs)):
        if xs[i] > k and xs[:i]:
            total += xs[i] * 2
        if not xs:
            raise ValueError("no")
    return total

class C:
    def m(self, a):
        return a == 1
'''


def test_every_kind_of_change():
    assert [(mutant.line, mutant.change) for mutant in mutants(CODE, "f")] == [
        (7, "0 -> 1"),
        (8, "range(len(xs)) -> range(len(xs) + 1)"),
        (9, "if xs[i] > k and xs[:i]: -> if not (xs[i] > k and xs[:i]):"),
        (9, "xs[i] > k and xs[:i] -> xs[i] > k or xs[:i]"),
        (9, "xs[i] > k -> xs[i] >= k"),
        (9, ":i -> :i + 1"),
        (10, "total += xs[i] * 2 -> total -= xs[i] * 2"),
        (10, "total += xs[i] * 2 -> pass"),
        (10, "xs[i] * 2 -> xs[i] + 2"),
        (10, "2 -> 3"),
        (11, "if not xs: -> if not not xs:"),
        (12, "raise ValueError('no') -> pass"),
        (12, "'no' -> ''"),
        (13, "return total -> return None"),
    ]


def test_each_compiles_differs_and_leaves_the_rest_alone():
    found = mutants(CODE, "f")
    rest = {ast.unparse(node) for node in ast.parse(CODE).body if getattr(node, "name", "") != "f"}
    assert len({mutant.code for mutant in found}) == len(found)
    for mutant in found:
        compile(mutant.code, "mutant", "exec")
        assert rest <= {ast.unparse(node) for node in ast.parse(mutant.code).body}
        assert '"""Doc 1."""' in mutant.code


def test_the_same_ones_for_the_same_seed_in_order_of_the_text():
    every = mutants(CODE, "f")
    some = mutants(CODE, "f", count=5, seed=1)
    assert some == mutants(CODE, "f", count=5, seed=1) != mutants(CODE, "f", count=5, seed=2)
    assert [every.index(mutant) for mutant in some] == sorted(every.index(mutant) for mutant in some)
    assert mutants(CODE, "f", count=0) == [] and mutants(CODE, "f", count=99) == every


def test_changes_that_compile_to_the_same_are_no_mutants():
    assert mutants("def f():\n    return None\n", "f") == []
    found = mutants("def f():\n    return 1 + 1\n", "f")
    assert [mutant.change for mutant in found] == ["return 1 + 1 -> return None", "1 + 1 -> 1 - 1", "1 -> 2"], "2 + 1 is 1 + 2"


def test_methods_and_wrong_names():
    assert {mutant.change for mutant in mutants(CODE, "C.m")} == {"a == 1 -> a != 1", "1 -> 2", "return a == 1 -> return None"}
    with pytest.raises(ValueError, match="defines no function 'g'"):
        mutants(CODE, "g")
    with pytest.raises(ValueError, match="'C' is a class"):
        mutants(CODE, "C")
    with pytest.raises(ValueError, match="count=-1"):
        mutants(CODE, "f", count=-1)
