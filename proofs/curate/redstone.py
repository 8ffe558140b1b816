"""Formulas and code of generated pages come through extraction word for word; and what the other parts of the method are worth.

Claim: of the blocks of a page (code, and formulas as annotation, script, tree or delimited text), more are in the extracted text
as they were written than trafilatura, told to keep formatting and tables, gives. Contradicted if the 95% interval of the
difference lies below 0, not shown if it holds 0. Code counts when its lines are there in a row, whatever white space ends them;
a formula when its TeX is, white space, braces and the sizes of fences apart: for formulas that the page holds as a MathML tree
that is the TeX which sympy prints of the same expression.

The notes report, without a verdict of their own: recall by kind; how many of the twenty statistics of the rules differ from a
plain count on random texts; and F1 of telling docstrings with mathematics from others, by keywords with the classifier and by
keywords alone. A gain in pretraining cannot be shown at this scale and is not claimed.
"""

from __future__ import annotations

import ast
import contextlib
import html
import math
import random
import re
import statistics
import textwrap
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from metier.core.evidence import Evidence, paired
from metier.curate.redstone import mathematics
from metier.curate.redstone.blocks import page_text
from metier.curate.redstone.classifier import train
from metier.curate.redstone.rules import measure, normalised
from metier.engines.data.exercises import sentences

KINDS = ("code", "annotation", "script", "tree", "delimited")
NOUNS = (
    "reader method value page table answer number line result order group field proof limit sum term path node list set".split()
)
VERBS = "gives takes shows holds changes needs makes finds follows explains".split()


class Piece(NamedTuple):
    """A block of a page: its kind, what must come out, and its HTML."""

    kind: str
    wanted: str
    source: str


def prove(quick: bool) -> Evidence:
    """500 pages, 50 a seed, each with two blocks of every kind."""
    num_pages, seeds = (6, range(3)) if quick else (50, range(10))
    by_kind = [recalls(arm, seed=seed, num_pages=num_pages) for arm in (ours, theirs) for seed in list(seeds)[:3]]
    told = [
        f"{kind} {statistics.mean(found[kind] for found in by_kind[:3]):.3f} against {statistics.mean(found[kind] for found in by_kind[3:]):.3f}"
        for kind in KINDS
    ]
    notes = f"recall by kind, method against trafilatura, first three seeds: {'; '.join(told)}. "
    wrong, texts = differing_statistics(100 if quick else 2000)
    notes += f"Of the statistics of {texts} random texts {wrong} differ from a plain count by more than 1e-9. "
    notes += mathematics_note(300 if quick else 1500, 3 if quick else 5)
    return paired(
        with_blocks,
        plain,
        claim="formulas and code of a page come through word for word",
        metric="share of blocks that are in the text as written",
        better="higher",
        seeds=seeds,
        settings={"num_pages": num_pages},
        notes=notes,
    )


def with_blocks(seed: int, num_pages: int) -> float:
    return statistics.mean(recalls(ours, seed=seed, num_pages=num_pages).values())


def plain(seed: int, num_pages: int) -> float:
    return statistics.mean(recalls(theirs, seed=seed, num_pages=num_pages).values())


def ours(page: str) -> str:
    return page_text(page).text


def theirs(page: str) -> str:
    import trafilatura

    text = trafilatura.extract(
        page, favor_precision=True, include_formatting=True, include_tables=True, include_comments=False, include_links=False
    )
    return text or ""


@cache
def recalls(arm: Callable[[str], str], *, seed: int, num_pages: int) -> dict[str, float]:
    """Share of the blocks of each kind that an arm keeps; every kind has as many."""
    kept: Counter[str] = Counter()
    for number in range(num_pages):
        page, pieces = make_page(random.Random(f"page {seed} {number}"))
        text = arm(page)
        as_code, as_formula = bare_lines(text), bare_formula(text)
        for piece in pieces:
            found = bare_lines(piece.wanted) in as_code if piece.kind == "code" else bare_formula(piece.wanted) in as_formula
            kept[piece.kind] += found
    return {kind: kept[kind] / (2 * num_pages) for kind in KINDS}


def bare_lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n"))


def bare_formula(text: str) -> str:
    return re.sub(r"\\left|\\right|\\cdot|\\,|[{}\s]", "", text.replace("\\ ", ""))


# ---- pages


def make_page(generator: random.Random) -> tuple[str, list[Piece]]:
    makers = [code, annotation, script, tree, delimited] * 2
    generator.shuffle(makers)
    pieces = [maker(generator) for maker in makers]
    body = []
    for piece in pieces:
        before, after = prose(generator), prose(generator)
        body.append(
            f"<p>{before}</p>{piece.source}<p>{after}</p>" if piece.kind == "code" else f"<p>{before} {piece.source} {after}</p>"
        )
    menu = "".join(f'<li><a href="/{noun}">{noun}</a></li>' for noun in generator.sample(NOUNS, 6))
    return (
        f"<!DOCTYPE html><html><head><title>{prose(generator)}</title></head><body><nav><ul>{menu}</ul></nav>"
        f"<article><h1>{generator.choice(NOUNS)}</h1>{''.join(body)}</article>"
        f"<footer><p>Copyright. All rights reserved.</p></footer></body></html>",
        pieces,
    )


