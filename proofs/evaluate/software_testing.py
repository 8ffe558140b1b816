"""Mutation score falls when asserts are taken away from tests, and line coverage does not notice.

Sixteen small functions with eight asserts each, written for this proof. A quarter of the asserts, drawn by the seed, keep checking; of the others only the
call stays, as in tests that run code and look at nothing. Method: how much of the mutation score is lost. Baseline: how much of the line coverage.
Contradicted if the score loses less than the coverage, and not shown if the interval over seeds holds 0. The proof refuses to conclude anything
(RuntimeError) where the engine under it errs: pass@k differs from the mean over all draws, a right function fails its tests, one that returns None passes
them, or one of twelve hostile programs passes, outlives twice its time, or leaves a process or a folder behind.
"""

from __future__ import annotations

import ast
import itertools
import random
import tempfile
import time
from functools import cache
from pathlib import Path

import psutil

from metier.core.evidence import Evidence, paired
from metier.engines.sandbox.examine import examine
from metier.engines.sandbox.limits import MEBIBYTE, Limits
from metier.engines.sandbox.mutants import mutants
from metier.evaluate.software_testing.judge import judge_tests, killable
from metier.evaluate.software_testing.passes import pass_at_k
from metier.evaluate.software_testing.problem import Problem

LIMITS = Limits(wall_seconds=2, cpu_seconds=1, memory_bytes=256 * MEBIBYTE)

