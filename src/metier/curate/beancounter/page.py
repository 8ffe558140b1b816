"""The paragraphs of a filing in HTML. Read as a stream of tags, since filings of the 1990s close few of them, with tables as a stack."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

from metier.curate.beancounter.plain import plain_paragraphs
from metier.curate.beancounter.tables import Row, render

_SKIPPED = frozenset(["head", "title", "ix:header", "svg", "select", "button", "noscript", "object"])
_BLOCKS = frozenset(
    "address article blockquote body center dd div dl dt footer form h1 h2 h3 h4 h5 h6 header hr html li main ol p section ul".split()
)
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_PLAIN_TAGS = frozenset(["table", "page"])  # in preformatted text they are those of plain filings
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)


def page_paragraphs(source: str, keep_tables: bool) -> list[str]:
    """Paragraphs in order; `joined` finishes them. Tables of numbers are grids, or left out; hidden parts are left out."""
    page = _Page(keep_tables)
    page.feed(source)
    page.close()
    return page.finish()


class _Table:
    """A table being read: its rows, and the paragraphs of the place that it stands in."""

    def __init__(self, around: list[str]) -> None:
        self.rows: list[Row] = []
        self.around = around


class _Page(HTMLParser):
    def __init__(self, keep_tables: bool) -> None:
        super().__init__(convert_charrefs=True)
        self._keep = keep_tables
        self._blocks: list[str] = []  # of the document or of the open cell
        self._tables: list[_Table] = []
        self._inline: list[str] = []
        self._prefix = ""
        self._skipping = ("", 0)  # the tag that began the skipped part, and how many of its kind are open
        self._preformatted = False
        self._on_start: dict[str, Callable[[], None]] = {
            "table": self._begin_table,
            "tr": self._begin_row,
            "td": self._begin_cell,
            "th": self._begin_cell,
            "pre": self._begin_preformatted,
            "br": lambda: self._inline.append("\n"),
            "li": self._begin_item,
        }

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name, count = self._skipping
        if count:
            self._skipping = (name, count + (tag == name))
        elif self._preformatted and tag in _PLAIN_TAGS:
            self._inline.append(f"\n<{tag}>")
        elif tag not in _VOID and (tag in _SKIPPED or _is_hidden(attrs)):
            self._skipping = (tag, 1)
        elif tag in self._on_start:
            self._on_start[tag]()
        elif tag in _BLOCKS:
            self._flush()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            self.handle_starttag(tag, attrs)
        elif not self._skipping[1] and tag in _BLOCKS:  # <p/> ends a paragraph, <div/> holds nothing
            self._flush()

    def handle_endtag(self, tag: str) -> None:
        name, count = self._skipping
        if count:
            # A page goes on after a part whose end tag is missing: nothing hidden reaches beyond the head or the body.
            self._skipping = (name, 0 if tag in ("body", "html") else count - (tag == name))
        elif self._preformatted and tag in _PLAIN_TAGS:
            self._inline.append(f"</{tag}>\n")
        elif tag == "table":
            self._end_table()
        elif tag in ("td", "th"):
            self._end_cell()
        elif tag == "pre":
            self._end_preformatted()
        elif tag in _BLOCKS or tag == "tr":
            self._flush()

    def handle_data(self, data: str) -> None:
        if not self._skipping[1]:
            self._inline.append(data if self._preformatted else re.sub(r"\s+", " ", data))

    def finish(self) -> list[str]:
        self._end_preformatted()
        while self._tables:
            self._end_table()
        self._flush()
        return self._blocks

    def _begin_table(self) -> None:
        self._flush()
        self._tables.append(_Table(self._blocks))

    def _begin_row(self) -> None:
        self._end_cell()
        if self._tables:
            self._tables[-1].rows.append([])

    def _begin_cell(self) -> None:
        self._end_cell()
        if self._tables:
            table = self._tables[-1]
            if not table.rows:
                table.rows.append([])
            table.rows[-1].append([])
            self._blocks = table.rows[-1][-1]

    def _end_cell(self) -> None:
        self._flush()
        if self._tables:
            self._blocks = self._tables[-1].around

    def _end_table(self) -> None:
        self._end_cell()
        if self._tables:
            table = self._tables.pop()
            table.around.extend(render(table.rows, self._keep))

    def _begin_item(self) -> None:
        self._flush()
        self._prefix = "- "

    def _begin_preformatted(self) -> None:
        self._flush()
        self._preformatted = True

    def _end_preformatted(self) -> None:
        if self._preformatted:
            self._blocks.extend(plain_paragraphs("".join(self._inline), self._keep))
            self._inline.clear()
            self._preformatted = False

    def _flush(self) -> None:
        if self._preformatted:
            return
        text = "".join(self._inline).replace("\xa0", " ")
        self._inline.clear()
        lines = re.sub(r" *\n *", "\n", re.sub(r"[ \t\r]+", " ", text)).strip()
        for part in re.split(r"\n{2,}", lines):
            if part:
                self._blocks.append(self._prefix + part)
                self._prefix = ""


def _is_hidden(attrs: list[tuple[str, str | None]]) -> bool:
    return any(name == "hidden" or (name == "style" and _HIDDEN.search(value or "") is not None) for name, value in attrs)
