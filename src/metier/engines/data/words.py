"""Words of a text in any script, for rules and for comparing texts."""

from __future__ import annotations

import re

# Scripts written without spaces (Thai to Khmer, kana, Han, Hangul) count by character; all else by runs of letters and digits.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W_{_UNSPACED}]+")


def words(text: str) -> list[str]:
    """The words of a text, in order, as written."""
    return _WORD.findall(text)