PROBLEMS = {
    "gcd": (
        "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return a",
        "gcd(12, 18) == 6; gcd(7, 5) == 1; gcd(0, 4) == 4; gcd(4, 0) == 4; gcd(9, 9) == 9; gcd(100, 75) == 25; gcd(1, 8) == 1; gcd(48, 36) == 12",
    ),
    "clip": (
        "def clip(x, low, high):\n    if x < low:\n        return low\n    if x > high:\n        return high\n    return x",
        "clip(5, 0, 9) == 5; clip(-5, 0, 9) == 0; clip(99, 0, 9) == 9; clip(0, 0, 9) == 0; clip(9, 0, 9) == 9; clip(-1, -2, 2) == -1; clip(3, 3, 3) == 3; clip(2, 3, 4) == 3",
    ),
    "position": (
        "def position(items, x):\n    low, high = 0, len(items)\n    while low < high:\n        middle = (low + high) // 2\n        if items[middle] < x:\n"
        "            low = middle + 1\n        else:\n            high = middle\n    return low",
        "position([], 1) == 0; position([1, 3, 5], 3) == 1; position([1, 3, 5], 4) == 2; position([1, 3, 5], 9) == 3; position([1, 3, 5], 0) == 0; "
        "position([2, 2, 2], 2) == 0; position([1, 2], 2) == 1; position([1, 2, 3, 4, 5, 6], 6) == 5",
    ),
    "roman": (
        "def roman(number):\n    text = ''\n    for value, sign in [(10, 'X'), (9, 'IX'), (5, 'V'), (4, 'IV'), (1, 'I')]:\n        while number >= value:\n"
        "            text += sign\n            number -= value\n    return text",
        "roman(1) == 'I'; roman(4) == 'IV'; roman(9) == 'IX'; roman(14) == 'XIV'; roman(20) == 'XX'; roman(8) == 'VIII'; roman(5) == 'V'; roman(0) == ''",
    ),
    "runs": (
        "def runs(text):\n    found = []\n    for sign in text:\n        if found and found[-1][0] == sign:\n            found[-1][1] += 1\n        else:\n"
        "            found.append([sign, 1])\n    return found",
        "runs('') == []; runs('a') == [['a', 1]]; runs('aa') == [['a', 2]]; runs('ab') == [['a', 1], ['b', 1]]; runs('aab') == [['a', 2], ['b', 1]]; "
        "runs('aba') == [['a', 1], ['b', 1], ['a', 1]]; runs('bbb') == [['b', 3]]; runs('abb') == [['a', 1], ['b', 2]]",
    ),
    "balanced": (
        "def balanced(text):\n    depth = 0\n    for sign in text:\n        if sign == '(':\n            depth += 1\n        elif sign == ')':\n            depth -= 1\n"
        "        if depth < 0:\n            return False\n    return depth == 0",
        "balanced('') is True; balanced('()') is True; balanced('(') is False; balanced(')(') is False; balanced('(())') is True; balanced('a(b)c') is True; "
        "balanced('())') is False; balanced('((') is False",
    ),
    "primes": (
        "def primes(n):\n    found = []\n    for number in range(2, n + 1):\n        if all(number % prime for prime in found):\n            found.append(number)\n    return found",
        "primes(1) == []; primes(2) == [2]; primes(10) == [2, 3, 5, 7]; primes(3) == [2, 3]; primes(4) == [2, 3]; primes(11)[-1] == 11; len(primes(30)) == 10; primes(0) == []",
    ),
    "median": (
        "def median(items):\n    if not items:\n        raise ValueError('no items')\n    items = sorted(items)\n    half = len(items) // 2\n    if len(items) % 2:\n"
        "        return items[half]\n    return (items[half - 1] + items[half]) / 2",
        "median([1]) == 1; median([3, 1, 2]) == 2; median([1, 2]) == 1.5; median([4, 1, 3, 2]) == 2.5; median([5, 5]) == 5; median([9, 1, 5, 7, 3]) == 5; "
        "median([0, 10]) == 5; median([-1, 1, 0]) == 0",
    ),
    "base": (
        "def base(number, radix):\n    if number == 0:\n        return '0'\n    digits = ''\n    while number > 0:\n        digits = '0123456789abcdef'[number % radix] + digits\n"
        "        number //= radix\n    return digits",
        "base(0, 2) == '0'; base(5, 2) == '101'; base(255, 16) == 'ff'; base(10, 10) == '10'; base(8, 8) == '10'; base(1, 2) == '1'; base(31, 16) == '1f'; base(7, 3) == '21'",
    ),
    "edits": (
        "def edits(a, b):\n    row = list(range(len(b) + 1))\n    for i in range(1, len(a) + 1):\n        before, row[0] = row[0], i\n        for j in range(1, len(b) + 1):\n"
        "            cost = 0 if a[i - 1] == b[j - 1] else 1\n            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + cost)\n    return row[len(b)]",
        "edits('', '') == 0; edits('a', '') == 1; edits('', 'ab') == 2; edits('kitten', 'sitting') == 3; edits('abc', 'abc') == 0; edits('abc', 'acb') == 2; "
        "edits('ab', 'b') == 1; edits('flaw', 'lawn') == 2",
    ),
    "merge": (
        "def merge(a, b):\n    merged = []\n    i = j = 0\n    while i < len(a) and j < len(b):\n        if a[i] <= b[j]:\n            merged.append(a[i])\n            i += 1\n"
        "        else:\n            merged.append(b[j])\n            j += 1\n    return merged + a[i:] + b[j:]",
        "merge([], []) == []; merge([1], []) == [1]; merge([], [2]) == [2]; merge([1, 3], [2]) == [1, 2, 3]; merge([2], [1, 3]) == [1, 2, 3]; "
        "merge([1, 1], [1]) == [1, 1, 1]; merge([1, 2], [3, 4]) == [1, 2, 3, 4]; merge([5, 6], [1]) == [1, 5, 6]",
    ),
    "steps": (
        "def steps(n):\n    count = 0\n    while n != 1:\n        n = n // 2 if n % 2 == 0 else 3 * n + 1\n        count += 1\n    return count",
        "steps(1) == 0; steps(2) == 1; steps(3) == 7; steps(4) == 2; steps(6) == 8; steps(7) == 16; steps(8) == 3; steps(5) == 5",
    ),
    "rotate": (
        "def rotate(items, by):\n    if not items:\n        return []\n    by %= len(items)\n    return items[-by:] + items[:-by] if by else items[:]",
        "rotate([], 3) == []; rotate([1, 2, 3], 1) == [3, 1, 2]; rotate([1, 2, 3], 3) == [1, 2, 3]; rotate([1, 2, 3], -1) == [2, 3, 1]; rotate([1, 2, 3], 0) == [1, 2, 3]; "
        "rotate([1, 2], 5) == [2, 1]; rotate(['a'], 9) == ['a']; rotate([1, 2, 3, 4], 2) == [3, 4, 1, 2]",
    ),
    "mode": (
        "def mode(items):\n    best, most = None, 0\n    for item in sorted(set(items)):\n        if items.count(item) > most:\n            best, most = item, items.count(item)\n    return best",
        "mode([]) is None; mode([1]) == 1; mode([1, 2, 2]) == 2; mode([3, 3, 1]) == 3; mode([2, 1]) == 1; mode([1, 1, 2, 2]) == 1; mode(['b', 'a', 'b']) == 'b'; mode([0, 0, 5]) == 0",
    ),
    "wrap": (
        "def wrap(text, width):\n    lines, line = [], ''\n    for word in text.split():\n        if line and len(line) + 1 + len(word) > width:\n            lines.append(line)\n"
        "            line = word\n        else:\n            line = f'{line} {word}' if line else word\n    return lines + [line] if line else lines",
        "wrap('', 5) == []; wrap('a', 5) == ['a']; wrap('a b', 3) == ['a b']; wrap('a b', 2) == ['a', 'b']; wrap('aaa bb c', 4) == ['aaa', 'bb c']; wrap('a  b', 9) == ['a b']; "
        "wrap('aaaa b', 3) == ['aaaa', 'b']; wrap('aa bb cc', 5) == ['aa bb', 'cc']",
    ),
    "change": (
        "def change(coins, total):\n    ways = [1] + [0] * total\n    for coin in coins:\n        for value in range(coin, total + 1):\n            ways[value] += ways[value - coin]\n    return ways[total]",
        "change([1], 0) == 1; change([1], 5) == 1; change([2], 3) == 0; change([1, 2], 4) == 3; change([1, 2, 5], 5) == 4; change([], 1) == 0; change([5], 5) == 1; change([2, 3], 6) == 2",
    ),
}

