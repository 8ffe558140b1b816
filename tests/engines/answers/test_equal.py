"""Values that are equal by hand; agreement with math-verify itself; and what a hostile answer can't do."""

import logging
import time

import pytest

from metier.engines.answers.equal import MathVerify, same_value, same_values

NUMBERS = [
    ("1,234", "1234.0", True),
    ("1/2", ".5", True),
    ("3.50", "3.5", True),
    ("2/3", "0.6666667", True),
    ("2/3", "0.67", False),
    ("10.666666666666666", "10.666666666666664", False),
    ("10.666666666666666", "10.666666666666667", True),
    ("7", "-7", False),
    ("50%", "0.5", True),
    ("7", "8", False),
]
FORMULAS = [
    (r"\frac{1}{2}", r"50\%", True),
    (r"\frac12", "0.5", True),
    ("x^2+2x+1", "(x+1)^2", True),
    ("x^2+2x+1", "(x-1)^2", False),
    (r"\sqrt{8}", r"2\sqrt{2}", True),
    ("(1,2)", "(1, 2)", True),
    (r"\{1, 2\}", r"\{2, 1\}", True),
    (r"100 \text{ cm}", "100", True),
    (r"\boxed{\frac{3}{4}}", "0.75", True),
    ("2\\pi", "6.283185307", True),
    ("x", "y", False),
]


@pytest.mark.parametrize(("expected", "found", "equal"), NUMBERS)
def test_numbers_are_compared_exactly_and_without_another_process(expected, found, equal, monkeypatch):
    monkeypatch.setattr("metier.engines.answers.equal.MathVerify.__init__", None)
    assert same_value(expected, found) is equal


def test_words_are_compared_as_text_and_nothing_equals_an_empty_answer():
    pairs = [
        ("yes", "yes"),
        ("yes", "no"),
        ("fnel", " fnel "),
        ("", ""),
        ("7", ""),
        ("", "7"),
        ("7", "seven"),
        ("9" * 5000 + "x", "1x"),
    ]
    assert same_values(pairs) == [True, False, True, False, False, False, False, False]
    assert same_values([]) == []


def test_formulas_are_compared_by_value_and_hostile_ones_are_unequal_in_time(tmp_path, caplog):
    pytest.importorskip("math_verify")
    mark = tmp_path / "mark"
    hostile = [
        ("9^{9^{9^{9}}}", "4"),
        ("1", f"__import__('pathlib').Path({str(mark)!r}).touch() + 1"),
        ("x_1", "{" * 300 + "x" + "}" * 300),
        ("x", r"\frac{1}{" * 100),
    ]
    began = time.perf_counter()
    with caplog.at_level(logging.WARNING):
        found = same_values([*[(one, two) for one, two, _ in FORMULAS], *hostile, ("x+x", "2x")], timeout_seconds=2)
    assert found == [*[equal for *_, equal in FORMULAS], *[False] * len(hostile), True]
    assert not mark.exists()
    assert time.perf_counter() - began < 40
    assert "9^{9^{9^{9}}}" in caplog.text


def test_a_process_is_left_neither_after_an_end_nor_after_an_error():
    pytest.importorskip("math_verify")
    with MathVerify(5.0) as verifier:
        assert verifier.equal("x+1", "1+x")
        process = verifier._process
    assert process.poll() is not None


def test_what_is_missing_or_senseless_is_said(monkeypatch):
    with pytest.raises(ValueError, match="timeout_seconds=0"):
        same_value("1", "1", timeout_seconds=0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"metier\[math\]"):
        same_value("x^2", "y^2")
