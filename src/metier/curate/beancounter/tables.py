"""Tables of a filing: which hold numbers, which are lists of contents, and which only lay out text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

Cell: TypeAlias = list[str]  # its paragraphs
Row: TypeAlias = list[Cell]
Kind = Literal["numbers", "contents", "layout", "text"]

NUMBER_SHARE = 0.25  # of the cells that say something
_LONGEST_LABEL = 15  # words, on average, of the other cells of a table of numbers
_LONG_CELL = 40  # words: it is prose
_NUMBER = re.compile(r"[($€£¥\s]*[-–—+]?\d[\d,.]*\s*(?:[)%*x]|bps|million|billion)*|nil|n/?[am]", re.IGNORECASE)
_SYMBOL = re.compile(r"[$€£¥%()\s*.,:;_=–—-]+")
_OPENING, _CLOSING = frozenset("$€£¥("), frozenset(")%")
_MARKER = re.compile(r"[•·●▪■◦○*–—-]|\(?(?:\d{1,3}|[a-z]{1,4})[.)]|\*+|†", re.IGNORECASE)
_PAGE_NUMBER = re.compile(r"(?:[A-Z]{1,2}-)?(\d{1,3})|[ivxl]{1,6}")


def kind_of(rows: Sequence[Row]) -> Kind:
    """What a table is for.

    numbers: a quarter of its cells or more are numbers, two at least, and the others are labels; contents: most rows end in one
    number, and these never fall; layout: a cell holds several paragraphs or more than 40 words; text: anything else.
    """
    texts = [[" ".join(cell) for cell in row if any(cell)] for row in rows]
    texts = [row for row in texts if row and not _is_item(row)]
    said = [[cell for cell in row if not _SYMBOL.fullmatch(cell)] for row in texts]
    if _is_contents(said):
        return "contents"
    cells = [cell for row in said for cell in row]
    numbers = [cell for cell in cells if _NUMBER.fullmatch(cell)]
    labels = [len(cell.split()) for cell in cells if not _NUMBER.fullmatch(cell)]
    if len(numbers) >= max(2, NUMBER_SHARE * len(cells)) and sum(labels) <= _LONGEST_LABEL * max(1, len(labels)):
        return "numbers"
    long = any(len(cell) > 1 or sum(len(part.split()) for part in cell) > _LONG_CELL for row in rows for cell in row)
    return "layout" if long else "text"


def render(rows: Sequence[Row], keep_numbers: bool) -> list[str]:
    """The table as paragraphs: none for contents; for numbers one grid, or none; for layout the cells' own; for text its rows."""
    kind = kind_of(rows)
    if kind == "contents" or (kind == "numbers" and not keep_numbers):
        return []
    if kind == "numbers":
        return ["\n".join(line for row in rows if (line := _grid_line(row)))]
    if kind == "layout":
        return [part for row in rows for part in _laid_out(row)]
    lines = [_item_or_row([" ".join(cell) for cell in row if any(cell)]) for row in rows]
    if all(sum(any(cell) for cell in row) < 2 or _is_item(_texts(row)) for row in rows):  # no columns: a list of paragraphs
        return [line for line in lines if line]
    return ["\n".join(line for line in lines if line)]


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None or _SYMBOL.fullmatch(text) is not None


def _texts(row: Row) -> list[str]:
    return [" ".join(cell) for cell in row if any(cell)]


def _is_item(texts: Sequence[str]) -> bool:  # "•" or "(a)", and the text it belongs to
    return len(texts) == 2 and _MARKER.fullmatch(texts[0]) is not None and not is_number(texts[1])


def _is_contents(rows: Sequence[Sequence[str]]) -> bool:
    pages, named = [], 0
    for row in rows:
        match = _PAGE_NUMBER.fullmatch(row[-1]) if len(row) > 1 else None
        if match is not None and not any(_NUMBER.fullmatch(cell) for cell in row[1:-1]):
            named += 1
            if match[1] is not None and row[-1].isdigit():
                pages.append(int(match[1]))
    rising = all(one <= other for one, other in pairwise(pages))
    return named >= 3 and named >= 0.6 * len(rows) and rising


def _grid_line(row: Row) -> str:
    """Cells joined by bars; a currency sign joins the number after it, a bracket or percent sign the one before."""
    cells: list[str] = []
    pending = ""
    for place, cell in enumerate(row):
        text = " ".join(cell).strip()
        if text and set(text) <= _OPENING:
            pending += text
        elif text and set(text) <= _CLOSING and cells:
            cells[-1] += text
        elif text or place == 0:
            cells.append(pending + text)
            pending = ""
    return " | ".join(cells).strip() if any(cells) else ""


def _laid_out(row: Row) -> list[str]:
    texts = _texts(row)
    return [" ".join(texts)] if _is_item(texts) else [part for cell in row for part in cell if part]


def _item_or_row(texts: Sequence[str]) -> str:
    return " ".join(texts) if _is_item(texts) else " | ".join(texts)