HOSTILE = {
    "infinite loop": "while True: pass",
    "fork bomb": "while True: os.fork()",
    "10 GB": "return len(bytearray(10 << 30)) and 4",
    "write outside": "open('/tmp/metier-escaped', 'w')\n    return 4",
    "read the environment": "return 4 if 'PATH' in os.environ else 5",
    "socket": "import socket\n    socket.socket()\n    return 4",
    "deep recursion": "return f(x)",
    "huge output": "while True: print('x' * 1000)",
    "exit with success": "os._exit(0)",
    "forge the result": (
        'for fd in range(1, 40):\n        try: os.write(fd, b\'{"tests": [{"name": "a", "outcome": "ok"}]}\\n\')\n'
        "        except OSError: pass\n    return 5"
    ),
    "patch assert": "import builtins\n    builtins.AssertionError = builtins.BaseException\n    return 5",
    "sleeping child": "import subprocess\n    subprocess.Popen(['sleep', '60'])\n    return 4",
}


def prove(quick: bool) -> Evidence:
    """Five seeds over sixteen functions with ten mutants each; three over two with five when quick."""
    _require_a_sound_engine(list(HOSTILE)[1:10:3] if quick else list(HOSTILE))
    names = tuple(PROBLEMS)[:2] if quick else tuple(PROBLEMS)
    return paired(
        lambda seed, num_mutants: _lost(names, num_mutants, seed)[0],
        lambda seed, num_mutants: _lost(names, num_mutants, seed)[1],
        claim="mutation score falls when three quarters of the asserts are taken away, and line coverage does not notice",
        metric="share of the whole tests' score that is lost, mean over functions (of mutation score, against line coverage)",
        better="higher",
        seeds=range(3 if quick else 5),
        settings={"num_mutants": 5 if quick else 10},
        notes=f"{len(names)} functions with eight asserts each; mutants that the whole tests do not notice are left out. Before it: pass@k equal to the mean "
        "over all draws for n up to 8, right functions pass and those that return None fail, hostile programs fail and leave nothing",
    )