def prose(generator: random.Random) -> str:
    return " ".join(
        f"The {generator.choice(NOUNS)} {generator.choice(VERBS)} the {generator.choice(NOUNS)} of that {generator.choice(NOUNS)}."
        for _ in range(generator.randint(2, 4))
    )


@cache
def functions() -> tuple[str, ...]:
    """Functions of modules of the standard library, of 3 to 30 lines."""
    found = []
    for module in (ast, contextlib, random, statistics, textwrap):
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and 3 <= (node.end_lineno or 0) - node.lineno <= 30:
                found.append("\n".join(source.split("\n")[node.lineno - 1 : node.end_lineno]))
    return tuple(found)


def code(generator: random.Random) -> Piece:
    """As it stands, with the words in <span> as highlighters write them, or in a table beside its line numbers."""
    text = generator.choice(functions())
    shape = generator.choice(["plain", "coloured", "numbered"])
    inner = html.escape(text, quote=False)
    if shape == "coloured":
        inner = re.sub(r"\b(def|return|if|else|for|in|not|import)\b", r'<span class="k">\1</span>', inner)
    block = f'<pre><code class="language-python">{inner}\n</code></pre>'
    if shape == "numbered":
        numbers = "\n".join(str(1 + line) for line in range(len(text.split("\n"))))
        block = f'<table><tbody><tr><td class="gutter"><pre>{numbers}</pre></td><td>{block}</td></tr></tbody></table>'
    return Piece("code", text, block)


def formula(generator: random.Random):  # type: ignore[no-untyped-def]
    """A random sympy expression that both of its printers write alike."""
    import sympy as sp  # type: ignore[import-untyped]

    symbols = sp.symbols("x y z alpha beta n")

    def grow(depth: int):  # type: ignore[no-untyped-def]
        if depth == 0:
            return generator.choice([*symbols, sp.Integer(generator.randint(2, 9))])
        one, other = grow(depth - 1), grow(depth - 1)
        return generator.choice(
            [
                one + other,
                one * other,
                one**2,
                one / (other + 1),
                sp.sqrt(one),
                sp.sin(one),
                sp.log(other + 1),
                sp.Integral(one, symbols[0]),
            ]
        )

    while True:
        found = symbols[0] + 1 + grow(2)
        if len(sp.latex(found)) > 12:
            return found


def tex(generator: random.Random) -> str:
    import sympy as sp  # type: ignore[import-untyped]

    return str(sp.latex(formula(generator)))


def annotation(generator: random.Random) -> Piece:
    """As KaTeX writes it: a tree with the source, and a rendering for the eye."""
    wanted = tex(generator)
    shown = html.escape(re.sub(r"[\\{}]", "", wanted))
    return Piece(
        "annotation",
        wanted,
        f'<span class="katex"><span class="katex-mathml"><math><semantics><mrow><mi>{shown}</mi></mrow><annotation '
        f'encoding="application/x-tex">{html.escape(wanted)}</annotation></semantics></math></span>'
        f'<span class="katex-html" aria-hidden="true">{shown}</span></span>',
    )


def script(generator: random.Random) -> Piece:
    wanted = tex(generator)
    return Piece("script", wanted, f'<span class="MathJax_Preview">formula</span><script type="math/tex">{wanted}</script>')


def tree(generator: random.Random) -> Piece:
    import sympy as sp  # type: ignore[import-untyped]
    from sympy.printing.mathml import mathml  # type: ignore[import-untyped]

    found = formula(generator)
    return Piece("tree", str(sp.latex(found)), f"<math>{mathml(found, printer='presentation')}</math>")


def delimited(generator: random.Random) -> Piece:
    """As Sphinx and Stack Exchange write it, for a script to draw: any extraction of text keeps it."""
    wanted = tex(generator)
    return Piece("delimited", wanted, f'<span class="math">\\({html.escape(wanted)}\\)</span>')


# ---- statistics counted plainly


def differing_statistics(count: int) -> tuple[int, int]:
    wrong = 0
    for seed in range(count):
        generator = random.Random(f"text {seed}")
        text = random_text(generator)
        expected, found = counted(text), measure(text)
        wrong += sum(abs(found[name] - value) > 1e-9 for name, value in expected.items()) + (set(found) != set(expected))
    return wrong, count


def random_text(generator: random.Random) -> str:
    """Few different words and many copies, so that every statistic moves."""
    pool = generator.sample([*NOUNS, "the", "of", "and", "12", "#", "...", "naïve", "İx", "•", "–"], generator.randint(1, 12))
    lines = [
        " ".join(generator.choices(pool, k=generator.randint(1, 12))) + generator.choice(["", ".", "...", "! ", ". And", "…"])
        for _ in range(generator.randint(1, 12))
    ]
    return "".join(
        line + generator.choice(["\n", "\n\n", " ", "\r\n", "\u2028"]) for line in generator.choices(lines, k=len(lines))
    )


