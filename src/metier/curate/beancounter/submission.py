"""A full submission text of EDGAR taken apart: its header, and the documents in it with the reason why one is no text.

A submission is an SGML container: a header of "NAME: value" lines, then <DOCUMENT> blocks with <TYPE>, <SEQUENCE>, <FILENAME> and
<TEXT>. End tags are often missing in filings of the 1990s, so a block ends where the next one begins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

NO_DOCUMENT, IMAGE, BINARY, DATA, MACHINE, EMPTY = "no document", "image", "binary", "data file", "machine exhibit", "no text"

_BLOCK = re.compile(r"^[ \t]*<DOCUMENT>", re.MULTILINE | re.IGNORECASE)
_BLOCK_END = re.compile(r"^[ \t]*</DOCUMENT>", re.MULTILINE | re.IGNORECASE)
_TEXT = re.compile(r"^[ \t]*<TEXT>", re.MULTILINE | re.IGNORECASE)
_TEXT_END = re.compile(r"</TEXT>[ \t]*\s*\Z", re.IGNORECASE)
_FIELD = re.compile(r"^[ \t]*<(TYPE|SEQUENCE|FILENAME|DESCRIPTION)>[ \t]*(.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE)
# Uuencoded lines hold no small letters, so prose that happens to follow is safe, and a missing end costs nothing.
_UUENCODED = re.compile(r"^begin [0-7]{3,4} [^\n]*\n(?:[ -`]{1,90}[ \t\r]*\n)+(?:end[ \t\r]*$)?", re.MULTILINE)
_WRAPPER = re.compile(r"\A\s*</?(?:XBRL|XML|PDF)>\s*|\s*</(?:XBRL|XML|PDF)>\s*\Z", re.IGNORECASE)
_PAGE = re.compile(r"<(?:html|body)\b", re.IGNORECASE)
_IMAGES = (".jpg", ".jpeg", ".gif", ".png", ".bmp", ".tif", ".tiff", ".svg")
_BINARIES = (".pdf", ".zip", ".xls", ".xlsx", ".doc", ".docx", ".ppt", ".pptx", ".gz", ".tar", ".mp3", ".mp4")
_DATA_FILES = (".xml", ".xsd", ".xsl", ".css", ".js", ".json", ".fil")
_HEADER = {
    "accession": (r"ACCESSION NUMBER:", r"<ACCESSION-NUMBER>"),
    "type_filing": (r"CONFORMED SUBMISSION TYPE:", r"<TYPE>"),
    "company": (r"COMPANY CONFORMED NAME:", r"<CONFORMED-NAME>"),
    "cik": (r"CENTRAL INDEX KEY:", r"<CIK>"),
    "accepted": (r"<ACCEPTANCE-DATETIME>",),
    "filed": (r"FILED AS OF DATE:", r"<FILING-DATE>"),
}
_HEADER_FIELDS = {
    name: re.compile(rf"^[ \t]*(?:{'|'.join(forms)})[ \t]*(\S.*?)[ \t]*$", re.MULTILINE) for name, forms in _HEADER.items()
}
_FIRST_LINE = re.compile(r"^<(?:SEC|IMS)-(?:DOCUMENT|HEADER)>(\d{10}-\d{2}-\d{6})", re.MULTILINE)


class Header(NamedTuple):
    """What the header says; None where it doesn't. ts_accept: ISO 8601, only the date where no time of acceptance is given."""

    accession: str | None
    type_filing: str | None
    company: str | None
    cik: str | None
    ts_accept: str | None


@dataclass(frozen=True)
class Attachment:
    """A document of a submission. reason: why its content is no text to read, None for text; content is "" then."""

    type_attachment: str
    filename: str
    content: str
    reason: str | None


def read_header(submission: str) -> Header:
    """The header of a submission: what stands before its first document."""
    first = _BLOCK.search(submission)
    head = submission[: first.start()] if first is not None else submission[:20_000]
    found = {name: match[1] if (match := pattern.search(head)) else None for name, pattern in _HEADER_FIELDS.items()}
    if found["accession"] is None and (line := _FIRST_LINE.search(head)):
        found["accession"] = line[1]
    time = _iso(found["accepted"]) or _iso(found["filed"])
    return Header(found["accession"], found["type_filing"], found["company"], found["cik"], time)


def split_submission(submission: str) -> list[Attachment]:
    """The documents of a submission in order; [] for a text without a <DOCUMENT> block."""
    starts = [match.end() for match in _BLOCK.finditer(submission)]
    ends = [*(match.start() for match in _BLOCK.finditer(submission)), len(submission)][1:]
    return [_attachment(submission[start:end]) for start, end in zip(starts, ends, strict=True)]


def base_form(type_filing: str | None) -> str:
    """The form that a filing is of: "10-K/A" and "10-k405" are 10-K; "unknown" for None."""
    form = (type_filing or "unknown").upper().removesuffix("/A").removesuffix("405")
    return form if form != "UNKNOWN" else "unknown"


def _attachment(block: str) -> Attachment:
    block = block[: end.start()] if (end := _BLOCK_END.search(block)) is not None else block
    text = _TEXT.search(block)
    head, content = (block[: text.start()], block[text.end() :]) if text is not None else (block[:2000], "")
    fields = {match[1].upper(): match[2] for match in reversed(list(_FIELD.finditer(head)))}  # of doubled fields the first
    kind, name = fields.get("TYPE", ""), fields.get("FILENAME", "")
    content = _TEXT_END.sub("", content)
    reason = _machine_reason(kind.upper(), name.lower())
    if reason is None:
        content, reason = _readable(content)
    return Attachment(kind, name, content if reason is None else "", reason)


def _machine_reason(kind: str, name: str) -> str | None:
    """Why a document of this type and name is not for people; EX-27 is the financial data schedule of the 1990s, EX-101 XBRL."""
    if kind in ("GRAPHIC", "COVER-GRAPHIC") or name.endswith(_IMAGES):
        return IMAGE
    if kind in ("ZIP", "EXCEL", "PDF") or name.endswith(_BINARIES):
        return BINARY
    if kind in ("XML", "JSON") or name.endswith(_DATA_FILES):
        return DATA
    if re.fullmatch(r"EX-(?:27|10[0-4])(?:\..*)?", kind) and not name.endswith((".htm", ".html")):
        return MACHINE
    return None


def _readable(content: str) -> tuple[str, str | None]:
    """The content without its wrapper and uuencoded parts, and why nothing readable is left."""
    wrapped = re.match(r"\s*<(XBRL|XML|PDF)>", content, re.IGNORECASE)
    if wrapped is not None and wrapped[1].upper() == "PDF":
        return "", BINARY
    rest = _UUENCODED.sub("\n", content) if "begin " in content else content
    if len(rest) < len(content) and not rest.strip():
        return "", BINARY
    if wrapped is not None:
        rest = _WRAPPER.sub("", rest)
        if not _PAGE.search(rest[:5000]):  # inline XBRL is a page, wrapped all the same
            return "", DATA
    if not _PAGE.search(rest[:5000]) and rest.lstrip().startswith("<?xml"):
        return "", DATA
    return rest, None if rest.strip() else EMPTY


def _iso(digits: str | None) -> str | None:
    """20100125164521 as 2010-01-25T16:45:21, 20100125 as 2010-01-25; None for anything else."""
    match = re.match(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d))?$", digits or "")
    if match is None:
        return None
    day = f"{match[1]}-{match[2]}-{match[3]}"
    return f"{day}T{match[4]}:{match[5]}:{match[6]}" if match[4] is not None else day
