"""curate.repeated_lines takes out the lines that counting takes out, and leaves the rest of each text as it was.

Contradicted if, of pages with known menus, notices and own lines, one line is taken out that stands in fewer documents than the setting
says, one is left that stands in as many (but in the first document that has it), a count is wrong, or the lines left are not the others in order.
"""

from __future__ import annotations

import random
from collections import Counter

from metier.artifacts import Corpus
from metier.core.evidence import Check, Evidence, exact
from metier.curate.repeated_lines import Keep, repeated_lines

LEAST = 3


def prove(quick: bool) -> Evidence:
    """Pages of a hundred sites: lines of their own, and lines of their site, some of which few pages have."""
    pages = _pages(random.Random(0), 2000 if quick else 40_000)
    checks = [check for keep in ("first", "none") for check in _checks(pages, keep)]
    return exact(
        claim="what is taken out is what counting documents says, in both ways of keeping",
        metric="lines or documents that differ",
        checks=checks,
        notes=f"{len(pages)} pages of 100 sites, min_documents={LEAST}; counting by Counter over whole lines",
    )


def _pages(generator: random.Random, count: int) -> list[list[str]]:
    pages = []
    for number in range(count):
        site = number % 100
        shared = [
            f"this is line {line} of all that site {site} may show" for line in range(30) if generator.random() < 1 / (1 + line)
        ]
        own = [f"page {number} says this in its line {line} and nowhere else" for line in range(generator.randint(5, 20))]
        lines = shared + own
        generator.shuffle(lines)
        pages.append(lines)
    return pages


def _checks(pages: list[list[str]], keep: Keep) -> list[Check]:
    counts = Counter(line for page in pages for line in set(page))
    first: dict[str, int] = {}
    for number, page in enumerate(pages):
        for line in page:
            first.setdefault(line, number)
    corpus = Corpus.from_rows([{"id": f"p{number}", "text": "\n".join(page), "source": ""} for number, page in enumerate(pages)])
    rows = repeated_lines(corpus, keep=keep, min_documents=LEAST, max_lost=1.0).frame().to_pydict()
    wrong = wrong_counts = wrong_texts = 0
    for number, page in enumerate(pages):
        gone = [line for line in page if counts[line] >= LEAST and (keep == "none" or first[line] != number)]
        wrong += gone != rows["removed_lines"][number]
        wrong_counts += [counts[line] for line in gone] != rows["removed_line_documents"][number]
        wrong_texts += "\n".join(line for line in page if line not in gone) != rows["text"][number]
    return [
        Check(f"keep={keep}: documents whose removed lines differ", wrong, 0.5),
        Check(f"keep={keep}: documents whose counts differ", wrong_counts, 0.5),
        Check(f"keep={keep}: documents whose text differs", wrong_texts, 0.5),
    ]