def counted(text: str) -> dict[str, float]:
    """The statistics by the sentences of the paper's code: slow, one after the other."""
    view = normalised(text).lower()
    words = view.split()
    parts = [part.strip().lower() for part in sentences(normalised(text)) if part.strip()]
    lines = [line.strip() for line in view.split("\n") if line.strip()]
    found = {
        "words": len(words),
        "mean word length": sum(len(word) for word in words) / len(words) if words else 0,
        "symbols per word": sum(view.count(mark) for mark in ("#", "...")) / max(1, len(words)),
        "words with a letter": len([word for word in words if any(char.isalpha() for char in word)]) / max(1, len(words)),
        "sentences cut short": len([part for part in parts if part.endswith("...")]) / max(1, len(parts)),
        "bullets": len([part for part in parts if part[0] in "•‣▶◀◦■□▪▫–"]) / max(1, len(parts)),
        "stop words": len([word for word in words if word in "the be to of and that have with".split()]),
    }
    for name, pieces in (("sentences", parts), ("paragraphs", lines)):
        doubled = [piece for piece in pieces if pieces.count(piece) > 1]
        found[f"repeated {name}"] = len(doubled) / max(1, len(pieces))
        found[f"characters of repeated {name}"] = len("".join(doubled)) / max(1, len("".join(pieces)))
    for n in range(2, 11):
        grams = [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]
        chosen = {gram for gram in grams if grams.count(gram) > 1}
        if n < 5 and chosen:
            chosen = {max(grams, key=grams.count)}
        covered = {place + step for place, gram in enumerate(grams) if gram in chosen for step in range(n)}
        name = f"top {n}-gram" if n < 5 else f"repeated {n}-grams"
        found[name] = sum(len(words[place]) for place in covered) / max(1, len("".join(words)))
    return {name: float(value) for name, value in found.items()}


# ---- mathematics in docstrings


def mathematics_note(most: int, num_splits: int) -> str:
    texts, labels = docstrings(most)
    with_classifier, keywords = [], []
    for split in range(num_splits):
        order = list(range(len(texts)))
        random.Random(f"split {split}").shuffle(order)
        half = len(order) // 2
        model = train([texts[place] for place in order[:half]], [labels[place] for place in order[:half]])
        held = order[half:]
        truth = [labels[place] for place in held]
        with_classifier.append(f1(truth, [mathematics.judge(texts[place], 5, model) is None for place in held]))
        # The same first pass, and nothing after it.
        keywords.append(f1(truth, [mathematics.judge(texts[place], 1, None) is None for place in held]))
    gains = [one - other for one, other in zip(with_classifier, keywords, strict=True)]
    error = statistics.stdev(gains) / math.sqrt(num_splits)
    return (
        f"F1 of telling {sum(labels)} docstrings with mathematics from {len(labels) - sum(labels)} other texts, mean of {num_splits} "
        f"random halves: keywords and classifier {statistics.mean(with_classifier):.3f}, keywords alone {statistics.mean(keywords):.3f}, "
        f"difference {statistics.mean(gains):.3f} with a standard error of {error:.3f}."
    )


def f1(truth: list[int], found: list[bool]) -> float:
    hits = sum(1 for label, kept in zip(truth, found, strict=True) if label == 1 and kept)
    return 2 * hits / max(1, sum(truth) + sum(found))


def docstrings(most: int) -> tuple[list[str], list[int]]:
    """Docstrings of scipy, sympy and mpmath with 1 where they mark a formula (their marks are then taken out), and as many paths of
    Windows, whose folders are partly named as commands of TeX are."""
    found: dict[str, int] = {}
    for package in ("scipy", "sympy", "mpmath"):
        root = Path(str(__import__(package).__file__)).parent
        for file in sorted(root.rglob("*.py")):
            if "tests" not in file.parts:
                for text in docstrings_of(file):
                    marked = re.search(r":math:|\.\. math::|\$[^$\n]*\\", text) is not None
                    found[re.sub(r":math:|\.\. math::|\$+", " ", text)] = int(marked)
    generator = random.Random("docstrings")
    names = sorted(found)
    chosen = [name for label in (0, 1) for name in sample([name for name in names if found[name] == label], most, generator)]
    folders = [
        "users",
        "temp",
        "windows",
        "system",
        "log",
        "max",
        "in",
        "to",
        "begin",
        "star",
        "data",
        "top",
        "mid",
        "gamma",
        "div",
        "bin",
    ]
    paths = [
        f"{prose(generator)} See C:\\" + "\\".join(generator.sample(folders, 4)) + f". {prose(generator)}"
        for _ in range(most // 3)
    ]
    return [*chosen, *paths], [found[name] for name in chosen] + [0] * len(paths)


def sample(names: list[str], most: int, generator: random.Random) -> list[str]:
    return generator.sample(names, min(most, len(names)))


def docstrings_of(file: Path) -> list[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)]
    return [text for node in nodes if (text := ast.get_docstring(node)) is not None and len(text) > 200]
