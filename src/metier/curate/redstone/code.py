"""Blocks of code in a page: which they are, in which language, and without their line numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resiliparse.parse.html import ElementNode, Node

_SHOWS_CODE = re.compile(
    r"\b(?:def|class|function|func|fn|import|from|include|using|namespace|package|public|private|static|void|int|return|if|else|elif|"
    r"for|while|switch|case|try|catch|except|struct|enum|interface|let|var|const|lambda|print|echo|select|insert|sudo|end)\b"
    r"|[{};]|\w\([^()\n]*\)|[\w\])]\s*(?:[-+*/|&:]?=)\s*\S|^\s*(?:[$#>]|>>>)\s|</?\w+[^>\n]*>",
    re.IGNORECASE | re.MULTILINE,
)
_LANGUAGE = re.compile(r"(?:^|\s)(?:language-|lang-|highlight-|brush:\s*|sourceCode\s+)([A-Za-z][\w+#.-]*)")
_NO_LANGUAGE = frozenset(["source", "default", "none", "text", "plain", "plaintext", "plain-text", "code"])
_NUMBERS = ".linenos, .lineno, .linenumber, .line-number, .line-numbers-rows, .gutter, .lnt, .copybtn, button"
_FEWEST_NUMBERS = 8
_OF_TABLE = 0.8


def text_of(node: Node) -> str:
    """The text in an element, as it stands in the source."""
    return node.text or ""


def code_roots(page: ElementNode) -> list[ElementNode]:
    """The elements that stand for one block of code each: <pre>, with or without <code>, or the <tbody> that holds nothing but such
    (a table with line numbers). Inline code is none."""
    roots: list[ElementNode] = []
    for pre in list(page.query_selector_all("pre")):
        table = pre.closest("tbody")
        root = table if table is not None and _is_of_code(table) else pre
        if not any(other == root or other.contains(root) for other in roots[-2:]):
            roots.append(root)
    return roots


def _is_of_code(table: ElementNode) -> bool:
    inside = sum(len("".join(text_of(pre).split())) for pre in list(table.query_selector_all("pre")))
    return inside >= _OF_TABLE * len("".join(text_of(table).split()))


def code_of(root: ElementNode) -> str:
    """The text of a block as written, without line numbers and the blank lines around it. Takes elements of numbers out of the
    page."""
    for numbers in list(root.query_selector_all(_NUMBERS)):
        numbers.remove()
    for line_break in list(root.query_selector_all("br")):
        line_break.text = "\n"
    parts = [root] if root.tag == "pre" else list(root.query_selector_all("pre"))
    text = "\n".join(text_of(part).rstrip("\n") for part in parts).replace("\r\n", "\n").replace("\u00a0", " ")
    return re.sub(r"\A(?:[ \t]*\n)+|\s+\Z", "", without_line_numbers(text))


def looks_like_code(text: str) -> bool:
    """Whether a text has a keyword, a brace or semicolon, a call, an assignment, a prompt or a tag."""
    return _SHOWS_CODE.search(text) is not None


def language_of(root: ElementNode) -> str:
    """The language that the block, its <code> or the three elements around it name in their class; "" for none."""
    inner = root.query_selector("code")
    around: list[ElementNode] = []
    node = root.parent_element
    while node is not None and len(around) < 3:
        around.append(node)
        node = node.parent_element
    for element in ([inner] if inner is not None else []) + [root, *around]:
        found = _LANGUAGE.search(element.getattr("class") or "")
        if found is not None and found[1].lower() not in _NO_LANGUAGE:
            return found[1].lower()
    return ""


def without_line_numbers(text: str) -> str:
    """A text without its runs of eight or more lines that count up by one from 0 or 1, each alone in its line or with one, two or
    three lines between."""
    lines = text.split("\n")
    values = [_number(line) for line in lines]
    gone: set[int] = set()
    for stride in (1, 2, 3, 4):
        for start, value in enumerate(values):
            if value in (0, 1) and start not in gone:
                run = _run(values, start, stride)
                if len(run) >= _FEWEST_NUMBERS:
                    gone.update(run)
    return "\n".join(line for place, line in enumerate(lines) if place not in gone)


def _number(line: str) -> int | None:
    return int(line) if line.strip().isdecimal() and len(line.strip()) < 7 else None


def _run(values: list[int | None], start: int, stride: int) -> list[int]:
    first, run = values[start], [start]
    assert first is not None
    for place in range(start + stride, len(values), stride):
        if values[place] != first + len(run):
            break
        run.append(place)
    return run
