"""Paragraphs of filings come out as they were put in, copies as comparing all pairs finds them, and intervals of toxicity hold.

Contradicted if a generated submission (header, one to five attachments, nested tables, uuencoded parts, page breaks) gives a paragraph
that was not put in, or lacks one that was; if more than 2% of the pairs of press releases that share 80% of their word 5-grams are
not found copies of one another (the bands promise 99% of those at the threshold); if the 95% interval of the change against a
reference holds the true change so rarely that 0.95 lies above the exact 99% interval of how often; or if the change of all groups
together, where each is as toxic in both corpora and only their mixes differ, is off by more than four standard errors on average.
"""

from __future__ import annotations

import html
import math
import random
import re
from itertools import combinations

import numpy as np

from metier.artifacts import Corpus
from metier.core.evidence import Check, Evidence, exact
from metier.curate.beancounter import beancounter
from metier.curate.beancounter.effects import Scored, effect_rows
from metier.engines.stats.exact import binomial_interval

WORDS = (
    "agreement board business capital common company control date director effect exchange financial general holder interest issuer law "
    "management market material notice officer operating party period plan product report results revenue risk rights section sales "
    "security service share state stock subject subsidiary term time transfer value"
).split()
BLOB = "begin 644 p.jpg\n" + "M_]C_X``02D9)1@`!`0$`8`!@``#_VP!#``H'!P@'!@H(\n" * 5 + "`\nend\n"


def prove(quick: bool) -> Evidence:
    """Generated submissions, releases and scores; nothing is read."""
    wrong, leaked, count = _paragraphs(30 if quick else 300)
    missed, pairs = _copies(60 if quick else 400)
    coverage, naive, runs = _coverage(40 if quick else 400)
    matched, unmatched = _mixes(20 if quick else 200)
    return exact(
        claim="paragraphs, copies and changes of toxicity are the ones that were built in",
        metric="largest difference",
        checks=[
            Check(f"submissions ({count}) with other paragraphs than were put in", wrong, 0.5),
            Check(f"share of pairs of near copies ({pairs}) that are not found", missed, 0.02),
            Check(
                "0.95 above the 99% interval of the coverage",
                max(0.0, 0.95 - binomial_interval(coverage, runs, level=0.99).high),
                1e-9,
            ),
            Check(
                "standard errors that the change of all groups is off",
                abs(float(np.mean(matched))) / (float(np.std(matched, ddof=1)) / math.sqrt(len(matched))),
                4.0,
            ),
        ],
        notes=(
            f"Taking tags away instead leaves something that is no paragraph in {leaked} of {count} submissions. The interval over "
            f"filings held the true change in {coverage} of {runs} runs, one that takes sentences for independent in {naive}. Of groups "
            f"equally toxic in both corpora, the change is {100 * float(np.mean(matched)):+.1f}% with the corpus's mix and "
            f"{100 * float(np.mean(unmatched)):+.1f}% without."
        ),
    )


def _sentence(generator: random.Random, length: int = 0) -> str:
    return " ".join(generator.choices(WORDS, k=length or generator.randint(12, 60))).capitalize() + "."


def _paragraphs(count: int) -> tuple[int, int, int]:
    """Submissions whose paragraphs differ; and those of which stripping tags leaves other text."""
    wrong = leaked = 0
    for seed in range(count):
        generator = random.Random(seed)
        made, submission = _submission(generator)
        corpus = Corpus.from_rows([{"id": "s", "text": submission, "source": "made"}])
        table = beancounter(corpus, min_chars=0, threshold=None).corpus
        found = [paragraph for row in sorted(table.rows(), key=lambda row: row["id"]) for paragraph in row["text"].split("\n\n")]
        wrong += found != made
        stripped = html.unescape(re.sub(r"<[^>]*>", " ", submission)).split()
        leaked += stripped != " ".join(made).split()
    return wrong, leaked, count


def _submission(generator: random.Random) -> tuple[list[str], str]:
    accession = f"{generator.randrange(10**10):010d}-{generator.randrange(100):02d}-{generator.randrange(10**6):06d}"
    form = generator.choice(["10-K", "10-Q", "8-K", "S-1/A", "DEF 14A"])
    text = f"<SEC-HEADER>\n<ACCEPTANCE-DATETIME>20100125164521\nACCESSION NUMBER:\t{accession}\nCONFORMED SUBMISSION TYPE:\t{form}\n</SEC-HEADER>\n"
    made: list[str] = []
    for number in range(generator.randint(1, 5)):
        paragraphs = [_sentence(generator) for _ in range(generator.randint(2, 8))]
        made += paragraphs
        as_page = generator.random() < 0.5
        body = _page(generator, paragraphs) if as_page else _plain(generator, paragraphs)
        end = generator.choice(["</TEXT>\n</DOCUMENT>\n", "</TEXT>\n", ""])
        text += f"<DOCUMENT>\n<TYPE>{form if number == 0 else 'EX-99'}\n<FILENAME>d{number}.{'htm' if as_page else 'txt'}\n<TEXT>\n{body}\n{end}"
        if generator.random() < 0.4:
            text += f"<DOCUMENT>\n<TYPE>GRAPHIC\n<FILENAME>p.jpg\n<TEXT>\n{BLOB}</TEXT>\n</DOCUMENT>\n"
    return made, text


def _numbers(generator: random.Random) -> list[list[str]]:
    years = ["", *map(str, range(2009, 2009 - generator.randint(1, 3), -1))]
    rows = [
        [" ".join(generator.choices(WORDS, k=2)), *(f"{generator.randrange(10**6):,}" for _ in years[1:])]
        for _ in range(generator.randint(2, 6))
    ]
    return [years, *rows]


