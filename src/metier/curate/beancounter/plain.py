"""The paragraphs of a filing in plain text: lines are joined again, tables found by their markup or by their columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from metier.curate.beancounter.tables import is_number, render

PAGE_BREAK = "\f"  # a paragraph of its own, until `joined`

_ENTITY = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&nbsp;": " ", "&quot;": '"'}
_MARKUP = re.compile(r"</?(?:CAPTION|S|C|FN|F\d{1,2}|TABLE|TEXT|BTB|ARTICLE|MULTIPLIER)>", re.IGNORECASE)
_TABLE = re.compile(r"<TABLE>((?:(?!<TABLE>).)*?)</TABLE>", re.IGNORECASE | re.DOTALL)
_PAGE_TAG = re.compile(r"^[ \t]*<PAGE>[ \t]*(\S{0,8})[ \t]*$", re.IGNORECASE | re.MULTILINE)
_COLUMNS = re.compile(r"(?:\s*\.){3,}\s*|\s{2,}")
_RULE = re.compile(r"[\s=_.*+-]*[=_-]{3}[\s=_.*+-]*")
_PAGE_NUMBER = re.compile(
    r"(?:page\s+)?[-–—\s]*(?:[A-Z]{1,2}-)?\d{1,4}(?:\s+of\s+\d{1,4})?[-–—\s]*|[-–—\s]*[ivxl]{1,6}[-–—\s]*", re.IGNORECASE
)
_LEADER = re.compile(r"(?:\.\s?){4,}\s*(?:[A-Z]{1,2}-)?\d{1,4}\s*$")
_CONTENTS = re.compile(r"(?:return to |back to )?(?:table of )?contents", re.IGNORECASE)
_CENTRED = 12  # spaces before a line
_SENTENCE_END = (".", "!", "?", ":", ";", '."', ".”", ")")


def plain_paragraphs(text: str, keep_tables: bool) -> list[str]:
    """Paragraphs in order, with PAGE_BREAK where a page ends; `joined` and `is_furniture` finish them."""
    text = _ENTITIES.sub(lambda found: _ENTITY[found[0].lower()], text).expandtabs(8)
    text = _PAGE_TAG.sub(f"\n{PAGE_BREAK}\n", text)
    result: list[str] = []
    place = 0
    for table in _TABLE.finditer(text):
        result += _unmarked(text[place : table.start()], keep_tables)
        result += render([_cells(line) for line in _lines(table[1])], keep_tables)
        place = table.end()
    return result + _unmarked(text[place:], keep_tables)


def is_furniture(paragraph: str) -> bool:
    """Whether a paragraph belongs to the page: its number, a rule, a line of the table of contents or a link to it."""
    return (
        _PAGE_NUMBER.fullmatch(paragraph) is not None
        or _RULE.fullmatch(paragraph) is not None
        or _CONTENTS.fullmatch(paragraph) is not None
        or ("\n" not in paragraph and _LEADER.search(paragraph) is not None)
    )


def joined(paragraphs: Sequence[str]) -> list[str]:
    """Without furniture and page breaks; the halves of a sentence that these cut in two are one paragraph again."""
    result: list[str] = []
    cut = False
    for paragraph in paragraphs:
        if paragraph == PAGE_BREAK or is_furniture(paragraph):
            cut = True
            continue
        halves = cut and result and paragraph[:1].islower() and not result[-1].endswith(_SENTENCE_END)
        if halves and "\n" not in result[-1] + paragraph:  # with a line break it is a table or an address
            result[-1] += " " + paragraph
        else:
            result.append(paragraph)
        cut = False
    return result


_ENTITIES = re.compile("|".join(_ENTITY), re.IGNORECASE)


def _lines(text: str) -> list[str]:
    lines = (_MARKUP.sub("", line) for line in text.split("\n"))
    return [line for line in lines if line.strip() and line.strip() != PAGE_BREAK and not _RULE.fullmatch(line)]


def _cells(line: str) -> list[list[str]]:
    cells = [[part] if part else [] for part in _COLUMNS.split(line.strip())]
    return [[], *cells] if line.startswith(" " * _CENTRED) else cells  # a row whose first column is empty


def _unmarked(text: str, keep_tables: bool) -> list[str]:
    """Paragraphs of a part without table tags; runs of lines that end in columns of numbers are tables."""
    result: list[str] = []
    prose: list[str] = []
    rows: list[str] = []
    for line in [*_MARKUP.sub("", text).split("\n"), PAGE_BREAK]:
        if _tabular(line):
            rows.append(line)
        elif rows and not line.strip() and line != PAGE_BREAK:
            rows.append("")
        else:
            if rows:
                _close(rows, prose, result, keep_tables)
                rows = []
            prose.append(line)
    return result + _paragraphs(prose[:-1])


def _close(rows: list[str], prose: list[str], result: list[str], keep_tables: bool) -> None:
    """Ends a run of rows: a table after the prose before it, or prose too where it was no table."""
    numbered = [row for row in rows if row and not _RULE.fullmatch(row)]
    if len(numbered) < 2:
        prose += rows if numbered else [""]
        return
    result += _paragraphs(prose)
    prose.clear()
    result += render([_cells(row) for row in numbered], keep_tables)


def _tabular(line: str) -> bool:
    if _RULE.fullmatch(line) is not None:
        return True
    cells = [cell for cell in _COLUMNS.split(line.strip()) if cell]
    return len(cells) > 1 and is_number(cells[-1])


def _paragraphs(lines: Sequence[str]) -> list[str]:
    """Paragraphs end at blank lines, at page breaks, after centred lines, and where a line after the end of a sentence is
    indented."""
    result: list[str] = []
    current: list[str] = []

    def close() -> None:
        if current:
            result.append(re.sub(r"\s+", " ", " ".join(current)).strip())
            current.clear()

    before = 0
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line == PAGE_BREAK:
            close()
            result.append(PAGE_BREAK)
        elif not line.strip():
            close()
        else:
            alone = _PAGE_NUMBER.fullmatch(line.strip()) is not None and indent >= _CENTRED
            begins = indent > before + 1 and current and current[-1].rstrip().endswith(_SENTENCE_END)
            if alone or begins or (before >= _CENTRED and indent < before - _CENTRED // 2):
                close()
            current.append(line)
            if alone:
                close()
            before = indent if current else 0
    close()
    return result
