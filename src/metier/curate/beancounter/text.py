"""A document of a filing, HTML or plain, as clean text."""

from __future__ import annotations

import re
import unicodedata

from metier.curate.beancounter.page import page_paragraphs
from metier.curate.beancounter.plain import joined, plain_paragraphs

_TAGS = re.compile(r"<(?:html|body|div|p|br|font|center|b|h[1-6])\b[^>]*>", re.IGNORECASE)
_FEW_TAGS = 3
_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufeff\u00ad]")
_C1 = {code: bytes([code]).decode("cp1252", "replace") for code in range(0x80, 0xA0)}  # Windows characters taken for Latin-1


def readable_text(content: str, *, keep_tables: bool) -> str:
    """Paragraphs with a blank line between them; "" where nothing but tables and page numbers was there.

    HTML is told by its tags (<html>, or three of the usual ones). Windows-1252 characters are repaired, invisible ones removed,
    composed forms used (NFC); compatibility characters such as ½ stay.
    """
    content = content.replace("\r\n", "\n").replace("\r", "\n").translate(_C1)
    is_page = re.search(r"<html\b", content[:5000], re.IGNORECASE) is not None or _has_tags(content)
    found = page_paragraphs(content, keep_tables) if is_page else plain_paragraphs(content, keep_tables)
    cleaned = (_INVISIBLE.sub("", unicodedata.normalize("NFC", paragraph)).replace("\xa0", " ") for paragraph in found)
    return "\n\n".join(joined([paragraph.strip(" \n") for paragraph in cleaned if paragraph.strip(" \n")]))


def _has_tags(content: str) -> bool:
    return sum(1 for _ in zip(_TAGS.finditer(content), range(_FEW_TAGS))) == _FEW_TAGS