@cache
def _lost(names: tuple[str, ...], num_mutants: int, seed: int) -> tuple[float, float]:
    """Share of the mutation score, and of the lines covered, that is lost with three quarters of the asserts; means over the functions."""
    lost = []
    for name in names:
        problem = _problem(name)
        bugs = killable(problem, mutants(problem.code, name, count=num_mutants, seed=seed), LIMITS)
        whole = examine(problem.code, problem.tests, exports=problem.exports, limits=LIMITS, trace=[name]).coverage
        thin = judge_tests(problem, _thinned(problem.tests, random.Random(f"{seed} {name}")), bugs, LIMITS)
        if whole is None or thin.coverage is None or not bugs:
            raise RuntimeError(f"{name}: the thinned tests came out as {thin.outcome} on {len(bugs)} mutants: {thin.message}")
        lost.append((1 - len(thin.killed) / len(bugs), 1 - len(thin.coverage.ran) / len(whole.ran)))
    return sum(score for score, _ in lost) / len(lost), sum(lines for _, lines in lost) / len(lost)


def _thinned(tests: str, generator: random.Random) -> str:
    """The tests with a quarter of their asserts; of the others only what they evaluate."""
    tree = ast.parse(tests)
    asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    kept = generator.sample(range(len(asserts)), len(asserts) // 4)
    places = {id(node): place for place, node in enumerate(asserts)}
    for function in tree.body:
        if isinstance(function, ast.FunctionDef):
            function.body = [
                ast.Expr(node.test) if isinstance(node, ast.Assert) and places[id(node)] not in kept else node
                for node in function.body
            ]
    return ast.unparse(ast.fix_missing_locations(tree))


def _problem(name: str) -> Problem:
    code, checks = PROBLEMS[name]
    return Problem(name, code, name, tests="\n".join(f"assert {check}" for check in checks.split("; ")))


def _require_a_sound_engine(hostile: list[str]) -> None:
    for n, c, k in itertools.product(range(1, 9), range(9), range(1, 9)):
        if c > n or k > n:
            continue
        draws = [min(draw) < c for draw in itertools.combinations(range(n), k)]
        if abs(pass_at_k(n, c, k) - sum(draws) / len(draws)) > 1e-12:
            raise RuntimeError(f"pass@{k} of {c} right in {n} is not the mean over all draws")
    for name in PROBLEMS:
        problem, stub = _problem(name), f"def {name}(*_):\n    return None"
        found = [examine(code, problem.tests, exports=problem.exports, limits=LIMITS) for code in (problem.code, stub)]
        if found[0].outcome != "ok" or found[1].outcome == "ok":
            raise RuntimeError(f"{name}: the right function came out as {found[0].outcome}, a stub as {found[1].outcome}")
    for name in hostile:
        began = time.monotonic()
        found = [
            examine(f"import os\ndef f(x):\n    {HOSTILE[name]}", "assert f(2) == 4", exports={"f": "function"}, limits=LIMITS)
        ]
        seconds = time.monotonic() - began
        left = [*psutil.Process().children(recursive=True), *Path(tempfile.gettempdir()).glob("metier-escaped")]
        if found[0].outcome == "ok" or seconds > 2 * LIMITS.wall_seconds + 1 or left:
            raise RuntimeError(f"{name} came out as {found[0].outcome} after {seconds:.1f} s and left {left}")