def _page(generator: random.Random, paragraphs: list[str]) -> str:
    parts = []
    for number, paragraph in enumerate(paragraphs):
        close = generator.choice(["</p>", ""])
        styled = paragraph.replace("company", "<b>company</b>").replace("notice", "<font size=2>notice</font>")
        parts.append(
            generator.choice([f"<p>{styled}{close}", f"<div>{styled}</div>", f"<table><tr><td><p>{styled}</p></td></tr></table>"])
        )
        cells = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in _numbers(generator))
        table = f"<table>{cells}</table>"
        furniture = [
            table,
            f"<table><tr><td>{table}</td></tr></table>",
            f"<p align=center>{number + 1}</p><hr><p>Table of Contents</p>",
            "<div style='display:none'>hidden fact</div>",
            "",
        ]
        parts.append(generator.choice(furniture))
    return f"<html><head><title>form</title></head><body>{''.join(parts)}</body></html>"


def _plain(generator: random.Random, paragraphs: list[str]) -> str:
    parts = []
    for number, paragraph in enumerate(paragraphs):
        lines = re.findall(r".{1,68}(?:\s|$)", paragraph)
        parts.append("    " + "\n".join(line.rstrip() for line in lines))
        rows = [f"{row[0]:<30}" + "".join(f"{cell:>14}" for cell in row[1:]) for row in _numbers(generator)]
        table = "\n".join(rows)
        furniture = [f"<TABLE>\n<S>   <C>\n{table}\n</TABLE>", table, f"<PAGE>\n{' ' * 30}-{number + 1}-", BLOB, ""]
        parts.append(generator.choice(furniture))
    return "\n\n".join(parts)


def _copies(count: int) -> tuple[float, int]:
    """The share of pairs from Jaccard 0.8 on, by comparing all, that are in two clusters; and how many pairs there are."""
    generator = random.Random(0)
    texts: list[str] = []
    while len(texts) < count:
        words = generator.choices(WORDS, k=generator.randint(80, 200))
        for _ in range(generator.randint(1, 5)):
            texts.append(" ".join(word if generator.random() > 0.006 else f"{word}x" for word in words))
    header = "ACCESSION NUMBER:\t{}\nCONFORMED SUBMISSION TYPE:\t8-K\n<DOCUMENT>\n<TYPE>8-K\n<TEXT>\n{}\n</TEXT>\n"
    rows = [{"id": f"{place:05d}", "text": header.format(place, text), "source": "made"} for place, text in enumerate(texts)]
    table = beancounter(Corpus.from_rows(rows)).corpus.frame().to_pydict()
    cluster = {name.partition("#")[0]: (of or name).partition("#")[0] for name, of in zip(table["id"], table["duplicate_of"])}
    shingles = [{tuple(words[place : place + 5]) for place in range(len(words) - 4)} for words in map(str.split, texts)]
    near = [
        (one, other)
        for one, other in combinations(range(len(texts)), 2)
        if len(shingles[one] & shingles[other]) >= 0.8 * len(shingles[one] | shingles[other])
    ]
    missed = sum(cluster[f"{one:05d}"] != cluster[f"{other:05d}"] for one, other in near)
    return missed / len(near), len(near)


def _side(generator: np.random.Generator, rates: dict[str, float], sizes: dict[str, int]) -> Scored:
    """Sentences of filings: one to eight of a group, all toxic with the filing's own chance, which is Beta with mean `rate`."""
    descriptors: list[str] = []
    filings: list[str] = []
    scores: list[float] = []
    for name, rate in rates.items():
        for filing in range(sizes[name]):
            chance, length = generator.beta(3 * rate, 3 * (1 - rate)), int(generator.integers(1, 9))
            descriptors += [name] * length
            filings += [f"{name}{filing}"] * length
            scores += (generator.random(length) < chance).astype(float).tolist()
    return Scored(descriptors, filings, scores, {name: descriptors.count(name) for name in rates})


def _coverage(runs: int) -> tuple[int, int, int]:
    """How often the interval of the change holds the true one; and how often one that takes sentences for independent does."""
    truth, held, naive = 0.1 / 0.25 - 1, 0, 0
    for seed in range(runs):
        generator = np.random.default_rng(seed)
        ours, theirs = _side(generator, {"x": 0.1}, {"x": 80}), _side(generator, {"x": 0.25}, {"x": 80})
        row = effect_rows(ours, theirs, {"x": "axis"}, seed)[0]
        held += row["change_low"] <= truth <= row["change_high"]
        single = [
            Scored(side.descriptors, [str(place) for place in range(len(side.scores))], side.scores, side.num_sentences)
            for side in (ours, theirs)
        ]
        row = effect_rows(*single, {"x": "axis"}, seed)[0]
        naive += row["change_low"] <= truth <= row["change_high"]
    return held, naive, runs


def _mixes(runs: int) -> tuple[list[float], list[float]]:
    """Logarithms of the ratio of means over all groups, with the corpus's mix and without, where no group differs."""
    matched, unmatched = [], []
    for seed in range(runs):
        generator = np.random.default_rng(10_000 + seed)
        rates = {"x": 0.2, "y": 0.5}
        ours, theirs = _side(generator, rates, {"x": 300, "y": 100}), _side(generator, rates, {"x": 100, "y": 300})
        matched.append(math.log1p(effect_rows(ours, theirs, {"x": "axis", "y": "axis"}, seed)[-1]["change"]))
        unmatched.append(math.log(float(np.mean(ours.scores)) / float(np.mean(theirs.scores))))
    return matched, unmatched
