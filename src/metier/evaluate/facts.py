"""What a document says that can be asked: its name and its description, its title and its beginning, or a passage and how it goes on."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

Row = dict[str, Any]

SHORTEST, LONGEST = 15, 300  # characters of a description or a sentence
LONGEST_TITLE = 100
READ = 200_000  # characters of a document that passages are looked for in
ALIKE = 0.6  # share of common words from which two descriptions would both be right

_SENTENCE_END = re.compile(r"""[.!?。！？]["'”’)\]]*$""")
_BETWEEN = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n\s*\n")


@dataclass(frozen=True)
class Fact:
    """Two things that belong together: either may be asked for with the other given.

    name: a name, a title, or a passage; text: what is said of it, or follows it
    groups: where wrong options are looked for, the narrowest group first: things told apart only by who knows them
    place: of several facts of one document, the how manyth
    """

    document: str
    name: str
    text: str
    groups: tuple[str, ...]
    place: int = 0


def described(row: Row) -> Fact | None:
    """The fact of a row with the columns `name` and `summary`; None where one is empty, too short or too long, or where the description
    gives the name away. Where the id is the name in full (json.dumps, of dumps), that is asked for. `module` and `kind` narrow the group."""
    name, summary = (" ".join(str(row.get(column) or "").split()) for column in ("name", "summary"))
    module, kind = (str(row.get(column) or "") for column in ("module", "kind"))
    if not 2 <= len(name) <= LONGEST_TITLE or not SHORTEST <= len(summary) <= LONGEST or _gives_away(summary, name):
        return None
    full = row["id"] if re.fullmatch(rf"[\w.]+\.{re.escape(name)}", row["id"]) else name
    group = row["source"] if not module or module == full else module
    return Fact(row["id"], full, summary, (f"{group} {kind}", group, row["source"]))


def titled(row: Row) -> Fact | None:
    """The title of a text with its first sentence. Titles are a `title` column, a heading or an underlined or lone first line, or a file's
    name of several words."""
    title, body = _title(row)
    sentences = [part for part in _parts(body[:READ]) if SHORTEST <= len(part) <= LONGEST and _SENTENCE_END.search(part)]
    if not sentences or not 3 <= len(title) <= LONGEST_TITLE or _gives_away(sentences[0], title):
        return None
    return Fact(row["id"], title, sentences[0], (row["source"],))


def continued(row: Row, most: int, seed: int) -> Iterator[Fact]:
    """Passages of two sentences, each with the sentence that follows, `most` of them drawn; wrong options come from the same document."""
    parts = _parts(row["text"][:READ])
    starts = list(range(0, len(parts) - 2, 3))  # no passage holds what another one is asked to continue with
    drawn = random.Random(f"{seed} {row['id']}").sample(starts, min(most, len(starts)))
    for place, start in enumerate(drawn):
        passage, following = " ".join(parts[start : start + 2]), parts[start + 2]
        fits = SHORTEST <= len(following) <= LONGEST and _SENTENCE_END.search(following)
        if fits and _SENTENCE_END.search(passage) and len(passage) <= 2 * LONGEST and following not in passage:
            yield Fact(row["id"], passage, following, (f"document {row['id']}", row["source"]), place)


def confusable(a: Fact, b: Fact) -> bool:
    """Whether what is said of one would be right of the other too: one name, or most words of the shorter text stand in the longer."""
    return a.name.casefold() == b.name.casefold() or _alike(a.text, b.text)


def _alike(a: str, b: str) -> bool:
    if a == b:
        return True
    words = [Counter(re.findall(r"\w+", text.casefold())) for text in (a, b)]
    return (words[0] & words[1]).total() > ALIKE * min(words[0].total(), words[1].total())


def _gives_away(text: str, name: str) -> bool:  # "copy.copy": "Return a copy"
    last = re.split(r"[\s.]", name)[-1].strip("_").casefold()
    return name.casefold() in text.casefold() or last in text.casefold()


def _title(row: Row) -> tuple[str, str]:
    """A document's title, "" where it has none, and the text below it."""
    text = row["text"].strip()
    first, _, rest = text.partition("\n")
    second, _, below = rest.partition("\n")
    if row.get("title"):
        return " ".join(str(row["title"]).split()), text
    if re.match(r"#+\s+\S", first):
        return first.strip("# \t"), rest
    if len(second) > 2 and re.fullmatch(r"([=\-~*^#])\1+\s*", second):
        return first.strip(), below
    if rest and not second.strip() and not _SENTENCE_END.search(first.strip()) and not first.rstrip().endswith((",", ";", ":")):
        return first.strip(), below
    words = re.findall(r"[^\W\d_]{2,}", PurePath(str(row.get("path") or "")).stem)
    return (" ".join(words), text) if len(words) > 1 else ("", text)


def _parts(text: str) -> list[str]:
    """Sentences, headings and whatever else stands between blank lines, on one line each."""
    return [" ".join(part.split()) for part in _BETWEEN.split(text) if part.strip()]
